/** Requests: what is read, and each attack that is refused, by name, whole and byte by byte. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HostBytes } from '../../core/bytes.ts';
import { bytewise, hostBytes } from '../testing/verdict.ts';
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

/** What is sent, by the name of the attack or the fault. */
const malformed: Readonly<Record<string, string>> = {
  'a bare LF after the request line': `GET / HTTP/1.1\n${host}\r\n`,
  'a bare LF after a field': `GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n`,
  'a request of bare LFs, before its end is seen': 'GET / HTTP/1.1\n',
  'a bare CR in a value': `GET / HTTP/1.1\r\n${host}X: a\rb\r\n\r\n`,
  'a bare CR in the request line': `GET /\r HTTP/1.1\r\n${host}\r\n`,
  'a bare CR before the request': `\rGET / HTTP/1.1\r\n${host}\r\n`,
  'NUL in a value': `GET / HTTP/1.1\r\n${host}X: a\0b\r\n\r\n`,
  'a control character in a value': `GET / HTTP/1.1\r\n${host}X: a\x01b\r\n\r\n`,
  'DEL in a value': `GET / HTTP/1.1\r\n${host}X: a\x7fb\r\n\r\n`,
  'a name that is no token': `GET / HTTP/1.1\r\n${host}X@Y: 1\r\n\r\n`,
  'a name with a byte above ASCII': `GET / HTTP/1.1\r\n${host}X\xe9: 1\r\n\r\n`,
  'an empty name': `GET / HTTP/1.1\r\n${host}: 1\r\n\r\n`,
  'a line without a colon': `GET / HTTP/1.1\r\n${host}nothing\r\n\r\n`,
  'no Host in HTTP/1.1': 'GET / HTTP/1.1\r\n\r\n',
  'GET *': `GET * HTTP/1.1\r\n${host}\r\n`,
  'a fragment in the target': `GET /a#b HTTP/1.1\r\n${host}\r\n`,
  'a byte above ASCII in the target': `GET /\xe9 HTTP/1.1\r\n${host}\r\n`,
  'a tab in the request line': `GET\t/ HTTP/1.1\r\n${host}\r\n`,
  'two spaces in the request line': `GET  / HTTP/1.1\r\n${host}\r\n`,
  'a space in the target': `GET /a b HTTP/1.1\r\n${host}\r\n`,
  'a target in no known form': `GET a.example HTTP/1.1\r\n${host}\r\n`,
  'a target of another scheme': `GET ftp://a/ HTTP/1.1\r\n${host}\r\n`,
  'HTTP/0.9': 'GET /\r\n\r\n',
  'a method that is no token': `G(T / HTTP/1.1\r\n${host}\r\n`,
  'a TLS hello on a plain port': '\x16\x03\x01\x02\x00',
  'CONNECT without a port': 'CONNECT a.example HTTP/1.1\r\nHost: a.example\r\n\r\n',
  'CONNECT to a path': 'CONNECT / HTTP/1.1\r\nHost: a.example\r\n\r\n',
  'a WebSocket handshake without a key': `GET / HTTP/1.1\r\n${host}Upgrade: websocket\r\nConnection: upgrade\r\n\r\n`,
  'a WebSocket handshake by POST': `POST / HTTP/1.1\r\n${host}Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
  'a chunk without a size': chunked(';a\r\n'),
  'a chunk size with a sign': chunked('+5\r\nhello\r\n'),
  'a chunk size in the C notation': chunked('0x5\r\nhello\r\n'),
  'a chunk size with a space before it': chunked(' 5\r\nhello\r\n'),
  'a chunk size with a space behind it': chunked('5 \r\nhello\r\n'),
  'a chunk size past 2^53': chunked('ffffffffffffff\r\n'),
  'a chunk size of seventeen digits': chunked('00000000000000005\r\n'),
  'a chunk size that ends in a bare LF': chunked('5\nhello\r\n'),
  'a bare LF in a chunk extension': chunked('5;a\nhello\r\n'),
  'a bare CR in a chunk extension': chunked('5;a\rb\r\nhello\r\n'),
  'a chunk extension past its limit': chunked(`5;${'a'.repeat(40)}\r\nhello\r\n`),
  'a chunk that ends in a bare LF': chunked('5\r\nhello\n0\r\n\r\n'),
  'a chunk longer than its size': chunked('5\r\nhello!\r\n0\r\n\r\n'),
  'a bare LF in the trailers': chunked('0\r\nX: 1\n\r\n'),
  'a folded trailer that begins the section': chunked('0\r\nX@: 1\r\n\r\n'),
};

const ambiguous: Readonly<Record<string, string>> = {
  'Content-Length with Transfer-Encoding (CL.TE)': `POST / HTTP/1.1\r\n${host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'Transfer-Encoding with Content-Length (TE.CL)': `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`,
  'two Content-Lengths that disagree': `POST / HTTP/1.1\r\n${host}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!`,
  'two Content-Lengths that agree': `POST / HTTP/1.1\r\n${host}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello`,
  ...perValue('Content-Length', [
    '+5',
    '-5',
    '5,5',
    '5, 5',
    '0x5',
    '5 5',
    '',
    '05',
    '5.0',
    '1e1',
    '99999999999999999999',
    '9007199254740993',
  ]),
  ...perValue(
    'Transfer-Encoding',
    [
      '',
      ',chunked',
      'chunked, chunked',
      'gzip, chunked',
      'chunked, gzip',
      'identity',
      'xchunked',
      '"chunked"',
      'chunked;q=1',
      '\x0bchunked',
    ].filter((value) => value !== '\x0bchunked'),
  ),
  'two Transfer-Encodings': `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
  'Transfer-Encoding in HTTP/1.0': `POST / HTTP/1.0\r\n${host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'a folded field': `GET / HTTP/1.1\r\n${host}X: a\r\n b\r\n\r\n`,
  'a field folded right behind the request line': `GET / HTTP/1.1\r\n Host: a\r\n\r\n`,
  'a space before the colon': `GET / HTTP/1.1\r\nHost : a\r\n\r\n`,
  'a tab before the colon': `GET / HTTP/1.1\r\n${host}X\t: a\r\n\r\n`,
  'two Hosts that differ': `GET / HTTP/1.1\r\n${host}Host: b\r\n\r\n`,
  'two Hosts that agree': `GET / HTTP/1.1\r\n${host}${host}\r\n`,
  'a Host that differs from the target': `GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n`,
  'a Host whose port differs from the target': `GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n`,
  'a Host that differs from the target of CONNECT': `CONNECT a:443 HTTP/1.1\r\nHost: b:443\r\n\r\n`,
  'user information in the target': `GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n`,
  ...perHost([
    '',
    'u@a',
    'a/x',
    'a, b',
    'a b',
    'a:99999',
    'a:',
    ':80',
    '[::1',
    '[zz]',
    'a\\b',
    'a?b',
    'a%00b',
    '\xe9',
  ]),
  'Upgrade together with a body': `POST / HTTP/1.1\r\n${host}Upgrade: foo\r\nConnection: upgrade\r\nContent-Length: 5\r\n\r\nhello`,
  'CONNECT together with a body': `CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nContent-Length: 5\r\n\r\nhello`,
  'a length in the trailers': chunked('0\r\nContent-Length: 5\r\n\r\n'),
  'an encoding in the trailers': chunked('0\r\nTransfer-Encoding: chunked\r\n\r\n'),
  'a Host in the trailers': chunked('0\r\nHost: b\r\n\r\n'),
  'a space before the colon in the trailers': chunked('0\r\nX : 1\r\n\r\n'),
};

function perValue(name: string, values: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    values.map((value) => [`${name}: ${value}`, `POST / HTTP/1.1\r\n${host}${name}: ${value}\r\n\r\nhello`]),
  );
}

function perHost(hosts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    hosts.map((value) => [`Host: ${value}`, `GET / HTTP/1.1\r\nHost: ${value}\r\n\r\n`]),
  );
}

function chunked(body: string): string {
  return `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n${body}`;
}

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
