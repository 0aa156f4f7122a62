/**
 * Everything around an egress gateway that runs as the real program: its authority, origins on loopback that rewrites
 * lead to (so that no name is resolved), its configuration, and clients.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { pemOf } from '../../src/egress/pki/certificate.ts';
import { generateAuthority } from '../../src/egress/pki/generate.ts';
import { Authority, temporaryDirectory } from './authority.ts';
import { HttpOrigin } from './http-origin.ts';
import { Portcullis, type StartOptions } from './portcullis.ts';
import { run, type ToolResult } from './tools.ts';

export interface ConfigParts {
  /** Lines of `[egress]` beyond the authority's and the origins'. */
  readonly egress?: readonly string[];
  /** Tables after it: rules, clients. */
  readonly tables?: readonly string[];
  readonly listener?: readonly string[];
}

export interface Curled extends ToolResult {
  readonly status: number;
  readonly connectStatus: number;
  readonly version: string;
  readonly body: string;
}

export class EgressWorld implements AsyncDisposable {
  readonly folder: string = temporaryDirectory();
  readonly originCa: Authority = new Authority('origin', this.folder);
  /** Of the gateway: what its clients trust. */
  readonly caFile: string = join(this.folder, 'ca.crt');
  readonly #keyFile: string = join(this.folder, 'ca.key');
  readonly #stack = new AsyncDisposableStack();
  #h2: HttpOrigin | null = null;
  #https: HttpOrigin | null = null;
  #plain: HttpOrigin | null = null;

  static async start(): Promise<EgressWorld> {
    const world = new EgressWorld();
    const identity = world.originCa.issue({ altNames: ['DNS:h2.test', 'DNS:https.test'] });
    world.#h2 = world.#stack.use(await HttpOrigin.start('h2', identity));
    world.#https = world.#stack.use(await HttpOrigin.start('https', identity));
    world.#plain = world.#stack.use(await HttpOrigin.start('http1'));
    return world;
  }

  private constructor() {
    const name = { commonName: 'Egress CA', organization: null, country: null };
    const rest = { validityDays: 10, pathLength: null, constraints: null, issuer: null };
    const made = generateAuthority({ name, algorithm: 'ecdsa-p256', ...rest }, Date.now());
    writeFileSync(this.caFile, pemOf(made.certificate.raw));
    writeFileSync(this.#keyFile, made.key.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
  }

  /** `h2.test`, which speaks HTTP/1.1 as well. */
  get h2(): HttpOrigin {
    return this.#h2!;
  }

  /** `https.test`, HTTP/1.1 alone, with WebSockets. */
  get https(): HttpOrigin {
    return this.#https!;
  }

  use<T extends AsyncDisposable>(resource: T): T {
    return this.#stack.use(resource);
  }

  rewrite(host: string, port: number, ...lines: readonly string[]): string {
    return [
      '[[egress.rewrites]]',
      `pattern = "${host}"`,
      'target_ip = "127.0.0.1"',
      `target_port = ${port}`,
      ...lines,
    ].join('\n');
  }

  /** The listener is `127.0.0.1:0`. */
  config({ egress = [], tables = [], listener = [] }: ConfigParts = {}): string {
    return [
      ...['[metrics]', 'addr = "127.0.0.1:0"'],
      ...['[[listeners]]', 'addr = "127.0.0.1:0"', 'kind = "egress"', ...listener],
      ...['[egress]', `mitm_cert = "${this.caFile}"`, `mitm_key = "${this.#keyFile}"`],
      ...[`outgoing_ca_bundle = "${this.originCa.certPath}"`, ...egress, ...tables],
      this.rewrite('h2.test', this.h2.port),
      this.rewrite('https.test', this.https.port),
      this.rewrite('plain.test', this.#plain!.port),
      '',
    ].join('\n');
  }

  async gateway(parts: ConfigParts = {}, options: StartOptions = {}): Promise<Portcullis> {
    return this.use(await Portcullis.start(this.config(parts), options));
  }

  async curl(through: Portcullis, ...args: readonly string[]): Promise<Curled> {
    const proxy = `http://127.0.0.1:${egressPort(through)}`;
    const format = '\\n%{http_code} %{http_connect} %{http_version}';
    const all = ['-sS', '--max-time', '20', '-x', proxy, '--cacert', this.caFile, '-w', format, ...args];
    const result = await run('curl', all);
    const parts = /^([^]*)\n(\d+) (\d+) (\S+)$/.exec(result.stdout);
    const [, body = '', status, connectStatus, version = ''] = parts ?? [];
    return { ...result, body, status: Number(status), connectStatus: Number(connectStatus), version };
  }

  /** TLS to a host through a tunnel, as the gateway shows it. */
  async secured(
    through: Portcullis,
    host: string,
    alpn: readonly string[] = ['http/1.1'],
  ): Promise<TLSSocket> {
    const socket = await openTunnel(egressPort(through), `${host}:443`);
    return new Promise((resolve, reject) => {
      const options = { servername: host, ALPNProtocols: [...alpn], ca: readFileSync(this.caFile) };
      const tls = connectTls({ socket, ...options }, () => resolve(tls));
      tls.once('error', reject);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

export function egressPort(through: Portcullis): number {
  return through.port('127.0.0.1:0');
}

/** Where `/metrics` and `/readyz` are. */
export function metricsUrl(through: Portcullis): string {
  const line = through.lines.find(({ msg }) => msg === 'metrics HTTP listening');
  return `http://${String(line!['address'])}`;
}

/** The value of one series, `proxy_traffic_total{domain="a.test",action="BLOCKED"}`; 0 while there is none. */
export async function metric(through: Portcullis, series: string): Promise<number> {
  const page = await (await fetch(`${metricsUrl(through)}/metrics`)).text();
  const line = page.split('\n').find((each) => each.startsWith(`${series} `));
  return line === undefined ? 0 : Number(line.slice(series.length + 1));
}

/** An open tunnel to `authority`; rejects with the answer when it is another than 200. */
export function openTunnel(port: number, authority: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () =>
      socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`),
    );
    socket.once('error', reject);
    socket.once('data', (head) => {
      if (head.toString().startsWith('HTTP/1.1 200')) resolve(socket);
      else reject(new Error(head.toString()));
    });
  });
}
