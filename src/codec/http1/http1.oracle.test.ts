/**
 * What Node's own parser (llhttp, strict) makes of the same bytes. Where both take a request they must see the same
 * one; where they differ in taking it, the difference is listed here with its reason.
 */

import assert from 'node:assert/strict';
import { createServer, type IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { HostBytes } from '../../core/bytes.ts';
import { hostBytes } from '../testing/verdict.ts';
import { ambiguous, malformed } from './testing/attacks.ts';
import { readRequests, testLimits } from './testing/transcript.ts';

interface Seen {
  readonly method: string;
  readonly target: string;
  readonly body: string;
}

/** What Node makes of a connection: the requests it took completely, and whether it refused what followed. */
interface NodeVerdict {
  readonly requests: readonly Seen[];
  readonly isRefused: boolean;
}

/**
 * We refuse what Node takes, by our message. Every row is a request that some other parser reads differently, or
 * that Node hands to a handler which would have to refuse it.
 */
const stricter: readonly RegExp[] = [
  // Node still takes HTTP/0.9.
  /a request line without a version/,
  // Node leaves these to the handler: the first or the last counts, or nobody looks.
  /more than one Host/,
  /a Host that is no host and port/,
  /a Host that differs from the target/,
  /a target whose authority is no host and port/,
  /a target in no form that is served/,
  /a target of \* for another method/,
  /CONNECT (?:to what is no host and port|together with a body)/,
  /a target with a fragment/,
  /Upgrade together with a body/,
  /a WebSocket handshake/,
  // Node takes the last of several codings, and HTTP/1.0 with chunks, as old servers do.
  /a Transfer-Encoding other than chunked/,
  /more than one Transfer-Encoding/,
  /Transfer-Encoding in an HTTP\/1.0 request/,
  // Leading zeros are decimal to Node and octal to others.
  /a Content-Length that is no plain number/,
  // Node skips any number of empty lines, and bare CRs, before a request.
  /a bare CR before the request/,
  /a request that begins with no method/,
  // Node has no such limits, or wider ones.
  /longer than (?:targetBytesMax|trailerBytesMax|headBytesMax|chunkExtensionBytesMax)/,
  /more fields than headerCountMax/,
  /a chunk size of too many digits/,
  // Node reads these in a trailer and drops them.
  /a trailer that says how the message is framed/,
];

/** We take what Node refuses. */
const laxer: readonly ((text: string) => boolean)[] = [
  // Node knows a list of methods; a proxy passes on what is a token.
  (text) => !/^(?:\r\n)?(?:GET|POST|PUT|DELETE|HEAD|OPTIONS|CONNECT|PATCH|M-SEARCH) /.test(text),
  // Node takes CONNECT and upgrades out of its parser, with what follows.
  (text) => /^(?:\r\n)?CONNECT /.test(text) || /upgrade/i.test(text),
  // Node refuses a request behind Connection: close as data after the end; we stop reading at the session.
  (text) => /connection: close/i.test(text) || / HTTP\/1\.0/.test(text),
  // Node refuses blanks between a chunk's size and its extension, which RFC 9112 §7.1.1 allows.
  (text) => /[0-9a-f][ \t]+;/i.test(text),
  // Node refuses an expectation it does not know before its handler; here the exchange does.
  (text) => /expect/i.test(text),
];

function allocate(byteCount: number): HostBytes {
  return hostBytes(Buffer.alloc(byteCount));
}

async function askNode(text: string): Promise<NodeVerdict> {
  const requests: Seen[] = [];
  let isRefused = false;
  const server = createServer({ insecureHTTPParser: false, keepAliveTimeout: 0 }, (request, response) => {
    collect(request, requests);
    response.end();
  });
  server.on('clientError', (_error, socket) => {
    isRefused = true;
    socket.destroy();
  });
  const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done(), allowHalfOpen: true });
  Object.assign(socket, { setTimeout: () => socket, setKeepAlive: () => socket, setNoDelay: () => socket });
  server.emit('connection', socket);
  socket.push(Buffer.from(text, 'latin1'));
  for (let turn = 0; turn < 12; turn++) await new Promise((resolve) => setImmediate(resolve));
  socket.destroy();
  return { requests, isRefused };
}

