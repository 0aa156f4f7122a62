// What a proxy on `node:http2` costs: the reference that the HTTP/2 figure is held against, for the bench alone.
// `node-http2-proxy.ts PORT BACKEND_PORT`: one h2c listener, one session to the backend, no log, no added fields.

import {
  connect,
  constants,
  createServer,
  type ClientHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';

const STREAMS_MAX = 4096;
const hopByHop = new Set([constants.HTTP2_HEADER_HOST, constants.HTTP2_HEADER_CONNECTION]);
const [port, backendPort] = process.argv.slice(2).map(Number) as [number, number];

let upstream: ClientHttp2Session | undefined;

const server = createServer({ settings: { maxConcurrentStreams: STREAMS_MAX } });
server.on('stream', (stream: ServerHttp2Stream, headers) => {
  const fields = Object.fromEntries(Object.entries(headers).filter(([name]) => !hopByHop.has(name)));
  const request = session().request(fields);
  stream.on('error', () => request.close());
  request.on('error', () => stream.close());
  request.on('response', (answer) => stream.respond(answer));
  stream.pipe(request);
  request.pipe(stream);
});
server.listen(port, '127.0.0.1');

/** The backend ends between two runs; the next request opens a new session. */
function session(): ClientHttp2Session {
  if (upstream === undefined || upstream.closed || upstream.destroyed) {
    upstream = connect(`http://127.0.0.1:${backendPort}`);
    upstream.on('error', () => undefined);
  }
  return upstream;
}
