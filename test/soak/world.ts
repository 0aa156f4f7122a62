/** What a run is made of: backends, the links to them, the program between, and the ways to look at it and touch it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { renameSync, copyFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createServer as createTls, type TLSSocket } from 'node:tls';
import { Home, type AdminClient, type Controlled } from '../support/admin.ts';
import { Authority, temporaryDirectory, type Issued } from '../support/authority.ts';
import { GrpcOrigin } from '../support/grpc.ts';
import { HttpOrigin } from '../support/http-origin.ts';
import type { Portcullis, Sockets } from '../support/portcullis.ts';
import { Link } from './link.ts';
import { ServerWatch } from './server-watch.ts';
import type { ClientContext } from './soak-client.ts';
import { ingressKinds, trafficKinds, type TrafficKind } from './traffic.ts';
import { Probe, type Vitals } from './vitals.ts';

export const listenerAddr = '127.0.0.1:0';
const egressAddr = '127.0.0.2:0';
/** A host of no traffic, to see which certificate is shown. */
export const certificateHost = 'certificates.soak.example';
export const workers = 2;
/** Certificates that are rotated through. */
const identityCount = 4;
/** Of [http]: what a backend that hangs runs into. */
export const responseTimeoutMs = 4_000;
/** How long the pool keeps what nobody uses. */
const upstreamIdleMs = 1_000;
/** What ends a tunnel whose client vanished with a FIN: the backend here keeps its half open, as some do. */
const tunnelIdleMs = 5_000;

/** How the links' backends are spoken to: lines of a route. */
const backendLines: Readonly<Record<string, readonly string[]>> = {
  stream: [],
  http1: ['backend_protocol = "http1"'],
  https: ['backend_protocol = "http1"', 'backend_tls = true'],
  h2: ['backend_protocol = "auto"', 'backend_tls = true'],
  grpc: ['backend_protocol = "h2c"'],
};

export class World implements AsyncDisposable {
  readonly authority: Authority;
  readonly portcullis: Portcullis;
  readonly admin: AdminClient;
  readonly probe: Probe;
  readonly watch: ServerWatch;
  readonly links: ReadonlyMap<string, Link>;
  readonly database: string;
  readonly #egressAuthority: Authority;
  readonly #ports: { readonly ingress: number; readonly egress: number };
  readonly #identities: readonly Issued[];
  readonly #stack: AsyncDisposableStack;
  #rotations = 0;

  static async start(sockets: Sockets): Promise<World> {
    const stack = new AsyncDisposableStack();
    try {
      const home = stack.use(new Home());
      const folder = temporaryDirectory();
      const authority = new Authority('soak', folder);
      const egressAuthority = new Authority('egress', folder);
      const altNames = ['DNS:*.soak.example'];
      const identities = Array.from({ length: identityCount }, (_, i) =>
        authority.issue({ altNames, subject: `/CN=leaf ${i}` }),
      );
      const origin = authority.issue({ altNames: ['DNS:origin.example', ...altNames] });
      const links = await startLinks(stack, origin);
      const served: Issued = {
        ...identities[0]!,
        certPath: join(folder, 's.pem'),
        keyPath: join(folder, 's.key'),
      };
      copyFileSync(identities[0]!.certPath, served.certPath);
      copyFileSync(identities[0]!.keyPath, served.keyPath);
      const probePath = join(home.path, 'probe.sock');
      const server = stack.use(
        await home.start(
          [configuration(links, served, authority), egressConfiguration(links, authority, folder)].join('\n'),
          {
            sockets,
            server: { workers },
            env: {
              NODE_OPTIONS: `--import ${new URL('./probe.ts', import.meta.url).href}`,
              SOAK_PROBE: probePath,
            },
          },
        ),
      );
      const probe = stack.use(await Probe.open(server.portcullis, probePath, workers));
      const watch = stack.use(new ServerWatch(server.portcullis));
      return new World(
        {
          authority,
          egressAuthority,
          server,
          probe,
          watch,
          links,
          identities: [served, ...identities],
          home,
        },
        stack,
      );
    } catch (error) {
      await stack.disposeAsync();
      throw error;
    }
  }

  private constructor(
    parts: {
      readonly authority: Authority;
      readonly egressAuthority: Authority;
      readonly server: Controlled;
      readonly probe: Probe;
      readonly watch: ServerWatch;
      readonly links: ReadonlyMap<string, Link>;
      readonly identities: readonly Issued[];
      readonly home: Home;
    },
    stack: AsyncDisposableStack,
  ) {
    this.authority = parts.authority;
    this.#egressAuthority = parts.egressAuthority;
    this.portcullis = parts.server.portcullis;
    const { portcullis } = this;
    this.#ports = { ingress: portcullis.port(listenerAddr), egress: portcullis.port(egressAddr) };
    this.admin = parts.server.admin;
    this.probe = parts.probe;
    this.watch = parts.watch;
    this.links = parts.links;
    this.database = parts.home.database;
    this.#identities = parts.identities;
    this.#stack = stack;
  }

  get port(): number {
    return this.#ports.ingress;
  }