function collect(request: IncomingMessage, requests: Seen[]): void {
  let body = '';
  request.setEncoding('latin1');
  request.on('data', (part: string) => (body += part));
  request.on('end', () => requests.push({ method: request.method!, target: request.url!, body }));
  request.on('error', () => undefined);
}

/** Answers how many requests both took. */
async function compare(text: string): Promise<number> {
  const ours = readRequests(hostBytes(Buffer.from(text, 'latin1')), [], allocate, {
    ...testLimits,
    headerCountMax: 64,
  });
  const node = await askNode(text);
  const taken = ours.messages.filter(({ isComplete }) => isComplete);
  const common = Math.min(taken.length, node.requests.length);
  for (let at = 0; at < common; at++) {
    const { request, body } = taken[at]!;
    const seen = node.requests[at]!;
    assert.deepEqual([request!.head.method, body], [seen.method, seen.body], text);
    if (seen.target.startsWith('/')) assert.equal(request!.head.path, seen.target, text);
  }
  if (node.requests.length > taken.length) {
    assert.ok(ours.refusal !== undefined, `Node took more requests of ${JSON.stringify(text)}`);
    assert.ok(
      stricter.some((row) => row.test(ours.refusal!)),
      `unlisted: stricter than Node by ${ours.refusal!}: ${JSON.stringify(text)}`,
    );
  }
  // Both refuse what follows, or we do not know yet; Node then also drops a request before it that its handler had
  // not begun.
  const isDropped = (ours.refusal !== undefined || ours.isInHead) && node.isRefused;
  if (taken.length > node.requests.length && !isDropped) {
    assert.ok(
      laxer.some((row) => row(text)),
      `unlisted: laxer than Node with ${JSON.stringify(text)}`,
    );
  }
  return common;
}

describe('Node and this codec', () => {
  it('agree on every attack, or differ for a listed reason', async () => {
    for (const text of [...Object.values(malformed), ...Object.values(ambiguous)]) await compare(text);
  });

  it('agree on requests made of odd pieces, or differ for a listed reason', async () => {
    const line = fc.constantFrom(
      ...[
        'Content-Length: 5',
        'content-length:5',
        'Content-Length: 05',
        'Content-Length: 5 ',
        'Content-Length: 5, 5',
      ],
      ...[
        'Transfer-Encoding: chunked',
        'Transfer-Encoding: CHUNKED',
        'transfer-encoding:\tchunked',
        'Transfer-Encoding: gzip',
      ],
      ...[
        'X: y',
        'X:',
        'X : y',
        ' folded',
        '\tfolded',
        'X: a\0b',
        'X: \x80\xff',
        'Host: b',
        'X: a\rb',
        'X\n',
        'Accept: */*',
      ],
      ...['Connection: close', 'Connection: keep-alive', 'Expect: 100-continue', 'X: ,', 'Trailer: x'],
    );
    const end = fc.constantFrom('\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\n', '\r');
    const rest = fc.constantFrom(
      ...[
        '',
        'hello',
        '5\r\nhello\r\n0\r\n\r\n',
        '5\r\nhello\r\n0\r\nX: y\r\n\r\n',
        '5 \r\nhello\r\n0\r\n\r\n',
        '5;a\r\nhello\r\n0\r\n\r\n',
      ],
      ...[
        '5\nhello\r\n0\r\n\r\n',
        '5\r\nhello0\r\n\r\n',
        '05\r\nhello\r\n0\r\n\r\n',
        '+5\r\nhello\r\n0\r\n\r\n',
        '5\r\nhello\r\n0\r\n\n',
      ],
    );
    const target = fc.constantFrom('/', '/a?b', '*', 'http://a/x', '/a b', '/#', '//', 'a');
    const first = fc.tuple(
      fc.constantFrom('GET', 'POST', 'OPTIONS'),
      target,
      fc.constantFrom('HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/1.2'),
    );
    const request = fc
      .tuple(first, fc.array(fc.tuple(line, end), { maxLength: 4 }), end, rest)
      .map(
        ([parts, lines, last, tail]) =>
          `${parts.join(' ')}\r\nHost: a\r\n${lines.flat().join('')}${last}${tail}`,
      );
    let agreed = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 2 }), async (texts) => {
        agreed += await compare(texts.join(''));
      }),
      { numRuns: 1500 },
    );
    assert.ok(agreed > 100, `they agreed on ${agreed} requests only`);
  });
});
