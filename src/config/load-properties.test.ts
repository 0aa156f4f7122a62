import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { parse as parseToml, stringify as toToml } from 'smol-toml';
import { stringify as toYaml } from 'yaml';
import { IpAddress, formatCidr, formatIp, parseCidr } from '../core/ip.ts';
import type { HeaderRules, HttpSettings } from '../model/http-settings.ts';
import { operateDefaults } from '../model/operate-settings.ts';
import { logLevels } from '../model/settings.ts';
import type {
  AdminAddress,
  EndpointAddress,
  ListenerSettings,
  PolicySettings,
  Settings,
} from '../model/settings.ts';
import { policy as somePolicy, routes } from '../model/testing/arbitrary-traffic.ts';
import { formatListenAddress } from './address.ts';
import { countries } from './countries.ts';
import { loadSettings } from './load.ts';
import type { LoadedSettings } from './load.ts';
import { formatProblem } from './problem.ts';
import { formatTraffic } from './format.ts';
import { formatDuration, formatSize } from '../core/quantity.ts';
import { readTraffic } from './rows.ts';
import { makeCertificate } from './testing/certificates.ts';

const directory = mkdtempSync(join(tmpdir(), 'portcullis-config-'));
after(() => rmSync(directory, { recursive: true }));
const pair = makeCertificate(directory, 'pair');
const environment = { ROUTE_KEY: readFileSync(pair.key, 'utf8') };
const runs = process.env['RUN_SOAK'] === '1' ? 2000 : 25;

function load(text: string, name: string): LoadedSettings {
  const path = join(directory, name);
  writeFileSync(path, text);
  return loadSettings(path, environment);
}

function lines({ problems }: LoadedSettings): string[] {
  return problems.map((problem) => formatProblem(problem, false));
}

/** assert.deepEqual tells tables without a prototype apart. */
function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
}

const port = fc.integer({ min: 1, max: 65_535 });
const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const ip = fc.oneof(
  word.map((w3) => new IpAddress(0, 0, 0xffff, w3)),
  fc.tuple(word, word, word, word).map(([w0, w1, w2, w3]) => new IpAddress(w0 | 0x20000000, w1, w2, w3)),
);
const network = fc.tuple(ip, fc.integer({ min: 8, max: 32 })).map(([address, prefixLength]) => {
  return formatCidr(parseCidr(`${formatIp(address)}/${prefixLength}`)!.cidr);
});
const hostname = fc.tuple(
  fc.constantFrom('', '*.'),
  fc.stringMatching(/^[a-z]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{1,9}){0,3}$/),
);
const endpoint: fc.Arbitrary<EndpointAddress> = fc.oneof(
  record({
    kind: fc.constant('tcp' as const),
    host: fc.oneof(
      ip.map(formatIp).filter((host) => host !== '0.0.0.0'),
      hostname.map(([, name]) => name),
    ),
    port,
  }),
  record({ kind: fc.constant('unix' as const), path: fc.stringMatching(/^\/[a-z]{1,9}\.sock$/) }),
);
/** Any that UTF-8 can hold. The units of fast-check that know them all take a second to build. */
const characters = fc
  .array(fc.oneof(fc.integer({ min: 0, max: 0x9f }), fc.integer({ min: 0, max: 0x10ffff })), { maxLength: 9 })
  .map((codes) => String.fromCodePoint(...codes).toWellFormed());
