/** What the proxy answers by itself: the status, the reason in the log, Proxy-Status, and a body that fits the client. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { GrpcCall } from '../support/grpc.ts';
import { Http1Client, Http2Client, raw } from '../support/http-client.ts';
import { HttpOrigin } from '../support/http-origin.ts';
import { isRequestLine, listener, route, type RequestLine } from '../support/layer7.ts';
import { Peer } from '../support/peer.ts';
import type { LogLine, Portcullis } from '../support/portcullis.ts';
import { Suite } from '../support/suite.ts';

const host = 'app.example.com';
const settings = `
[http]
head_timeout = "300ms"
response_timeout = "500ms"
body_idle_timeout = "1s"
keep_alive_timeout = "400ms"
head_bytes_max = "8KiB"
target_bytes_max = "1KiB"
header_count_max = 32
upstream_connections_max = 1
upstream_waiting_max = 1
`;

const malformed: Record<string, string> = {
  nothing: '',
  'no-http': 'SSH-2.0-OpenSSH_9\r\n\r\n',
  'two-lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
  'length-and-chunks': 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'bad-field': 'HTTP/1.1 200 OK\r\nX A: b\r\n\r\n',
  'bad-status': 'HTTP/1.1 2000 OK\r\n\r\n',
};

describe('errors', { timeout: 120_000 }, () => {
  const suite = new Suite();
  let portcullis: Portcullis;

  before(async () => {
    const origin = suite.use(await HttpOrigin.start('http1'));
    const plain = 'backend_protocol = "http1"';
    const routes = [route(host, origin.port, plain), route('down.example.com', 1, plain)];
    for (const [name, answer] of Object.entries(malformed)) {
      const server = await suite.backend((peer) => void play(peer, answer));
      routes.push(route(`${name}.example.com`, server.port, plain));
    }
    const config = settings + listener(['addr = "127.0.0.1:0"', 'protocol = "http"'], routes);
    portcullis = await suite.portcullis(config, { server: { workers: 1 } });
  });

  /** Raw requests that are refused: the text, the status, the reason. Each ends its connection. */
  const refused: Record<string, [request: string, status: number, reason: string]> = {
    'two lengths': [post('Content-Length: 1\r\nContent-Length: 2\r\n', 'ab'), 400, 'request-ambiguous'],
    'a length and chunks': [
      post('Content-Length: 3\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
      400,
      'request-ambiguous',
    ],
    'a space before the colon': [get('X-A : b\r\n'), 400, 'request-ambiguous'],
    'a folded line': [get('X-A: b\r\n c\r\n'), 400, 'request-ambiguous'],
    'a bare LF': [`GET / HTTP/1.1\nHost: ${host}\n\n`, 400, 'request-malformed'],
    'a NUL': [get('X-A: b\0c\r\n'), 400, 'request-malformed'],
    'two hosts': [get('Host: other.example.com\r\n'), 400, 'request-ambiguous'],
    'no host': ['GET / HTTP/1.1\r\n\r\n', 400, 'request-malformed'],
    'chunks on HTTP/1.0': [
      `POST / HTTP/1.0\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
      'request-ambiguous',
    ],
    CONNECT: [`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n\r\n`, 405, 'method-refused'],
    'a long target': [`GET /${'a'.repeat(2000)} HTTP/1.1\r\nHost: ${host}\r\n\r\n`, 414, 'target-oversized'],
    'a long head': [get(`X-A: ${'a'.repeat(9000)}\r\n`), 431, 'head-oversized'],
    'many fields': [get('X-A: b\r\n'.repeat(40)), 431, 'head-oversized'],
    'a head that does not end': [`GET / HTTP/1.1\r\nHost: ${host}\r\n`, 408, 'request-timeout'],
  };
  for (const [what, [request, status, reason]] of Object.entries(refused)) {
    test(`${what}: ${status}`, async () => {
      const start = portcullis.lines.length;
      const answer = await raw(portcullis.port(), request);
      assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `), answer.slice(0, 200));
      // A method is refused by the route, not by the parser: the connection goes on.
      if (status !== 405) assert.match(answer, /\r\nconnection: close\r\n/i);
      assert.equal(
        (await lineAfter(start, (line) => 'reason' in line && line['reason'] === reason))['reason'],
        reason,
      );
    });
  }

  test('nothing of a refused body is read as the next request', async () => {
    const smuggled = `GET /smuggled HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
    const request = post(
      `Content-Length: ${smuggled.length}\r\nTransfer-Encoding: chunked\r\n`,
      `0\r\n\r\n${smuggled}`,
    );
    const answer = await raw(portcullis.port(), request);
    assert.equal(answer.match(/HTTP\/1\.1 /g)!.length, 1);
    assert.ok(!portcullis.lines.some((line) => line['path'] === '/smuggled'));
  });

  test('a backend that is down: 502, in the form that the client takes', async () => {
    using client = new Http1Client(portcullis.port(), 'down.example.com');
    for (const [accept, type] of [
      ['text/html', /^text\/html/],
      ['application/json', /^application\/json/],
    ] as const) {
      const answer = await client.ask({ headers: { accept } });
      assert.equal(answer.status, 502);
      assert.match(String(answer.headers['content-type']), type);
      assert.match(String(answer.headers['proxy-status']), /; ?error=/);
    }
    const line = await portcullis.line<RequestLine>(
      (each) => isRequestLine(each) && each.host === 'down.example.com',
    );
    assert.equal(line.reason, 'dial-refused');
    using modern = await Http2Client.connect(portcullis.port(), 'down.example.com');
    const call = new GrpcCall(modern.session, '/a.B/C', { ':authority': 'down.example.com' }).end();
    await call.ended;
    assert.equal(call.status, '14');
  });

  test('a backend that does not answer: 504', async () => {
    using client = new Http1Client(portcullis.port(), host);
    const answer = await client.ask({ path: '/hang' });
    assert.equal(answer.status, 504);
    const line = await portcullis.line<RequestLine>((each) => isRequestLine(each) && each.path === '/hang');
    assert.equal(line.reason, 'upstream-timeout');
  });

  for (const name of Object.keys(malformed)) {
    test(`a backend that answers with ${name}: 502`, async () => {
      using client = new Http1Client(portcullis.port(), `${name}.example.com`);
      const answer = await client.ask({ path: `/${name}` });
      assert.equal(answer.status, 502);
      const line = await portcullis.line<RequestLine>(
        (each) => isRequestLine(each) && each.path === `/${name}`,
      );
      assert.equal(line.reason, name === 'nothing' ? 'upstream-reset' : 'upstream-malformed');
    });
  }

  test('an answer that breaks off ends the client’s connection, never in order', async () => {
    const answer = await raw(portcullis.port(), get('', '/reset/100')).catch(() => '');
    assert.doesNotMatch(answer, /\r\n0\r\n\r\n$/);
    using client = await Http2Client.connect(portcullis.port(), host);
    await assert.rejects(client.ask({ path: '/reset/100' }));
    const line = await portcullis.line<RequestLine>(
      (each) => isRequestLine(each) && each.path === '/reset/100',
    );
    assert.equal(line.reason, 'upstream-reset');
  });

  test('more requests than connections and places to wait: 503', async () => {
    const clients = [1, 2, 3].map(() => new Http1Client(portcullis.port(), host));
    await clients[0]!.ask();
    const answers = await Promise.all(clients.map((client) => client.ask({ path: '/hang' })));
    assert.equal(answers.filter(({ status }) => status === 503).length, 1);
    for (const client of clients) client[Symbol.dispose]();
  });

  test('a connection without a request is closed after keep_alive_timeout', async () => {
    const peer = await Peer.connect(portcullis.port());
    await peer.write(get('', '/status/204'));
    const answer = await peer.readToEnd();
    assert.match(answer.toString('latin1'), /^HTTP\/1\.1 204 /);
    peer.close();
  });

  async function lineAfter(start: number, matches: (line: LogLine) => boolean): Promise<LogLine> {
    await portcullis.until('the line of the refusal', () => portcullis.lines.slice(start).some(matches));
    return portcullis.lines.slice(start).find(matches)!;
  }
});

async function play(peer: Peer, answer: string): Promise<void> {
  await peer.read(20);
  peer.end(Buffer.from(answer, 'latin1'));
}

function get(fields: string, path = '/'): string {
  return `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n`;
}

function post(fields: string, body: string): string {
  return `POST / HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n${body}`;
}
