import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { leaves, overlay, variableName } from './environment.ts';
import { loadSettings } from './load.ts';
import { formatProblem } from './problem.ts';
import { readTable } from './reader.ts';
import { schema } from './schema.ts';

const directory = mkdtempSync(join(tmpdir(), 'portcullis-environment-'));
after(() => rmSync(directory, { recursive: true }));

const file = join(directory, 'x.toml');
writeFileSync(file, '[[listeners]]\naddr = "127.0.0.1:443"\ndefault_backend = "10.0.0.1:443"\n');

function problemsWith(environment: Record<string, string>): string[] {
  return loadSettings(file, environment).problems.map((problem) => formatProblem(problem, false));
}

/** For each setting a text that it takes and that is not its default. */
const texts: Readonly<Record<string, { text: string; value: unknown }>> = {
  'server.workers': { text: '3', value: 3 },
  'server.shutdown_timeout': { text: '1h30m', value: 5_400_000 },
  'server.connect_timeout': { text: '500ms', value: 500 },
  'server.idle_timeout': { text: '2d', value: 172_800_000 },
  'server.client_hello_timeout': { text: '1s', value: 1000 },
  'server.max_connections': { text: '77', value: 77 },
  'server.sockets': { text: 'public', value: 'public' },
  'server.prestop_grace': { text: '5s', value: 5000 },
  'http.tls_handshake_timeout': { text: '7s', value: 7000 },
  'http.head_timeout': { text: '7s', value: 7000 },
  'http.body_idle_timeout': { text: '7s', value: 7000 },
  'http.body_rate_min': { text: '1KiB', value: 1024 },
  'http.response_timeout': { text: '7s', value: 7000 },
  'http.keep_alive_timeout': { text: '7s', value: 7000 },
  'http.upstream_idle_timeout': { text: '7s', value: 7000 },
  'http.tunnel_idle_timeout': { text: '7s', value: 7000 },
  'http.head_bytes_max': { text: '8KiB', value: 8192 },
  'http.header_count_max': { text: '9', value: 9 },
  'http.target_bytes_max': { text: '1KiB', value: 1024 },
  'http.pipelined_max': { text: '2', value: 2 },
  'http.streams_max': { text: '3', value: 3 },
  'http.handshakes_max': { text: '4', value: 4 },
  'http.upstream_connections_max': { text: '5', value: 5 },
  'http.upstream_waiting_max': { text: '0', value: 0 },
  'log.file': { text: 'p.log', value: '/base/p.log' },
  'log.access.fields': { text: 'client,status', value: ['client', 'status'] },
  'log.access.sample_rate': { text: '.5', value: 0.5 },
  'metrics.addr': { text: ':9100', value: { host: '', port: 9100 } },
  'metrics.path': { text: '/m', value: '/m' },
  'tracing.endpoint': { text: 'http://a:1/', value: 'http://a:1/' },
  'tracing.sample_rate': { text: '1', value: 1 },
  'admin.http_addr': { text: 'unix:a', value: { kind: 'unix', path: '/base/a' } },
  'log.level': { text: 'debug', value: 'debug' },
  'log.format': { text: 'json', value: 'json' },
  'database.path': { text: 'p.db', value: '/base/p.db' },
  'admin.grpc_addr': { text: '[::1]:9443', value: { kind: 'tcp', host: '::1', port: 9443 } },
  'admin.tls_cert': { text: 'a.pem', value: '/base/a.pem' },
  'admin.tls_key': { text: 'env:KEY', value: 'env:KEY' },
  'admin.client_ca': { text: '/ca.pem', value: '/ca.pem' },
  'admin.insecure_loopback': { text: 'true', value: true },
  'firewall.geoip_db': { text: 'geo.mmdb', value: '/base/geo.mmdb' },
  'firewall.blocked_ips': { text: '192.0.2.1, 2001:db8::1', value: ['192.0.2.1', '2001:db8::1'] },
  'firewall.blocked_cidrs': { text: '192.0.2.0/24', value: ['192.0.2.0/24'] },
  'firewall.blocked_countries': { text: 'de,fr', value: ['DE', 'FR'] },
  'firewall.rate_limit': { text: '9', value: 9 },
  'firewall.rate_window': { text: '2m', value: 120_000 },
  'firewall.allowed_ips': { text: '192.0.2.9', value: ['192.0.2.9'] },
  'firewall.allowed_cidrs': { text: '2001:db8::/32', value: ['2001:db8::/32'] },
  'listeners.0.addr': { text: ':8443', value: { host: '', port: 8443 } },
  'listeners.0.protocol': { text: 'auto', value: 'auto' },
  'listeners.0.redirect_https': { text: 'true', value: true },
  'listeners.0.trusted_proxies': { text: '10.0.0.0/8', value: ['10.0.0.0/8'] },
  'listeners.0.proxy_protocol': { text: 'true', value: true },
  'listeners.0.proxy_protocol_from': { text: '10.0.0.0/8,', value: ['10.0.0.0/8'] },
  'listeners.0.max_connections': { text: '5', value: 5 },
  'listeners.0.default_backend': { text: 'a.b:1', value: { kind: 'tcp', host: 'a.b', port: 1 } },
  'listeners.0.routes.0.hostname': { text: '*.a.b', value: '*.a.b' },
  'listeners.0.routes.0.path_prefix': { text: '/api/', value: '/api' },
  'listeners.0.routes.0.mode': { text: 'l7', value: 'l7' },
  'listeners.0.routes.0.backend': { text: 'unix:s', value: { kind: 'unix', path: '/base/s' } },
  'listeners.0.routes.0.send_proxy_protocol': { text: 'true', value: true },
  'listeners.0.routes.0.tls_cert': { text: 'a.pem', value: '/base/a.pem' },
  'listeners.0.routes.0.tls_key': { text: 'a.key', value: '/base/a.key' },
  'listeners.0.routes.0.backend_tls': { text: 'true', value: true },
  'listeners.0.routes.0.client_ca': { text: 'c.pem', value: '/base/c.pem' },
  'listeners.0.routes.0.client_auth': { text: 'require', value: 'require' },
  'listeners.0.routes.0.tls_min_version': { text: '1.3', value: '1.3' },
  'listeners.0.routes.0.backend_protocol': { text: 'auto', value: 'auto' },
  'listeners.0.routes.0.backend_ca': { text: 'b.pem', value: '/base/b.pem' },
  'listeners.0.routes.0.backend_server_name': { text: 'A.b', value: 'a.b' },
  'listeners.0.routes.0.backend_insecure': { text: 'true', value: true },
  'listeners.0.routes.0.forwarded': { text: 'true', value: true },
  'listeners.0.routes.0.request_headers.remove': { text: 'X-A,b', value: ['x-a', 'b'] },
  'listeners.0.routes.0.response_headers.remove': { text: 'Server', value: ['server'] },
  'listeners.0.routes.0.policies.0.type': { text: 'require_header', value: 'require_header' },
  'listeners.0.routes.0.policies.0.value': { text: 'X-Key', value: 'X-Key' },
  'listeners.0.kind': { text: 'egress', value: 'egress' },
  'listeners.0.tls_cert': { text: 'a.pem', value: '/base/a.pem' },
  'listeners.0.tls_key': { text: 'env:KEY', value: 'env:KEY' },
  'listeners.0.client_ca': { text: 'c.pem', value: '/base/c.pem' },
  'listeners.0.client_auth': { text: 'request', value: 'request' },
  'listeners.0.tls_min_version': { text: '1.3', value: '1.3' },
  'egress.default_policy': { text: 'ALLOW', value: 'ALLOW' },
  'egress.mode': { text: 'report', value: 'report' },
  'egress.mitm_cert': { text: 'ca.crt', value: '/base/ca.crt' },
  'egress.mitm_key': { text: 'ca.key', value: '/base/ca.key' },
  'egress.mitm_keystore': { text: 'ca.p12', value: '/base/ca.p12' },
  'egress.mitm_keystore_password': { text: 'env:P', value: 'env:P' },
  'egress.outgoing_ca_bundle': { text: 'a.pem', value: '/base/a.pem' },
  'egress.outgoing_ca': { text: 'a.pem', value: '/base/a.pem' },
  'egress.outgoing_truststore': { text: 'a.p12', value: '/base/a.p12' },
  'egress.outgoing_truststore_password': { text: 'p', value: '/base/p' },
  'egress.outgoing_crl': { text: 'a.crl', value: '/base/a.crl' },
  'egress.insecure_skip_verify': { text: 'true', value: true },
  'egress.blocked_log': { text: 'b.json', value: '/base/b.json' },
  'egress.allowed_clients': { text: '10.0.0.0/8', value: ['10.0.0.0/8'] },
  'egress.connect_ports': { text: '443, 8443', value: [443, 8443] },
  'egress.denied_networks': { text: '192.0.2.0/24', value: ['192.0.2.0/24'] },
  'egress.no_proxy': { text: '*.a.b,C.d', value: ['*.a.b', 'c.d'] },
  'egress.whitelist.0.pattern': { text: 'A.b', value: 'a.b' },
  'egress.whitelist.0.mode': { text: 'report', value: 'report' },
  'egress.whitelist.0.clients': { text: 'a,b', value: ['a', 'b'] },
  'egress.whitelist.0.methods': { text: 'GET,PUT', value: ['GET', 'PUT'] },
  'egress.whitelist.0.path_pattern': { text: '^/v1', value: '^/v1' },
  'egress.whitelist.0.ports': { text: '22', value: [22] },
  'egress.whitelist.0.allow_private': { text: 'true', value: true },
  'egress.blacklist.0.pattern': { text: 'A.b', value: 'a.b' },
  'egress.blacklist.0.mode': { text: 'report', value: 'report' },
  'egress.blacklist.0.clients': { text: 'a,b', value: ['a', 'b'] },
  'egress.blacklist.0.methods': { text: 'GET,PUT', value: ['GET', 'PUT'] },
  'egress.blacklist.0.path_pattern': { text: '^/v1', value: '^/v1' },
  'egress.passthrough.0.pattern': { text: 'A.b', value: 'a.b' },
  'egress.passthrough.0.mode': { text: 'report', value: 'report' },
  'egress.passthrough.0.clients': { text: 'a,b', value: ['a', 'b'] },
  'egress.passthrough.0.ports': { text: '22', value: [22] },
  'egress.passthrough.0.allow_private': { text: 'true', value: true },
  'egress.passthrough.0.allow_raw': { text: 'true', value: true },
  'egress.rewrites.0.pattern': { text: 'A.b', value: 'a.b' },
  'egress.rewrites.0.mode': { text: 'report', value: 'report' },
  'egress.rewrites.0.clients': { text: 'a,b', value: ['a', 'b'] },
  'egress.rewrites.0.path_pattern': { text: '^/v1', value: '^/v1' },
  'egress.rewrites.0.ports': { text: '22', value: [22] },
  'egress.rewrites.0.target_ip': { text: '10.0.0.1', value: '10.0.0.1' },
  'egress.rewrites.0.target_host': { text: 'B.c', value: 'b.c' },
  'egress.rewrites.0.target_port': { text: '81', value: 81 },
  'egress.rewrites.0.target_scheme': { text: 'http', value: 'http' },
  'egress.rewrites.0.drop_headers': { text: 'X-A,b', value: ['x-a', 'b'] },
  'egress.rewrites.0.insecure': { text: 'true', value: true },
  'egress.credentials.0.pattern': { text: '~^a', value: '~^a' },
  'egress.credentials.0.path_pattern': { text: '^/v1', value: '^/v1' },
  'egress.credentials.0.clients': { text: 'a', value: ['a'] },
  'egress.credentials.0.header': { text: 'X-Key', value: 'x-key' },
  'egress.credentials.0.prefix': { text: 'Bearer ', value: 'Bearer ' },
  'egress.credentials.0.secret': { text: 'env:K', value: 'env:K' },
  'egress.clients.0.name': { text: 'bob', value: 'bob' },
  'egress.clients.0.password': {
    text: 'scrypt$2$1$1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaGhhc2g',
    value: 'scrypt$2$1$1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaGhhc2g',
  },
  'egress.clients.0.secret': { text: 's', value: '/base/s' },
  'egress.clients.0.subject': { text: 'CN=bob', value: 'CN=bob' },
  'egress.parents.0.patterns': { text: '*.a.b', value: ['*.a.b'] },
  'egress.parents.0.url': {
    text: 'socks5://bob@P.q:1080',
    value: { kind: 'socks5', host: 'p.q', port: 1080, username: 'bob' },
  },
  'egress.parents.0.password': { text: 'env:P', value: 'env:P' },
  'egress.parents.0.trust_dns': { text: 'true', value: true },
};