  /** Where clients of a kind connect, and whom they trust. */
  door({ isEgress = false }: TrafficKind): Pick<ClientContext, 'address' | 'port' | 'isEgress' | 'ca'> {
    return isEgress
      ? { address: '127.0.0.2', port: this.#ports.egress, isEgress, ca: this.#egressAuthority.cert }
      : { address: '127.0.0.1', port: this.#ports.ingress, isEgress, ca: this.authority.cert };
  }

  /** Puts the next certificate where the served one stands, as a renewal does. Answers its common name. */
  rotate(): string {
    const [served, ...all] = this.#identities as [Issued, ...Issued[]];
    const number = ++this.#rotations % all.length;
    for (const file of ['keyPath', 'certPath'] as const) {
      copyFileSync(all[number]![file], `${served[file]}.new`);
      renameSync(`${served[file]}.new`, served[file]);
    }
    return `leaf ${number}`;
  }

  /** Connections that are open: clients' by the program's gauge, and its own by the links. */
  async connections(): Promise<ReadonlyMap<string, number>> {
    const numbers = new Map([['connections active', 0]]);
    for (const { name, openCount } of this.links.values()) numbers.set(`link ${name} connections`, openCount);
    const page = await this.watch.metrics();
    const gauges = [...page.matchAll(/^portcullis_connections_active\{.*\} (\d+)$/gm)];
    assert.ok(gauges.length > 0, page);
    for (const [, value] of gauges) {
      numbers.set('connections active', numbers.get('connections active')! + Number(value));
    }
    return numbers;
  }

  /** Everything that must return to what it was. */
  async look(): Promise<Vitals> {
    return new Map([...(await this.connections()), ...(await this.probe.look())]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

async function startLinks(stack: AsyncDisposableStack, identity: Issued): Promise<Map<string, Link>> {
  const http1 = stack.use(await HttpOrigin.start('http1'));
  const https = stack.use(await HttpOrigin.start('https', identity));
  const h2 = stack.use(await HttpOrigin.start('h2', identity));
  const grpc = stack.use(await GrpcOrigin.start());
  const stream = await startTlsEcho(stack, identity);
  const ends: readonly (readonly [name: string, isProtected: boolean, port: number])[] = [
    ['stream', true, stream],
    ['http1', false, http1.port],
    ['https', true, https.port],
    ['h2', true, h2.port],
    ['grpc', false, grpc.port],
  ];
  const links = new Map<string, Link>();
  for (const [index, [name, isProtected, port]] of ends.entries()) {
    const host = `127.${64 + (process.pid & 63)}.${(process.pid >> 6) & 255}.${index + 1}`;
    links.set(name, stack.use(await Link.start(name, isProtected, host, port)));
  }
  return links;
}

async function startTlsEcho(stack: AsyncDisposableStack, { cert, key }: Issued): Promise<number> {
  const sockets = new Set<TLSSocket>();
  const server = createTls({ cert, key }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    socket.pipe(socket);
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stack.defer(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

function configuration(links: ReadonlyMap<string, Link>, served: Issued, { certPath }: Authority): string {
  const places = [...ingressKinds, { host: certificateHost, link: 'http1' }];
  const routes = places.map(({ host, link }) => {
    const lines = ['[[listeners.routes]]', `hostname = "${host}"`, `backend = "${links.get(link)!.address}"`];
    if (link === 'stream') return lines.join('\n');
    lines.push('mode = "l7"', `tls_cert = "${served.certPath}"`, `tls_key = "${served.keyPath}"`);
    lines.push(...backendLines[link]!);
    if (links.get(link)!.isProtected) {
      lines.push(`backend_ca = "${certPath}"`, 'backend_server_name = "origin.example"');
    }
    return lines.join('\n');
  });
  return [
    '[http]',
    `response_timeout = "${responseTimeoutMs}ms"`,
    `upstream_idle_timeout = "${upstreamIdleMs}ms"`,
    `tunnel_idle_timeout = "${tunnelIdleMs}ms"`,
    '[metrics]\naddr = "127.0.0.1:0"',
    `[[listeners]]\naddr = "${listenerAddr}"`,
    ...routes,
  ].join('\n');
}

/** Nobody gets out but to the hosts of these kinds, whose traffic the gateway reads on its way. */
function egressConfiguration(
  links: ReadonlyMap<string, Link>,
  { certPath }: Authority,
  folder: string,
): string {
  const rewrites = trafficKinds
    .filter(({ isEgress }) => isEgress === true)
    .flatMap(({ host, link }) => [
      `[[egress.rewrites]]\npattern = "${host}"`,
      `target_ip = "${links.get(link)!.host}"\ntarget_port = ${links.get(link)!.port}`,
    ]);
  return [
    `[[listeners]]\naddr = "${egressAddr}"\nkind = "egress"`,
    '[egress]\ndefault_policy = "BLOCK"',
    `mitm_cert = "${join(folder, 'egress.pem')}"\nmitm_key = "${join(folder, 'egress.key')}"`,
    `outgoing_ca = "${certPath}"`,
    ...rewrites,
  ].join('\n');
}
