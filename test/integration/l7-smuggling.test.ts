/**
 * Requests and responses that two parsers could read differently, across versions: what the proxy refuses, what the
 * backend sees of the rest, and that nothing of one message ever passes for part of another.
 */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { data, headers, literals } from '../../src/codec/http2/testing/frames.ts';
import { FramesClient, pseudoBlock, requestBlock } from '../support/frames-client.ts';
import { Http1Client, Http2Client, raw } from '../support/http-client.ts';
import { HttpOrigin } from '../support/http-origin.ts';
import { listener, route } from '../support/layer7.ts';
import { Peer } from '../support/peer.ts';
import { allSockets, type Portcullis } from '../support/portcullis.ts';
import { Suite } from '../support/suite.ts';

const host = 'app.example.com';
const modern = 'modern.example.com';
const smuggled = `GET /smuggled HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

/** Fields and a body behind `POST /echo HTTP/1.1` and Host. */
const ambiguousBodies: Record<string, [fields: string, body: string]> = {
  'CL.TE': [`Content-Length: ${smuggled.length + 5}\r\nTransfer-Encoding: chunked\r\n`, '0\r\n\r\n'],
  'TE.CL': [`Transfer-Encoding: chunked\r\nContent-Length: 4\r\n`, '5c\r\n'],
  'two lengths': ['Content-Length: 0\r\nContent-Length: 50\r\n', ''],
  'two equal lengths': ['Content-Length: 0\r\nContent-Length: 0\r\n', ''],
  'a list of lengths': ['Content-Length: 0, 0\r\n', ''],
  'a length with a sign': ['Content-Length: +0\r\n', ''],
  'a negative length': ['Content-Length: -1\r\n', ''],
  'a hexadecimal length': ['Content-Length: 0x0\r\n', ''],
  'an octal length': ['Content-Length: 00\r\n', ''],
  'an empty length': ['Content-Length:\r\n', ''],
  'a length past 2^53': ['Content-Length: 9007199254740993\r\n', ''],
  'a length in two words': ['Content-Length: 0 0\r\n', ''],
  'chunked twice': ['Transfer-Encoding: chunked, chunked\r\n', '0\r\n\r\n'],
  'two encodings': ['Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n', '0\r\n\r\n'],
  identity: ['Transfer-Encoding: identity\r\n', ''],
  'gzip, chunked': ['Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n'],
  'an empty encoding': ['Transfer-Encoding:\r\nContent-Length: 0\r\n', ''],
  'an encoding behind a comma': ['Transfer-Encoding: ,chunked\r\n', '0\r\n\r\n'],
  'an encoding with a parameter': ['Transfer-Encoding: chunked;a=b\r\n', '0\r\n\r\n'],
  'an encoding behind a vertical tab': ['Transfer-Encoding: \x0bchunked\r\n', '0\r\n\r\n'],
  'an encoding in quotes': ['Transfer-Encoding: "chunked"\r\n', '0\r\n\r\n'],
  'a space before the colon': ['Transfer-Encoding : chunked\r\n', '0\r\n\r\n'],
  'a folded encoding': ['Transfer-Encoding:\r\n chunked\r\n', '0\r\n\r\n'],
  'a bare LF that begins a field': ['X: a\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'],
  'a bare CR that begins a field': ['X: a\rTransfer-Encoding: chunked\r\n', '0\r\n\r\n'],
  'a NUL in a name': ['Transfer\0-Encoding: chunked\r\n', '0\r\n\r\n'],
  'a line without a colon': ['Transfer-Encoding\r\n', ''],
  'an Upgrade with a body': ['Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n', 'hello'],
  'an Upgrade with chunks': [
    'Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n',
    '0\r\n\r\n',
  ],
};

/** What stands where a chunked body should. */
const badChunks: Record<string, string> = {
  'a size with 0x': '0x5\r\nhello\r\n0\r\n\r\n',
  'a size with a sign': '+5\r\nhello\r\n0\r\n\r\n',
  'a size with a space before it': ' 5\r\nhello\r\n0\r\n\r\n',
  'no size': '\r\nhello\r\n0\r\n\r\n',
  'a size past 2^53': 'fffffffffffffffff\r\nhello',
  'a size that ends in a bare LF': '5\nhello\r\n0\r\n\r\n',
  'an extension that hides a bare LF': '5;a\nhello\r\n0\r\n\r\n',
  'data longer than its size': '5\r\nhello!\r\n0\r\n\r\n',
  'a CR without its LF behind the data': '5\r\nhello\r0\r\n\r\n',
  'a trailer with a space before its colon': '0\r\nX : a\r\n\r\n',
  'a trailer that ends in a bare LF': '0\r\nX: a\n\r\n',
};

const badHeads: Record<string, string> = {
  'two hosts': `GET / HTTP/1.1\r\nHost: ${host}\r\nHost: ${host}\r\n\r\n`,
  'an empty host': 'GET / HTTP/1.1\r\nHost:\r\n\r\n',
  'a host with user information': `GET / HTTP/1.1\r\nHost: a@${host}\r\n\r\n`,
  'a host with a path': `GET / HTTP/1.1\r\nHost: ${host}/x\r\n\r\n`,
  'a list of hosts': `GET / HTTP/1.1\r\nHost: ${host}, b\r\n\r\n`,
  'a host that differs from the target': `GET http://b.example.com/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
  '* for GET': `GET * HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
  'a fragment': `GET /#a HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
  'a target of another scheme': `GET ftp://${host}/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
  'a NUL in the target': `GET /\0 HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
  'chunks on HTTP/1.0': `POST / HTTP/1.0\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
};

/** HTTP/2 heads, by what is wrong: each would be another message, or none, in HTTP/1. */
const badModernHeads: Record<string, string> = {
  'CR LF in a value': requestBlock(host, 'a', 'b\r\nx: y'),
  'LF in a value': requestBlock(host, 'a', 'b\nx: y'),
  'NUL in a value': requestBlock(host, 'a', 'b\0c'),
  'a colon in a name': requestBlock(host, 'a: b', 'c'),
  'CR LF in a name': requestBlock(host, 'a\r\nb', 'c'),
  'a name in upper case': requestBlock(host, 'Transfer-Encoding', 'chunked'),
  'transfer-encoding': requestBlock(host, 'transfer-encoding', 'chunked'),
  connection: requestBlock(host, 'connection', 'close'),
  upgrade: requestBlock(host, 'upgrade', 'h2c'),
  'te other than trailers': requestBlock(host, 'te', 'chunked'),
  'a length and no body': requestBlock(host, 'content-length', '5'),
  'a length that is none': requestBlock(host, 'content-length', '0x0'),
  'two lengths': requestBlock(host, 'content-length', '0', 'content-length', '0'),
  'a host that differs': requestBlock(host, 'host', 'b.example.com'),
  'two hosts': requestBlock(host, 'host', host, 'host', host),
  'user information': requestBlock(`a@${host}`),
  'a percent sign in the authority': requestBlock('app%2eexample.com'),
  'CR LF in the authority': requestBlock(`${host}\r\nx: y`),
  'a space in the path': pseudoBlock({ ':path': '/ HTTP/1.1', ':authority': host }),
  'CR LF in the path': pseudoBlock({ ':path': '/\r\n\r\n', ':authority': host }),
  'a byte above ASCII in the path': pseudoBlock({ ':path': '/\xff', ':authority': host }),
  'an absolute path': pseudoBlock({ ':path': `http://${host}/`, ':authority': host }),
  'a space in the method': pseudoBlock({ ':method': 'GET /smuggled', ':authority': host }),
  'another scheme': pseudoBlock({ ':scheme': 'ftp', ':authority': host }),
  'an upgrade to h2c': pseudoBlock({ ':method': 'CONNECT', ':protocol': 'h2c', ':authority': host }),
  'a pseudo-header behind a field': requestBlock(host, 'a', 'b', ':path', '/smuggled'),
  'a pseudo-header twice': pseudoBlock({ ':authority': host }) + literals(':path', '/smuggled'),
};