const policy: fc.Arbitrary<PolicySettings> = fc.oneof(
  somePolicy,
  record({
    type: fc.constant('block_user_agent' as const),
    value: characters.filter((text) => text !== '' && !/\p{Cc}/u.test(text)),
  }),
);
const policies = fc.uniqueArray(policy, { maxLength: 3, selector: ({ type, value }) => `${type} ${value}` });
const parts = {
  hostname: hostname.map(([star, name]) => star + name),
  backend: endpoint,
  cert: pair.cert,
  key: fc.constantFrom(pair.key, 'env:ROUTE_KEY'),
  policies,
};
const listener: fc.Arbitrary<ListenerSettings> = record({
  kind: fc.constant('ingress' as const),
  address: record({ host: fc.oneof(fc.constant(''), ip.map(formatIp)), port }),
  proxyProtocol: fc.boolean(),
  proxyProtocolFrom: fc.uniqueArray(network, { minLength: 1, maxLength: 3 }),
  maxConnections: fc.nat(10_000_000),
  defaultBackend: fc.option(endpoint),
  tls: fc.constant(null),
  protocol: fc.constantFrom('tls' as const, 'auto' as const),
  redirectHttps: fc.boolean(),
  trustedProxies: fc.uniqueArray(network, { maxLength: 3 }),
  routes: routes(parts),
}).map((each) => ({
  ...each,
  redirectHttps: each.redirectHttps && each.protocol === 'auto',
  name: formatListenAddress(each.address),
}));
const quantityMs = fc.integer({ min: 1000, max: 3_600_000 });
const someSettings: fc.Arbitrary<Settings> = record({
  process: record({
    server: record({
      workers: fc.integer({ min: 1, max: 256 }),
      shutdownTimeoutMs: quantityMs,
      connectTimeoutMs: quantityMs,
      idleTimeoutMs: quantityMs,
      clientHelloTimeoutMs: quantityMs,
      maxConnections: fc.nat(10_000_000),
      sockets: fc.constantFrom('auto', 'fast', 'public'),
    }),
    http: record<HttpSettings>({
      tlsHandshakeTimeoutMs: quantityMs,
      headTimeoutMs: quantityMs,
      bodyIdleTimeoutMs: quantityMs,
      bodyRateMin: fc.nat(2 ** 30),
      responseTimeoutMs: quantityMs,
      keepAliveTimeoutMs: quantityMs,
      upstreamIdleTimeoutMs: quantityMs,
      tunnelIdleTimeoutMs: quantityMs,
      headBytesMax: fc.integer({ min: 2 ** 10, max: 2 ** 20 }),
      headerCountMax: fc.integer({ min: 8, max: 10_000 }),
      targetBytesMax: fc.integer({ min: 256, max: 2 ** 20 }),
      pipelinedMax: fc.integer({ min: 1, max: 1024 }),
      streamsMax: fc.integer({ min: 1, max: 10_000 }),
      handshakesMax: fc.integer({ min: 1, max: 1_000_000 }),
      upstreamConnectionsMax: fc.integer({ min: 1, max: 100_000 }),
      upstreamWaitingMax: fc.nat(1_000_000),
    }),
    operate: fc.constant(operateDefaults),
    log: record({ level: fc.constantFrom(...logLevels), format: fc.constantFrom('json', 'pretty', null) }),
    database: record({ path: fc.constantFrom(null, '/var/lib/portcullis.db') }),
    admin: fc.oneof(
      record({
        address: fc.constantFrom<AdminAddress | null>(null, { kind: 'unix', path: '/run/admin.sock' }),
        tlsCert: fc.constant(null),
        tlsKey: fc.constant(null),
        clientCa: fc.constant(null),
        insecureLoopback: fc.boolean(),
      }),
      record({
        address: record({ kind: fc.constant('tcp' as const), host: ip.map(formatIp), port: fc.constant(0) }),
        tlsCert: fc.constant(pair.cert),
        tlsKey: fc.constant(pair.key),
        clientCa: fc.constant(pair.cert),
        insecureLoopback: fc.constant(false),
      }),
    ),
  }),
  traffic: record({
    listeners: fc.uniqueArray(listener, {
      minLength: 1,
      maxLength: 3,
      selector: (each) => each.address.port,
    }),
    firewall: record({
      geoipDatabase: fc.constant(join(directory, 'x.toml')),
      blockedIps: fc.uniqueArray(ip.map(formatIp), { maxLength: 4 }),
      blockedCidrs: fc.uniqueArray(network, { maxLength: 4 }),
      blockedCountries: fc.uniqueArray(fc.constantFrom(...countries), { maxLength: 4 }),
      rateLimitExempt: fc.uniqueArray(network, { maxLength: 4 }),
      rateLimit: fc.option(
        record({ connections: fc.integer({ min: 1, max: 1_000_000 }), windowMs: quantityMs }),
      ),
    }),
    egress: fc.constant(null),
  }),
});

