/**
 * The self-contained example behind `npm start`: three backends, and Portcullis in front of them.
 *
 * The certificates beside this file are for example.com alone and for trying things out; never trust their CA.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { createServer, type Server } from 'node:https';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = dirname(fileURLToPath(import.meta.url));
const program = join(folder, '../../bin/portcullis');
const config = join(folder, 'portcullis.toml');
/** As in portcullis.toml. */
const listener = { host: '127.0.0.1', port: 8443 };
/** Signals this close together are one: a second one means "end at once". */
const sameSignalMs = 500;
const tlsBackends = [
  { name: 'app', port: 9001 },
  { name: 'api', port: 9002 },
];
const httpBackend = { name: 'www', port: 9003 };

async function startTlsBackend({ name, port }: (typeof tlsBackends)[number]): Promise<Server> {
  const read = (ending: string): Buffer => readFileSync(join(folder, 'certs', `${name}.${ending}`));
  const server = createServer({ key: read('key'), cert: read('pem') }, (_request, response) => {
    response.end(`hello from ${name}, a backend that never saw Portcullis decrypt anything\n`);
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

/** Plain HTTP/1.1: what it says of the client it learnt from Portcullis. */
async function startHttpBackend(): Promise<HttpServer> {
  const server = createHttpServer((request, response) => {
    const { method, url, headers } = request;
    request.resume();
    const { 'x-forwarded-for': client, 'x-forwarded-proto': scheme } = headers;
    response.end(
      `hello from ${httpBackend.name}: ${method} ${url}, forwarded for ${String(client)} over ${String(scheme)}\n`,
    );
  });
  server.listen(httpBackend.port, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

function tell(): void {
  const ca = relative(process.cwd(), join(folder, 'certs/ca.pem'));
  const { host, port } = listener;
  const curl = (name: string): string =>
    `  curl --cacert ${ca} --resolve ${name}:${port}:${host} https://${name}:${port}/`;
  process.stdout.write(
    [
      '',
      `  portcullis   ${host}:${port}   routes by the server name in the ClientHello`,
      ...tlsBackends.map(
        ({ name, port }) => `  ${name.padEnd(10)}   127.0.0.1:${port}   a TLS backend, ${name}.example.com`,
      ),
      `  ${httpBackend.name.padEnd(10)}   127.0.0.1:${httpBackend.port}   an HTTP backend, www.example.com: TLS ends in Portcullis`,
      '',
      'Try, in another terminal:',
      curl('app.example.com'),
      curl('api.example.com'),
      curl('v2.api.example.com'),
      curl('www.example.com'),
      `${curl('www.example.com')} -A BadBot    # 403: a policy`,
      `  curl -i --resolve www.example.com:8080:${host} http://www.example.com:8080/    # a redirect to https`,
      `  openssl s_client -connect ${host}:${port} -servername app.example.com -CAfile ${ca} -brief </dev/null`,
      `  curl -k --resolve nobody.example.com:${port}:${host} https://nobody.example.com:${port}/    # reset: no-route`,
      '',
      'Ctrl-C drains and ends.',
      '',
      '',
    ].join('\n'),
  );
}

async function main(): Promise<void> {
  const servers = await Promise.all([...tlsBackends.map(startTlsBackend), startHttpBackend()]);
  tell();
  // In a process group of its own: a terminal sends Ctrl-C to everyone in ours, and some runners pass it on as well.
  const portcullis = spawn(program, ['serve', '-c', config], { stdio: 'inherit', detached: true });
  let endedMs = -Infinity;
  const end = (signal: NodeJS.Signals): void => {
    const nowMs = performance.now();
    if (nowMs - endedMs > sameSignalMs) portcullis.kill(signal);
    endedMs = nowMs;
  };
  process.on('SIGINT', end);
  process.on('SIGTERM', end);
  const [code] = (await once(portcullis, 'exit')) as [number | null];
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
  process.exitCode = code ?? 1;
}

main().catch((error: NodeJS.ErrnoException) => {
  const message =
    error.code === 'EADDRINUSE' ? `a port of the example is in use: ${error.message}` : String(error);
  process.stderr.write(`${message}\n`);
  process.exitCode = 1;
});