test('every setting of the schema has a variable of its own that overrides it', () => {
  const all = [...leaves(schema)];
  assert.equal(new Set(all.map(({ path }) => variableName(path))).size, all.length);
  for (const { path } of all) {
    const sample = texts[path.join('.')];
    assert.ok(sample !== undefined, `${path.join('.')} needs a line in this test`);
    const root = {};
    const { findings } = overlay(schema, root, { [variableName(path)]: sample.text });
    assert.deepEqual(findings, []);
    let value: unknown = readTable(schema, root, '/base').values;
    for (const part of path) value = (value as Record<string | number, unknown>)[part];
    assert.deepEqual(value, sample.value, variableName(path));
  }
});

test('a variable beats the file, adds the next listener, and an empty one leaves a setting out', () => {
  const { settings, problems } = loadSettings(file, {
    PORTCULLIS_LISTENERS_0_ADDR: ':8443',
    PORTCULLIS_LISTENERS_0_DEFAULT_BACKEND: '',
    PORTCULLIS_LISTENERS_0_ROUTES_0_HOSTNAME: 'a.example',
    PORTCULLIS_LISTENERS_0_ROUTES_0_BACKEND: '10.0.0.2:1',
    PORTCULLIS_LISTENERS_1_ADDR: ':9443',
    PORTCULLIS_LISTENERS_1_DEFAULT_BACKEND: '10.0.0.3:1',
    PORTCULLIS_NODE: '/usr/bin/node',
    HOME: '/root',
  });
  assert.deepEqual(problems, []);
  const { listeners } = settings!.traffic;
  assert.deepEqual(
    listeners.map(({ name }) => name),
    [':8443', ':9443'],
  );
  assert.equal(listeners[0]!.defaultBackend, null);
  assert.equal(listeners[0]!.routes[0]!.hostname, 'a.example');
});