/** The settings as a file would hold them. What is null is left out. */
function written({
  process: { server, http, log, database, admin },
  traffic: { listeners, firewall },
}: Settings): Record<string, unknown> {
  return withoutNull({
    server: {
      workers: server.workers,
      shutdown_timeout: formatDuration(server.shutdownTimeoutMs),
      connect_timeout: formatDuration(server.connectTimeoutMs),
      idle_timeout: formatDuration(server.idleTimeoutMs),
      client_hello_timeout: formatDuration(server.clientHelloTimeoutMs),
      max_connections: server.maxConnections,
      sockets: server.sockets,
    },
    http: {
      tls_handshake_timeout: formatDuration(http.tlsHandshakeTimeoutMs),
      head_timeout: formatDuration(http.headTimeoutMs),
      body_idle_timeout: formatDuration(http.bodyIdleTimeoutMs),
      body_rate_min: formatSize(http.bodyRateMin),
      response_timeout: formatDuration(http.responseTimeoutMs),
      keep_alive_timeout: formatDuration(http.keepAliveTimeoutMs),
      upstream_idle_timeout: formatDuration(http.upstreamIdleTimeoutMs),
      tunnel_idle_timeout: formatDuration(http.tunnelIdleTimeoutMs),
      head_bytes_max: formatSize(http.headBytesMax),
      header_count_max: http.headerCountMax,
      target_bytes_max: formatSize(http.targetBytesMax),
      pipelined_max: http.pipelinedMax,
      streams_max: http.streamsMax,
      handshakes_max: http.handshakesMax,
      upstream_connections_max: http.upstreamConnectionsMax,
      upstream_waiting_max: http.upstreamWaitingMax,
    },
    log: withoutNull({ ...log }),
    database: withoutNull({ path: database.path }),
    admin: withoutNull({
      grpc_addr: admin.address && writtenAddress(admin.address),
      tls_cert: admin.tlsCert,
      tls_key: admin.tlsKey,
      client_ca: admin.clientCa,
      insecure_loopback: admin.insecureLoopback,
    }),
    firewall: withoutNull({
      geoip_db: firewall.geoipDatabase,
      blocked_ips: firewall.blockedIps,
      blocked_cidrs: firewall.blockedCidrs,
      blocked_countries: firewall.blockedCountries,
      allowed_cidrs: firewall.rateLimitExempt,
      rate_limit: firewall.rateLimit?.connections ?? null,
      rate_window: firewall.rateLimit === null ? null : formatDuration(firewall.rateLimit.windowMs),
    }),
    listeners: listeners.map((each) =>
      withoutNull({
        addr: each.name,
        protocol: each.protocol,
        redirect_https: each.redirectHttps,
        trusted_proxies: each.trustedProxies,
        proxy_protocol: each.proxyProtocol,
        proxy_protocol_from: each.proxyProtocolFrom,
        max_connections: each.maxConnections,
        default_backend: each.defaultBackend && writtenAddress(each.defaultBackend),
        routes: each.routes.map((one) =>
          withoutNull({
            hostname: one.hostname,
            path_prefix: one.pathPrefix || null,
            mode: one.mode,
            backend: writtenAddress(one.backend),
            send_proxy_protocol: one.sendProxyProtocol,
            tls_cert: one.tls && one.tls.cert,
            tls_key: one.tls && one.tls.key,
            client_ca: one.tls && one.tls.clientCa,
            client_auth: one.tls && one.tls.clientAuth,
            tls_min_version: one.tls && one.tls.minVersion,
            backend_protocol: one.backendProtocol,
            backend_tls: one.backendTls !== null,
            backend_ca: one.backendTls && one.backendTls.ca,
            backend_server_name: one.backendTls && one.backendTls.serverName,
            backend_insecure: one.backendTls && one.backendTls.insecure,
            forwarded: one.forwarded,
            request_headers: writtenHeaders(one.requestHeaders),
            response_headers: writtenHeaders(one.responseHeaders),
            policies: one.policies,
          }),
        ),
      }),
    ),
  });
}

function writtenHeaders({ remove, set, add }: HeaderRules): object {
  const lists = Map.groupBy(add, ([name]) => name);
  const added = [...lists].map(([name, fields]) => [name, fields.map(([, value]) => value)]);
  return { remove, set: Object.fromEntries(set), add: Object.fromEntries(added) };
}

function writtenAddress(address: EndpointAddress | AdminAddress): string {
  return address.kind === 'unix' ? `unix:${address.path}` : formatListenAddress(address);
}

function withoutNull(table: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(table).filter(([, value]) => value !== null));
}

test('any settings, printed as TOML and as YAML, load as they were', () => {
  fc.assert(
    fc.property(someSettings, (settings) => {
      const file = written(settings);
      for (const [text, name] of [
        [toToml(file), 'x.toml'],
        [toYaml(file), 'x.yaml'],
      ] as const) {
        const loaded = load(text, name);
        assert.deepEqual(loaded.settings, settings, lines(loaded).join('\n'));
      }
    }),
    { numRuns: runs },
  );
});

test('any traffic settings, exported as TOML, load as they were, from a file and as the rows of a call', () => {
  fc.assert(
    fc.property(someSettings, ({ traffic }) => {
      const text = formatTraffic(traffic);
      const loaded = load(text, 'x.toml');
      assert.deepEqual(loaded.settings?.traffic, traffic, `${lines(loaded).join('\n')}\n${text}`);
      const row = readTraffic(parseToml(text), null, environment);
      assert.deepEqual(row.value, traffic);
      assert.deepEqual(
        row.problems.map(({ message }) => message).sort(),
        loaded.problems.map(({ message }) => message).sort(),
      );
    }),
    { numRuns: runs },
  );
});

test('no change of a few characters makes loading throw, or a problem show a control character', () => {
  const edit = record({
    at: fc.nat(),
    remove: fc.nat(8),
    insert: characters,
  });
  fc.assert(
    fc.property(
      someSettings,
      fc.array(edit, { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      (settings, edits, isToml) => {
        let text = isToml ? toToml(written(settings)) : toYaml(written(settings));
        for (const { at, remove, insert } of edits) {
          const start = at % text.length;
          text = text.slice(0, start) + insert + text.slice(start + remove);
        }
        const loaded = load(text, isToml ? 'x.toml' : 'x.yaml');
        assert.doesNotMatch(lines(loaded).join(''), /[\p{Cc}\p{Cf}\p{Cs}]/u);
        assert.equal(
          loaded.settings === undefined,
          loaded.problems.some(({ severity }) => severity === 'error'),
        );
      },
    ),
    { numRuns: runs },
  );
});