/** What a backend sends in answer to `GET /` on a connection that it keeps open. */
const poison = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison';
const poisonedAnswers: Record<string, string> = {
  'two responses to one request': `HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfirs${poison}`,
  'a body longer than its length': `HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfirs-and-more${poison}`,
  '204 with a body': `HTTP/1.1 204 No Content\r\nContent-Length: ${poison.length}\r\n\r\n${poison}`,
  '304 with a body': `HTTP/1.1 304 Not Modified\r\n\r\n${poison}`,
  'bytes behind the last chunk': `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfirs\r\n0\r\n\r\n${poison}`,
};
/** And what is no answer at all: 502. */
const brokenAnswers: Record<string, string> = {
  '101 that nobody asked for': `HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n${poison}`,
  'interim responses without end': `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n`.repeat(1000),
  'a head without end': `HTTP/1.1 200 OK\r\n${'X-A: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n'.repeat(2000)}`,
  'a folded field': 'HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n',
  'a length and chunks': `HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${poison}`,
};

for (const sockets of allSockets) {
  describe(`smuggling on ${sockets} sockets`, { timeout: 60_000 }, () => {
    const suite = new Suite();
    let portcullis: Portcullis;
    let origin: HttpOrigin;
    let modernOrigin: HttpOrigin;

    before(async () => {
      origin = suite.use(await HttpOrigin.start('http1'));
      modernOrigin = suite.use(await HttpOrigin.start('h2c'));
      const plain = 'backend_protocol = "http1"';
      const routes = [route(host, origin.port, plain), route(modern, modernOrigin.port)];
      for (const [name, answer] of Object.entries({ ...poisonedAnswers, ...brokenAnswers })) {
        const server = await suite.backend((peer) => void answerOnce(peer, answer));
        routes.push(route(poisonedHost(name), server.port, plain));
      }
      const config = listener(['addr = "127.0.0.1:0"', 'protocol = "http"'], routes);
      portcullis = await suite.portcullis(config, { sockets, server: { workers: 1 } });
    });

    for (const [what, [fields, body]] of Object.entries(ambiguousBodies)) {
      test(`a request with ${what} is refused, and what follows is not read`, async () => {
        const head = `POST /echo HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n`;
        await refused(head + body + smuggled);
      });
    }

    for (const [what, request] of Object.entries(badHeads)) {
      test(`a request with ${what} is refused`, () => refused(request + smuggled));
    }

    for (const [what, chunks] of Object.entries(badChunks)) {
      test(`${what}: the request never completes, whatever the backend speaks`, async () => {
        for (const [name, backend] of [
          [host, origin],
          [modern, modernOrigin],
        ] as const) {
          const fields = 'Transfer-Encoding: chunked\r\nContent-Type: text/plain\r\n';
          const answer = await raw(
            portcullis.port(),
            `POST /echo HTTP/1.1\r\nHost: ${name}\r\n${fields}\r\n${chunks}${smuggled}`,
          );
          assert.match(answer, /^HTTP\/1\.1 400 /);
          assert.equal(answer.match(/HTTP\/1\.1 /g)!.length, 1);
          assert.ok(!backend.requests.includes('GET /smuggled'));
        }
      });
    }

    for (const [what, block] of Object.entries(badModernHeads)) {
      test(`an HTTP/2 request with ${what} is refused, and the next one served`, async () => {
        const before = origin.requests.length;
        using client = await FramesClient.open(portcullis.port());
        await client.send(headers(1, block) + headers(3, requestBlock(host)));
        assert.equal(await client.line(/^(RST_STREAM|HEADERS) 1\b/), 'RST_STREAM 1 1');
        assert.ok(await client.line(/^HEADERS 3/));
        assert.deepEqual(origin.requests.slice(before), ['GET /']);
      });
    }

    test('an HTTP/2 body that differs from its length never completes over HTTP/1', async () => {
      const before = origin.requests.length;
      for (const body of ['hell', `hello${smuggled}`]) {
        using client = await FramesClient.open(portcullis.port());
        const block = pseudoBlock({ ':method': 'POST', ':path': '/echo', ':authority': host });
        await client.send(headers(1, block + literals('content-length', '5'), false) + data(1, body, true));
        assert.equal(await client.line(/^(RST_STREAM|HEADERS) 1\b/), 'RST_STREAM 1 1');
      }
      assert.ok(origin.requests.slice(before).every((line) => line === 'POST /echo'));
    });

    test('a body of HTTP/2 without a length is chunked; one that looks like a request stays a body', async () => {
      using client = await FramesClient.open(portcullis.port());
      for (const [id, method] of [
        [1, 'POST'],
        [3, 'GET'],
        [5, 'DELETE'],
      ] as const) {
        const block = pseudoBlock({ ':method': method, ':path': '/echo', ':authority': host });
        await client.send(headers(id, block, false) + data(id, smuggled, true));
        assert.ok(await client.line(new RegExp(`^HEADERS ${id}`)));
      }
      assert.deepEqual(origin.requests.slice(-3), ['POST /echo', 'GET /echo', 'DELETE /echo']);
      assert.ok(!origin.requests.includes('GET /smuggled'));
    });

    test('a GET with a body stays one request', async () => {
      const fields = `Content-Length: ${smuggled.length}\r\nConnection: close\r\n`;
      for (const name of [host, modern]) {
        const request = `GET /echo HTTP/1.1\r\nHost: ${name}\r\n${fields}\r\n${smuggled}`;
        const answer = await raw(portcullis.port(), request);
        assert.match(answer, /^HTTP\/1\.1 200 /);
        assert.match(answer, new RegExp(`"bodyBytes":${smuggled.length}\\b`));
      }
      assert.ok(![...origin.requests, ...modernOrigin.requests].includes('GET /smuggled'));
    });

    test('trailers do not say again what the head settled', async () => {
      const trailers =
        'Content-Length: 0\r\nTransfer-Encoding: chunked\r\nHost: b\r\nX-Forwarded-For: 1.2.3.4\r\n' +
        'Authorization: Basic YTpi\r\nX-Kept: yes\r\n';
      const fields = 'Transfer-Encoding: chunked\r\nTrailer: x-kept\r\nConnection: close\r\n';
      for (const name of [host, modern]) {
        const request = `POST /echo HTTP/1.1\r\nHost: ${name}\r\n${fields}\r\n5\r\nhello\r\n0\r\n${trailers}\r\n`;
        const answer = await raw(portcullis.port(), request);
        if (answer.startsWith('HTTP/1.1 400 ')) continue;
        assert.match(answer, /"trailers":\{"x-kept":"yes"\}/);
      }
    });

    test('Connection takes no field away that frames, routes or tells of the client', async () => {
      const named = 'close, Content-Length, Host, X-Forwarded-For, X-Real-IP, Via, Authorization, X-Hop';
      const fields = `Connection: ${named}\r\nContent-Length: 5\r\nAuthorization: Basic YTpi\r\nX-Hop: a\r\n`;
      const request = `POST /echo HTTP/1.1\r\nHost: ${host}\r\n${fields}X-Forwarded-For: 1.2.3.4\r\n\r\nhello`;
      const answer = await raw(portcullis.port(), request);
      assert.match(answer, /"bodyBytes":5\b/);
      for (const name of ['host', 'x-forwarded-for', 'x-real-ip', 'via', 'content-length']) {
        assert.ok(answer.includes(`["${name}","`), name);
      }
      assert.doesNotMatch(answer, /x-hop|authorization|1\.2\.3\.4/);
    });

    for (const what of Object.keys(poisonedAnswers)) {
      test(`${what}: the next client does not get the rest`, async () => {
        for (let i = 0; i < 3; i++) {
          using client = new Http1Client(portcullis.port(), poisonedHost(what));
          const answer = await client.ask({ path: '/' });
          assert.doesNotMatch(answer.body.toString(), /poison/);
          assert.notEqual(answer.status, 502);
        }
      });
    }

    test('a response to HEAD that has a body: the next client does not get it', async () => {
      for (const method of ['HEAD', 'GET']) {
        using client = new Http1Client(portcullis.port(), poisonedHost('two responses to one request'));
        const answer = await client.ask({ method, path: '/' });
        assert.equal(answer.body.toString(), method === 'HEAD' ? '' : 'firs');
      }
    });

    for (const what of Object.keys(brokenAnswers)) {
      test(`a backend that answers with ${what}: 502`, async () => {
        using client = new Http1Client(portcullis.port(), poisonedHost(what));
        using second = await Http2Client.connect(portcullis.port(), poisonedHost(what));
        for (const each of [client, second]) assert.equal((await each.ask({ path: '/' })).status, 502);
      });
    }

    test('none of it was a fault of ours', () => {
      assert.deepEqual(
        portcullis.lines.filter(({ level }) => level === 'error'),
        [],
      );
      assert.ok(!portcullis.lines.some((line) => line['reason'] === 'internal-error'));
    });

    /** One answer, 4xx, and the end of the connection. */
    async function refused(request: string): Promise<void> {
      const count = origin.requests.length;
      const answer = await raw(portcullis.port(), request);
      assert.match(answer, /^HTTP\/1\.1 4\d\d [^]*\r\nconnection: close\r\n/i);
      assert.equal(answer.match(/HTTP\/1\.1 /g)!.length, 1);
      assert.equal(origin.requests.length, count);
    }
  });
}

/** Tests of one name, hosts of another. */
function poisonedHost(what: string): string {
  return `${what.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}.example.com`;
}

/** Answers each first request of a connection, and keeps it open. */
async function answerOnce(peer: Peer, answer: string): Promise<void> {
  await peer.read(20);
  await peer.write(Buffer.from(answer, 'latin1'));
}