test('a problem in a variable has the variable as its place', () => {
  const problems = problemsWith({
    PORTCULLIS_SERVER_IDLE_TIMEOUT: 'soon\x1b[2J',
    PORTCULLIS_FIREWALL_BLOCKED_IPS: '192.0.2.1,x',
    PORTCULLIS_LISTENERS_1_MAX_CONNECTIONS: '5',
    PORTCULLIS_LISTENERS_3_ADDR: ':1',
    PORTCULLIS_SERVER_IDEL_TIMEOUT: '1s',
    PORTCULLIS_LISTENERS_0_ROUTES_12_BACKENDS: 'x',
  });
  assert.deepEqual(problems, [
    'error PORTCULLIS_SERVER_IDLE_TIMEOUT server.idle_timeout: expected a duration such as "30s", from 1s to 7d, found "soon\\x1b[2J"',
    'error PORTCULLIS_FIREWALL_BLOCKED_IPS firewall.blocked_ips[1]: expected an IP address such as "192.0.2.1" or "2001:db8::1", found "x"',
    'error PORTCULLIS_LISTENERS_1_MAX_CONNECTIONS listeners[1].addr: expected an address such as ":443", "127.0.0.1:8443" or "[::1]:8443", found nothing',
    'warning PORTCULLIS_LISTENERS_1_MAX_CONNECTIONS listeners[1]: expected routes or a default_backend: as it is, every connection will be refused, found neither',
    'warning PORTCULLIS_LISTENERS_0_ROUTES_12_BACKENDS: expected the name of a setting, found PORTCULLIS_LISTENERS_0_ROUTES_12_BACKENDS (did you mean PORTCULLIS_LISTENERS_0_ROUTES_12_BACKEND?)',
    'error PORTCULLIS_LISTENERS_3_ADDR listeners[3]: expected an index up to 2, as there are 2, found 3',
    'warning PORTCULLIS_SERVER_IDEL_TIMEOUT: expected the name of a setting, found PORTCULLIS_SERVER_IDEL_TIMEOUT (did you mean PORTCULLIS_SERVER_IDLE_TIMEOUT?)',
  ]);
});

test('an index past every limit makes no list of that length', () => {
  const [problem] = problemsWith({ PORTCULLIS_LISTENERS_99999999999999999999_ADDR: ':1' });
  assert.match(
    problem!,
    /^error PORTCULLIS_LISTENERS_9+_ADDR listeners\[\S+\]: expected an index up to 1, as there are 1/,
  );
});
