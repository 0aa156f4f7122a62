import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { stringify as toToml } from 'smol-toml';
import { stringify as toYaml } from 'yaml';
import { IpAddress, formatCidr, formatIp, parseCidr } from '../core/ip.ts';
import { logLevels } from '../model/settings.ts';
import type { EndpointAddress, ListenerSettings, RouteSettings, Settings } from '../model/settings.ts';
import { formatListenAddress } from './address.ts';
import { countries } from './countries.ts';
import { loadSettings } from './load.ts';
import type { LoadedSettings } from './load.ts';
import { formatProblem } from './problem.ts';
import { formatDuration } from './quantity.ts';

const directory = mkdtempSync(join(tmpdir(), 'portcullis-config-'));
after(() => rmSync(directory, { recursive: true }));

function load(text: string, name: string): LoadedSettings {
  const path = join(directory, name);
  writeFileSync(path, text);
  return loadSettings(path, {});
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
const route: fc.Arbitrary<RouteSettings> = record({
  hostname: hostname.map(([star, name]) => star + name),
  mode: fc.constant('l4'),
  backend: endpoint,
  sendProxyProtocol: fc.boolean(),
});
const listener: fc.Arbitrary<ListenerSettings> = record({
  kind: fc.constant('ingress' as const),
  address: record({ host: fc.oneof(fc.constant(''), ip.map(formatIp)), port }),
  proxyProtocol: fc.boolean(),
  proxyProtocolFrom: fc.uniqueArray(network, { minLength: 1, maxLength: 3 }),
  maxConnections: fc.nat(10_000_000),
  defaultBackend: fc.option(endpoint),
  routes: fc.uniqueArray(route, { maxLength: 5, selector: (each) => each.hostname }),
}).map((each) => ({ ...each, name: formatListenAddress(each.address) }));
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
    log: record({ level: fc.constantFrom(...logLevels), format: fc.constantFrom('json', 'pretty', null) }),
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
  }),
});

/** The settings as a file would hold them. What is null is left out. */
function written({
  process: { server, log },
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
    log: withoutNull({ ...log }),
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
        proxy_protocol: each.proxyProtocol,
        proxy_protocol_from: each.proxyProtocolFrom,
        max_connections: each.maxConnections,
        default_backend: each.defaultBackend && writtenEndpoint(each.defaultBackend),
        routes: each.routes.map((one) => ({
          hostname: one.hostname,
          mode: one.mode,
          backend: writtenEndpoint(one.backend),
          send_proxy_protocol: one.sendProxyProtocol,
        })),
      }),
    ),
  });
}

function writtenEndpoint(address: EndpointAddress): string {
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
  );
});

test('no change of a few characters makes loading throw, or a problem show a control character', () => {
  const edit = record({
    at: fc.nat(),
    remove: fc.nat(8),
    insert: fc.string({ unit: 'binary', maxLength: 4 }),
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
    { numRuns: 80 },
  );
});
