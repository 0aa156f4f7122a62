/** Requests: what is read, and each attack that is refused, by name, whole and byte by byte. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HostBytes } from '../../core/bytes.ts';
import { bytewise, hostBytes } from '../testing/verdict.ts';
import { ambiguous, chunked, malformed } from './testing/attacks.ts';
import { readRequests, testLimits, type Transcript } from './testing/transcript.ts';

const host = 'Host: a.example\r\n';

function read(text: string, cuts: readonly number[] = []): Transcript {
  return readRequests(hostBytes(Buffer.from(text, 'latin1')), cuts, allocate);
}

function allocate(byteCount: number): HostBytes {
  return hostBytes(Buffer.alloc(byteCount));
}

/** The code it is refused with, the same however it is cut. */
function refusal(text: string): string | undefined {
  const whole = read(text);
  assert.deepEqual(read(text, bytewise(text.length)), {
    ...whole,
    bufferedMax: read(text, bytewise(text.length)).bufferedMax,
  });
  return whole.refusal?.split(':')[0];
}

describe('a request', () => {
  it('has a head in the shared model: lower-case names, no Host, nothing of the connection', () => {
    const { messages } = read(
      'GET /a?b=c HTTP/1.1\r\nHost: A.example:8080\r\nUser-Agent: x y \r\nX-Odd:\t1\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nAccept:\r\n\r\n',
    );
    const { head, isKeepAlive, version } = messages[0]!.request!;
    assert.deepEqual(head, {
      method: 'GET',
      scheme: 'http',
      authority: 'A.example:8080',
      path: '/a?b=c',
      protocol: null,
      fields: ['user-agent', 'x y', 'x-odd', '1', 'accept', ''],
    });
    assert.deepEqual([isKeepAlive, version, messages[0]!.isComplete], [true, 'HTTP/1.1', true]);
  });

  it('may follow another on the same connection, each with its own fields', () => {
    const text = `POST / HTTP/1.1\r\n${host}X-A: 1\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\n${host}X-A: 1\r\nContent-Length: 3\r\n\r\nxyz`;
    for (const cuts of [[], bytewise(text.length)]) {
      const { messages, refusal } = read(text, cuts);
      assert.equal(refusal, undefined);
      assert.deepEqual(
        messages.map(({ body, request }) => [body, request!.head.path, request!.head.fields.length]),
        [
          ['abc', '/', 4],
          ['xyz', '/2', 4],
        ],
      );
      // Filters change fields in place: what one request's list loses the next one's must not.
      assert.notEqual(messages[0]!.request!.head.fields, messages[1]!.request!.head.fields);
    }
  });

  it('may be chunked, with extensions nobody reads and trailers', () => {
    const text = `POST / HTTP/1.1\r\n${host}Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n00A ; a="b"\r\n, world...\r\n0;last\r\nX-Sum: 1\r\nx-two:2\r\n\r\n`;
    for (const cuts of [[], bytewise(text.length), [70, 90]]) {
      const { messages, refusal } = read(text, cuts);
      assert.equal(refusal, undefined);
      assert.deepEqual(
        [messages[0]!.body, messages[0]!.trailers],
        ['hello, world...', ['x-sum', '1', 'x-two', '2']],
      );
    }
  });

  it('may come in the absolute form, whose authority is the one that counts', () => {
    const { messages } = read(
      'GET HTTP://A.example:80/x HTTP/1.1\r\nHost: a.EXAMPLE\r\n\r\nGET https://b HTTP/1.1\r\nHost: b\r\n\r\nOPTIONS http://c HTTP/1.0\r\n\r\nGET http://d?q HTTP/1.1\r\nHost: d\r\n\r\n',
    );
    assert.deepEqual(
      messages.map(({ request }) => [request!.head.scheme, request!.head.authority, request!.head.path]),
      [
        ['http', 'A.example:80', '/x'],
        ['https', 'b', '/'],
        ['http', 'c', '*'],
        ['http', 'd', '/?q'],
      ],
    );
  });

  it('may be CONNECT, whose target is an authority', () => {
    const { messages } = read('CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n');
    assert.deepEqual(
      [messages[0]!.request!.head.authority, messages[0]!.request!.head.path],
      ['[::1]:443', ''],
    );
  });

  it('may ask for a WebSocket: the model has the protocol, the codec keeps the key', () => {
    const { messages } = read(
      `GET /chat HTTP/1.1\r\n${host}Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    );
    const request = messages[0]!.request!;
    assert.deepEqual(
      [request.head.protocol, request.webSocketKey, request.head.fields],
      ['websocket', 'dGhlIHNhbXBsZSBub25jZQ==', ['sec-websocket-version', '13']],
    );
  });

  it('that offers h2c, or an upgrade without naming it in Connection, is an ordinary one', () => {
    for (const lines of [
      'Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n',
      'Upgrade: websocket\r\n',
    ]) {
      const { head } = read(`GET / HTTP/1.1\r\n${host}${lines}\r\n`).messages[0]!.request!;
      assert.deepEqual([head.protocol, head.fields], [null, []]);
    }
  });

  it('of HTTP/1.0 closes unless it asks to stay, and expects nothing', () => {
    const { messages } = read(
      'GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\nConnection: Keep-Alive\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx',
    );
    assert.deepEqual(
      messages.map(({ request }) => [
        request!.isKeepAlive,
        request!.expectsContinue,
        request!.head.authority,
      ]),
      [
        [false, false, ''],
        [true, false, ''],
      ],
    );
  });

  it('may be preceded by one empty line', () => {
    assert.equal(read(`\r\nGET / HTTP/1.1\r\n${host}\r\n`).messages.length, 1);
    assert.equal(refusal(`\r\n\r\nGET / HTTP/1.1\r\n${host}\r\n`), 'request-malformed');
  });
});

describe('refused as malformed', () => {
  for (const [attack, text] of Object.entries(malformed)) {
    it(attack, () => assert.equal(refusal(text), 'request-malformed'));
  }
});

describe('refused as ambiguous', () => {
  for (const [attack, text] of Object.entries(ambiguous)) {
    it(attack, () => assert.equal(refusal(text), 'request-ambiguous'));
  }
});

describe('refused for its version', () => {
  for (const version of ['HTTP/2.0', 'HTTP/0.9', 'HTTP/1.2', 'HTTP/3']) {
    it(version, () => assert.equal(refusal(`GET / ${version}\r\n${host}\r\n`), 'version-refused'));
  }
  it('the preface of HTTP/2 where HTTP/1 was agreed', () => {
    assert.equal(refusal('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), 'version-refused');
  });
});

describe('limits', () => {
  const line = 'GET / HTTP/1.1\r\n';
  const { headBytesMax, headerCountMax, targetBytesMax, trailerBytesMax } = testLimits;

  it('headBytesMax: a head of exactly that is served, one byte more is refused before it is kept', () => {
    const filler = headBytesMax - `${line}${host}X: \r\n\r\n`.length;
    const most = `${line}${host}X: ${'a'.repeat(filler)}\r\n\r\n`;
    assert.equal(most.length, headBytesMax);
    assert.equal(refusal(most), undefined);
    assert.equal(refusal(most.replace('X:', 'XX:')), 'head-oversized');
    const endless = read(`${line}${host}X: ${'a'.repeat(100_000)}`, [500, 1000, 5000]);
    assert.match(endless.refusal!, /^head-oversized/);
    assert.ok(endless.bufferedMax <= headBytesMax);
  });

  it('headerCountMax', () => {
    const fields = (count: number) => `${line}${host}${'X: 1\r\n'.repeat(count - 1)}\r\n`;
    assert.equal(refusal(fields(headerCountMax)), undefined);
    assert.equal(refusal(fields(headerCountMax + 1)), 'head-oversized');
  });

  it('fields that Connection names', () => {
    const naming = (count: number) => `${line}${host}Connection: ${'x, '.repeat(count)}\r\n\r\n`;
    assert.equal(refusal(naming(32)), undefined);
    assert.equal(refusal(naming(33)), 'head-oversized');
  });

  it('targetBytesMax, also where the head passes its own limit by the target', () => {
    const target = (length: number) => `GET /${'a'.repeat(length - 1)} HTTP/1.1\r\n${host}\r\n`;
    assert.equal(refusal(target(targetBytesMax)), undefined);
    assert.equal(refusal(target(targetBytesMax + 1)), 'target-oversized');
    assert.equal(refusal(target(headBytesMax)), 'target-oversized');
  });

  it('trailerBytesMax', () => {
    assert.equal(refusal(chunked(`0\r\nX: ${'a'.repeat(trailerBytesMax)}\r\n\r\n`)), 'head-oversized');
    const { bufferedMax } = read(chunked(`0\r\nX: ${'a'.repeat(trailerBytesMax)}`), bytewise(1000));
    assert.ok(bufferedMax <= trailerBytesMax);
  });

  it('chunk extensions that outgrow the data, though each keeps its own limit', () => {
    assert.match(
      read(chunked(`1;${'a'.repeat(30)}\r\nx\r\n`.repeat(600))).refusal!,
      /^request-malformed: chunk extensions that outgrow/,
    );
    assert.equal(
      read(chunked(`40;${'a'.repeat(30)}\r\n${'x'.repeat(64)}\r\n`.repeat(600))).refusal,
      undefined,
    );
  });
});
