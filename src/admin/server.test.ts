import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import type { Client } from '@connectrpc/connect';
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from '@connectrpc/connect-node';
import { lacks, run } from '../../test/support/tools.ts';
import { ControlError } from './control.ts';
import type { ControlErrorCode } from './control.ts';
import { BadRequestSchema } from './gen/google/rpc/error_details_pb.ts';
import {
  HealthCheckResponse_ServingStatus as ServingStatus,
  Health,
} from './gen/grpc/health/v1/health_pb.ts';
import { ProxyAdminService as DropInService } from './gen/mc_proxy/v1/admin_pb.ts';
import { FirewallRuleType, ProxyAdminService, RouteSchema } from './gen/portcullis/v1/admin_pb.ts';
import { Fixture, collect, loopback } from './testing/fixture.ts';

const service = 'portcullis.v1.ProxyAdminService';

function clientOf(fixture: Fixture): Client<typeof ProxyAdminService> {
  return createClient(
    ProxyAdminService,
    createGrpcTransport({ baseUrl: `http://${fixture.server.address}` }),
  );
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

async function failureOf(call: Promise<unknown>): Promise<ConnectError> {
  const error: unknown = await call.then(
    () => assert.fail('the call was expected to fail'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof ConnectError, String(error));
  return error;
}

async function curlJson(fixture: Fixture, call: string, body: object, ...args: string[]): Promise<string> {
  const url = `http://${fixture.server.address}/${call}`;
  const json = ['-H', 'content-type: application/json', '-d', JSON.stringify(body)];
  const { stdout, stderr } = await run('curl', ['-sS', '-m', '5', ...json, ...args, url]);
  return stdout + stderr;
}

test('one port answers gRPC, gRPC-Web and JSON, over HTTP/2 and HTTP/1.1', async () => {
  await using fixture = await Fixture.start();
  const baseUrl = `http://${fixture.server.address}`;
  const transports = [
    createGrpcTransport({ baseUrl }),
    createGrpcWebTransport({ baseUrl, httpVersion: '1.1' }),
    createGrpcWebTransport({ baseUrl, httpVersion: '2' }),
    createConnectTransport({ baseUrl, httpVersion: '1.1', useBinaryFormat: false }),
    createConnectTransport({ baseUrl, httpVersion: '2' }),
  ];
  for (const transport of transports) {
    const status = await createClient(ProxyAdminService, transport).getStatus({});
    assert.equal(status.version, '0.1.0');
    assert.equal(status.uptime?.seconds, 16_330n);
    assert.equal(status.listeners[0]?.refused, 235n);
    assert.equal(status.listeners[0].bytesIn, 5_000_000_000n);
    assert.deepEqual(
      status.listeners[0].ended.map(({ reason, outcome }) => [reason, outcome]),
      [
        ['client-closed', 'served'],
        ['no-route', 'refused'],
        ['blocked-ip', 'refused'],
      ],
    );
  }
});

test('curl changes and reads the configuration as JSON', { skip: lacks('curl') }, async () => {
  await using fixture = await Fixture.start();
  const route = { hostname: 'app.example.com', backend: '10.0.0.1:8443', send_proxy_protocol: true };
  const added = await curlJson(fixture, `${service}/AddRoute`, { listener_addr: ':443', route });
  assert.deepEqual(JSON.parse(added), { version: '2' });
  const overH2 = await curlJson(
    fixture,
    `${service}/ListRoutes`,
    { listener_addr: ':443' },
    '--http2-prior-knowledge',
  );
  assert.deepEqual(JSON.parse(overH2).routes[0].backend, '10.0.0.1:8443');
  assert.deepEqual(fixture.control.log[0]?.actor, 'loopback');
  const misspelt = await curlJson(fixture, `${service}/RemoveRoute`, { listener_addr: ':443', host: 'x' });
  assert.match(misspelt, /invalid_argument.*host/);
  assert.match(await curlJson(fixture, `${service}/Nothing`, {}), /there is no such call/);
});

test('JSON calls of a web page are refused', { skip: lacks('curl') }, async () => {
  await using fixture = await Fixture.start();
  const call = `${service}/GetStatus`;
  for (const header of ['Host: evil.example', 'Origin: http://evil.example', 'Sec-Fetch-Site: cross-site'])
    for (const version of ['--http1.1', '--http2-prior-knowledge']) {
      const answer = await curlJson(fixture, call, {}, version, '-H', header, '-w', '%{http_code}');
      assert.match(answer, /permission_denied.*403$/s, header);
    }
  const noHost = await curlJson(fixture, call, {}, '--http1.0', '-H', 'Host:', '-w', '%{http_code}');
  assert.match(noHost, /403$/);
});

test('gRPC calls that carry the headers of a web page are refused in gRPC', async () => {
  await using fixture = await Fixture.start();
  const error = await failureOf(
    clientOf(fixture).getStatus({}, { headers: { origin: 'http://evil.example' } }),
  );
  assert.equal(error.code, Code.PermissionDenied);
  assert.match(error.rawMessage, /Origin/);
});

test('every call reaches the server with what was asked, and answers', async () => {
  await using fixture = await Fixture.start();
  const client = clientOf(fixture);
  const { control } = fixture;
  const listenerAddr = ':8443';
  const route = { hostname: 'app.example.com', backend: 'unix:/run/app.sock' };
  const policy = { type: 'block_user_agent', value: 'BadBot' };

  assert.equal(
    (await client.addListener({ listener: { addr: listenerAddr, maxConnections: 7 } })).version,
    2n,
  );
  await client.addRoute({ listenerAddr, route });
  await client.addL7Policy({ listenerAddr, hostname: route.hostname, policy });
  await client.updateRoute({
    listenerAddr,
    route: { ...route, mode: 'l7', tlsCert: '/c', tlsKey: 'env:KEY' },
  });
  const { routes } = await client.listRoutes({ listenerAddr });
  assert.deepEqual(
    routes.map(({ mode, tlsKey, backend, l7Policies }) => [mode, tlsKey, backend, l7Policies[0]?.value]),
    [['l7', 'env:KEY', 'unix:/run/app.sock', 'BadBot']],
  );
  const { policies } = await client.listL7Policies({ listenerAddr, hostname: 'APP.example.com' });
  assert.equal(policies[0]?.type, 'block_user_agent');
  await client.removeL7Policy({ listenerAddr, hostname: route.hostname, policy });
  await client.addL7Policy({ listenerAddr, hostname: route.hostname, policy });
  await client.updateRoute({ listenerAddr, route, replaceL7Policies: true });
  assert.deepEqual(control.traffic.listeners[1]?.routes[0]?.policies, []);

  await client.setListenerMaxConnections({ listenerAddr, maxConnections: 9 });
  const { listeners } = await client.listListeners({});
  assert.deepEqual(
    listeners.map(({ addr, maxConnections, routes }) => [addr, maxConnections, routes.length]),
    [
      [':443', 0, 0],
      [':8443', 9, 0],
    ],
  );
  await client.removeRoute({ listenerAddr, hostname: route.hostname });
  await client.removeListener({ listenerAddr });

  const rule = { type: FirewallRuleType.CIDR, value: '198.51.100.0/24' };
  assert.equal((await client.addFirewallRule({ rule, disconnect: true })).disconnected, 3n);
  await client.addFirewallRule({ rule: { type: FirewallRuleType.COUNTRY, value: 'KP' } });
  await client.setRateLimit({ rateLimit: { connections: 100 } });
  const firewall = await client.getFirewallRules({});
  assert.deepEqual(
    firewall.rules.map(({ type, value }) => [type, value]),
    [
      [FirewallRuleType.CIDR, '198.51.100.0/24'],
      [FirewallRuleType.COUNTRY, 'KP'],
    ],
  );
  assert.equal(firewall.rateLimit?.window, '1m30s');
  await client.removeFirewallRule({ rule });

  assert.equal((await client.snapshot({ path: '/backup.db' })).path, '/backup.db');
  const { explanations } = await client.explain({ host: 'app.example.com', port: 443, alpn: ['h2'] });
  assert.equal(explanations[0]?.steps[0]?.outcome, 'matched');
  assert.deepEqual(control.queries[0], {
    host: 'app.example.com',
    port: 443,
    alpn: ['h2'],
    listener: null,
    from: null,
    path: null,
    method: '',
    headers: null,
    scheme: 'https',
    client: null,
  });
  const { entries } = await client.listAuditLog({ limit: 1 });
  assert.deepEqual([entries.length, entries[0]?.action], [1, 'RemoveFirewallRule']);
});

test('a route of layer 7 is added, listed, changed and removed by its path', async () => {
  await using fixture = await Fixture.start();
  const client = clientOf(fixture);
  const listenerAddr = ':443';
  const headers = { remove: ['x-a'], set: [{ name: 'x-b', value: '1' }], add: [{ name: 'x-c', value: '2' }] };
  const route = {
    hostname: 'app.example.com',
    pathPrefix: '/api',
    backend: '10.0.0.5:8443',
    mode: 'l7',
    tlsCert: '/c',
    tlsKey: '/k',
    clientCa: '/ca',
    clientAuth: 'require',
    tlsMinVersion: '1.3',
    backendProtocol: 'http1',
    backendTls: true,
    backendCa: '/b',
    backendServerName: 'inner.example',
    backendInsecure: true,
    forwarded: true,
    requestHeaders: headers,
    responseHeaders: headers,
    l7Policies: [{ type: 'max_body', value: '1MiB' }],
  };
  await client.addRoute({ listenerAddr, route });
  await client.addRoute({ listenerAddr, route: { ...route, pathPrefix: '' } });
  const { routes, version } = await client.listRoutes({ listenerAddr });
  assert.deepEqual(routes[0], create(RouteSchema, route));
  assert.equal(version, 3n);
  const named = { listenerAddr, hostname: route.hostname, pathPrefix: '/api' };
  const policy = { type: 'allow_methods', value: 'GET' };
  await client.addL7Policy({ ...named, policy });
  assert.equal((await client.listL7Policies(named)).policies.length, 2);
  assert.equal((await client.listL7Policies({ ...named, pathPrefix: '' })).policies.length, 1);
  await client.removeL7Policy({ ...named, policy });
  await client.updateRoute({ listenerAddr, route: { ...route, forwarded: false }, ifVersion: 5n });
  const { traffic } = fixture.control;
  assert.deepEqual(
    traffic.listeners[0]?.routes.map(({ pathPrefix, forwarded }) => [pathPrefix, forwarded]),
    [
      ['/api', false],
      ['', true],
    ],
  );
  assert.equal(
    (await failureOf(client.updateRoute({ listenerAddr, route, ifVersion: 5n }))).code,
    Code.Aborted,
  );
  await client.removeRoute(named);
  assert.deepEqual(
    fixture.control.traffic.listeners[0]?.routes.map(({ pathPrefix }) => pathPrefix),
    [''],
  );
});

test('a question about a request carries what the request would', async () => {
  await using fixture = await Fixture.start();
  const client = clientOf(fixture);
  await client.explain({
    host: 'a.example',
    path: '/x?y',
    method: 'GET',
    headers: [{ name: 'a', value: 'b' }],
  });
  await client.explain({ host: 'a.example', method: 'PUT' });
  assert.deepEqual(
    fixture.control.queries.map(({ path, method, headers }) => [path, method, headers]),
    [
      ['/x?y', 'GET', [{ name: 'a', value: 'b' }]],
      ['/', 'PUT', null],
    ],
  );
  const many = Array.from({ length: 129 }, () => ({ name: 'a', value: 'b' }));
  assert.equal((await failureOf(client.explain({ headers: many }))).code, Code.InvalidArgument);
});

test('a whole configuration is applied under its version, or only tried', async () => {
  await using fixture = await Fixture.start();
  const client = clientOf(fixture);
  const { version, config } = await client.getConfig({});
  assert.ok(config);
  config.listeners[0]!.maxConnections = 5;
  const tried = await client.applyConfig({ config, ifVersion: version, dryRun: true });
  assert.deepEqual([tried.changes, tried.version], [['+ listener/:443'], 1n]);
  assert.equal((await client.applyConfig({ config, ifVersion: version })).version, 2n);
  assert.equal(fixture.control.traffic.listeners[0]?.maxConnections, 5);
  assert.equal((await failureOf(client.applyConfig({ config, ifVersion: version }))).code, Code.Aborted);
});

test('what is wrong with a request is told by code, field and reason', async () => {
  await using fixture = await Fixture.start();
  const client = clientOf(fixture);
  const expected: readonly [ControlErrorCode, Code][] = [
    ['invalid-argument', Code.InvalidArgument],
    ['not-found', Code.NotFound],
    ['already-exists', Code.AlreadyExists],
    ['aborted', Code.Aborted],
    ['failed-precondition', Code.FailedPrecondition],
    ['unavailable', Code.Unavailable],
  ];
  for (const [code, wire] of expected) {
    fixture.control.failure = new ControlError(code, 'is wrong', 'rule.value');
    const rule = { type: FirewallRuleType.IP, value: '192.0.2.1' };
    const error = await failureOf(client.addFirewallRule({ rule }));
    assert.deepEqual([error.code, error.rawMessage], [wire, 'rule.value: is wrong']);
    const [violation] = error.findDetails(BadRequestSchema)[0]!.fieldViolations;
    assert.deepEqual([violation?.field, violation?.description], ['rule.value', 'is wrong']);
  }
  const calls: readonly [string, Promise<unknown>][] = [
    ['route', client.addRoute({ listenerAddr: ':443' })],
    ['rule', client.addFirewallRule({})],
    ['rule.type', client.addFirewallRule({ rule: { value: '192.0.2.1' } })],
    ['config.firewall.rules[0].type', client.applyConfig({ config: { firewall: { rules: [{}] } } })],
    ['port', client.explain({ port: 65_536 })],
    ['alpn', client.explain({ alpn: Array<string>(33).fill('h2') })],
    ['limit', client.listAuditLog({ limit: 1001 })],
    ['if_version', client.applyConfig({ config: {}, ifVersion: 2n ** 60n })],
  ];
  for (const [field, call] of calls) {
    const error = await failureOf(call);
    assert.equal(error.code, Code.InvalidArgument);
    assert.ok(error.rawMessage.startsWith(field), error.rawMessage);
  }
  assert.equal((await failureOf(client.listRoutes({ listenerAddr: ':1' }))).code, Code.NotFound);
  assert.equal((await failureOf(client.reloadGeoIP({}))).code, Code.FailedPrecondition);
});

test('a fault of our own is answered without its insides and logged with its stack', async () => {
  await using fixture = await Fixture.start();
  for (const failure of [new TypeError('secret 42'), new ControlError('internal', 'secret 42')]) {
    fixture.control.failure = failure;
    const error = await failureOf(clientOf(fixture).removeListener({ listenerAddr: ':443' }));
    assert.equal(error.code, Code.Internal);
    assert.doesNotMatch(error.message, /secret/);
    assert.match(fixture.logLines.at(-1)!, /secret 42.*stack/);
  }
});

test('watchers get what they asked for, and leave when they go', async () => {
  await using fixture = await Fixture.start();
  const client = clientOf(fixture);
  const leave = new AbortController();
  const changes = client.watchEvents({ changes: true }, { signal: leave.signal })[Symbol.asyncIterator]();
  const first = changes.next();
  await until(() => fixture.control.watcherCount === 1);
  const ended = { client: '192.0.2.1:5', listener: ':443', verdict: 'refused', reason: 'no-route' };
  const unknown = { sni: null, route: null, backend: null, rule: null };
  fixture.control.emit({
    kind: 'connection',
    at: new Date(),
    id: '1',
    bytesIn: 0,
    bytesOut: 0,
    durationMs: 3.7,
    ...ended,
    ...unknown,
  });
  await client.removeListener({ listenerAddr: ':443' });
  const { event } = (await first).value as { event: { case: string; value: { action: string } } };
  assert.deepEqual([event.case, event.value.action], ['change', 'RemoveListener']);
  leave.abort();
  await assert.rejects(changes.next());
  await until(() => fixture.control.watcherCount === 0);
});

test('health follows the drain, and names what it knows', async () => {
  await using fixture = await Fixture.start(loopback, { healthIntervalMs: 5 });
  const client = createClient(Health, createGrpcTransport({ baseUrl: `http://${fixture.server.address}` }));
  assert.equal((await client.check({ service })).status, ServingStatus.SERVING);
  assert.equal((await failureOf(client.check({ service: 'nothing' }))).code, Code.NotFound);
  const watch = client.watch({})[Symbol.asyncIterator]();
  assert.equal((await watch.next()).value?.status, ServingStatus.SERVING);
  const unknown = client.watch({ service: 'nothing' })[Symbol.asyncIterator]();
  assert.equal((await unknown.next()).value?.status, ServingStatus.SERVICE_UNKNOWN);
  fixture.control.isDraining = true;
  assert.equal((await watch.next()).value?.status, ServingStatus.NOT_SERVING);
  assert.equal((await client.check({})).status, ServingStatus.NOT_SERVING);
});

test('closing lets calls finish, ends watches without an error and takes no more', async () => {
  await using fixture = await Fixture.start();
  const { control, server } = fixture;
  const baseUrl = `http://${server.address}`;
  const client = clientOf(fixture);
  const overH1 = createClient(DropInService, createConnectTransport({ baseUrl, httpVersion: '1.1' }));
  const watched = collect(client.watchEvents({}));
  await until(() => control.watcherCount === 1);
  const { promise, resolve } = Promise.withResolvers<void>();
  control.delay = promise;
  const route = { hostname: 'app.example.com', backend: '10.0.0.1:1' };
  const calls = [
    client.addRoute({ listenerAddr: ':443', route }),
    overH1.addRoute({ listenerAddr: ':443', route: { ...route, hostname: 'b.example.com' } }),
  ];
  await new Promise((wait) => setTimeout(wait, 50));
  const closed = server.close(5000);
  assert.deepEqual(await watched, []);
  assert.equal((await failureOf(clientOf(fixture).getStatus({}))).code, Code.Unavailable);
  resolve();
  await Promise.all(calls);
  await closed;
  assert.equal(control.version, 3);
});

test('closing cuts what does not finish in time', async () => {
  await using fixture = await Fixture.start();
  fixture.control.delay = new Promise(() => undefined);
  const call = failureOf(clientOf(fixture).removeListener({ listenerAddr: ':443' }));
  await new Promise((wait) => setTimeout(wait, 50));
  const before = Date.now();
  await fixture.server.close(100);
  assert.ok(Date.now() - before < 1000);
  await call;
});

test('doors that must not stand open are refused', async () => {
  const everywhere = { kind: 'tcp', host: '', port: 0 } as const;
  const beyond = { ...loopback, address: everywhere };
  await assert.rejects(Fixture.start(beyond), /beyond loopback needs client_ca/);
  const noCa = { ...beyond, tlsCert: '/c', tlsKey: '/k' };
  await assert.rejects(Fixture.start(noCa), /beyond loopback needs client_ca/);
  await assert.rejects(Fixture.start({ ...loopback, insecureLoopback: false }), /must be asked for/);
  await assert.rejects(Fixture.start({ ...loopback, clientCa: '/ca' }), /client_ca needs tls_cert/);
  await using fixture = await Fixture.start();
  const taken = { ...loopback, address: { kind: 'tcp', host: '127.0.0.1', port: fixture.port } } as const;
  await assert.rejects(Fixture.start(taken), /EADDRINUSE/);
});
