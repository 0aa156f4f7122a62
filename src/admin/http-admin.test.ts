import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request, type RequestOptions } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { operateDefaults } from '../model/operate-settings.ts';
import type { AdminAddress, LogLevel, Settings } from '../model/settings.ts';
import { createLogger } from '../telemetry/logger.ts';
import { adminPages, metricsPages } from './http-admin.ts';
import { HttpDoor, type Pages } from './http-door.ts';
import { httpLimits, type HttpLimits } from './http-limits.ts';
import { UpgradeError, type Operations, type ServerState } from './operations.ts';
import { FakeControl } from './testing/fake-control.ts';

class FakeOperations implements Operations {
  current: ServerState = 'live';
  level: LogLevel = 'info';
  drains = 0;
  uses: readonly { path: string; usedBy: readonly string[] }[] = [];
  readonly control = new FakeControl();

  state(): ServerState {
    return this.current;
  }

  info() {
    return {
      version: '1.2.3',
      state: this.current,
      pid: 7,
      node: 'v26',
      startedAt: new Date(0),
      uptimeMs: 5_000,
      configVersion: 4,
      workers: 2,
      workersServing: 2,
      sockets: 'fast',
      logLevel: this.level,
      connections: 1,
      connectionsMax: 9,
    } as const;
  }

  metrics() {
    return [
      { name: 'portcullis_config_version', samples: [{ labels: [], value: 4 }] },
      { name: 'portcullis_bytes_total', samples: [{ labels: ['a b', 'in'], value: 3 }] },
    ] as const;
  }

  exemplarEpochMs(): number {
    return 0;
  }

  settings(): Settings {
    const process = { server: { workers: 2 }, admin: { tlsKey: 'env:KEY' }, operate: operateDefaults };
    return { process, traffic: this.control.traffic } as unknown as Settings;
  }

  clusters() {
    return [];
  }

  certificates() {
    return this.uses;
  }

  drain(): void {
    this.drains++;
  }

  upgrade(): Promise<number> {
    return Promise.reject(new UpgradeError('the new process does not serve: no room'));
  }

  setLogLevel(level: LogLevel): void {
    this.level = level;
  }
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly type: string;
}

const logger = createLogger({ level: 'error', output: { write: () => undefined } });

async function open(
  pages: Pages,
  guardsHost: boolean,
  limits: Partial<HttpLimits> = {},
  address: AdminAddress = { kind: 'tcp', host: '127.0.0.1', port: 0 },
): Promise<HttpDoor> {
  const all = { ...httpLimits, ...limits };
  return HttpDoor.open({ name: 'admin', address, pages, guardsHost, limits: all, logger, inheritedFd: null });
}

function ask(door: HttpDoor, path: string, options: RequestOptions = {}): Promise<Answer> {
  const where = door.address.startsWith('unix:')
    ? { socketPath: door.address.slice('unix:'.length), host: 'localhost' }
    : { port: Number(door.address.split(':')[1]), host: '127.0.0.1' };
  return new Promise((resolve, reject) => {
    const call = request({ ...where, path, agent: false, ...options }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () =>
        resolve({ status: response.statusCode!, body, type: response.headers['content-type'] ?? '' }),
      );
    });
    call.on('error', reject);
    call.end();
  });
}

const post = { method: 'POST', headers: { 'x-portcullis': '1' } } as const;

describe('the pages for operators', () => {
  const operations = new FakeOperations();
  let door: HttpDoor;

  before(async () => {
    door = await open(adminPages(operations, operations.control, httpLimits), true);
  });
  after(() => door.close(0));

  test('each page of the list answers', async () => {
    const { body } = await ask(door, '/');
    const paths = Array.from(body.matchAll(/^GET +(\S+)/gm), ([, path]) => path!);
    assert.ok(paths.length > 8);
    for (const path of paths) assert.equal((await ask(door, path)).status, 200, path);
  });

  test('health is always well, readiness only while it takes traffic', async () => {
    for (const [state, status] of [
      ['live', 200],
      ['leaving', 503],
      ['draining', 503],
      ['starting', 503],
    ] as const) {
      operations.current = state;
      assert.deepEqual(await ask(door, '/ready').then(({ status: code, body }) => [code, body]), [
        status,
        `${state}\n`,
      ]);
      assert.equal((await ask(door, '/readyz')).status, status);
      assert.equal((await ask(door, '/healthz')).status, 200);
    }
    operations.current = 'live';
  });

  test('statistics as text, as JSON, filtered, and by what a scraper accepts', async () => {
    assert.equal(
      (await ask(door, '/stats?filter=bytes')).body,
      'portcullis_bytes_total{listener="a b",direction="in"} 3\n',
    );
    assert.deepEqual(JSON.parse((await ask(door, '/stats?format=json&filter=version$|version.*4')).body), {
      stats: [{ name: 'portcullis_config_version', value: 4 }],
    });
    const accept = 'application/openmetrics-text;version=1.0.0';
    const { type, body } = await ask(door, '/stats/prometheus', { headers: { accept } });
    assert.match(type, /^application\/openmetrics-text/);
    assert.ok(body.endsWith('# EOF\n'));
  });

  test('a filter that is too long, wrong or out of reach of linear time is refused', async () => {
    for (const filter of ['x'.repeat(129), '(', String.raw`(a)\1`]) {
      assert.equal((await ask(door, `/stats?filter=${encodeURIComponent(filter)}`)).status, 400, filter);
    }
    const before = performance.now();
    await ask(door, `/stats?filter=${encodeURIComponent('(a+)+$')}`);
    assert.ok(performance.now() - before < 2_000);
    assert.equal((await ask(door, '/stats?format=xml')).status, 400);
  });

  test('what changes something takes POST with the header, and nothing else', async () => {
    assert.equal((await ask(door, '/drain')).status, 405);
    assert.equal((await ask(door, '/drain', { method: 'POST' })).status, 403);
    assert.equal(operations.drains, 0);
    assert.equal((await ask(door, '/drain', post)).status, 202);
    assert.equal(operations.drains, 1);
    assert.equal((await ask(door, '/logging?level=debug', post)).body, 'level: debug\n');
    assert.equal((await ask(door, '/logging?level=loud', post)).status, 400);
    assert.deepEqual(await ask(door, '/upgrade', post).then(({ status, body }) => [status, body]), [
      503,
      'the new process does not serve: no room\n',
    ]);
  });

  test('a web page can neither read nor change anything', async () => {
    for (const headers of [
      { host: 'rebound.example' },
      { origin: 'https://evil.example' },
      { 'sec-fetch-site': 'cross-site' },
    ]) {
      assert.equal((await ask(door, '/config_dump', { headers })).status, 403);
      assert.equal(
        (await ask(door, '/drain', { method: 'POST', headers: { ...headers, 'x-portcullis': '1' } })).status,
        403,
      );
    }
    assert.equal(operations.drains, 1);
  });

  test('the configuration is shown without what is secret, and cut where it is huge', async () => {
    const [listener] = operations.control.traffic.listeners;
    const route =
      listener!.routes[0] ??
      ({ hostname: 'a.example' } as NonNullable<(typeof listener & object)['routes'][0]>);
    const requestHeaders = {
      remove: [],
      set: [['authorization', 'Bearer hunter2']],
      add: [['x-team', 'blue']],
    };
    const routes = Array.from({ length: 5 }, () => ({ ...route, requestHeaders }) as unknown as typeof route);
    operations.control.traffic = { ...operations.control.traffic, listeners: [{ ...listener!, routes }] };
    const cut = await open(
      adminPages(operations, operations.control, { ...httpLimits, dumpRowsMax: 2 }),
      true,
    );
    const { body } = await ask(cut, '/config_dump');
    await cut.close(0);
    assert.ok(!body.includes('hunter2'));
    const { config } = JSON.parse(body) as {
      config: { listeners: { routes: unknown[]; routesLeftOut: number }[]; admin: object };
    };
    assert.deepEqual([config.listeners[0]!.routes.length, config.listeners[0]!.routesLeftOut], [2, 3]);
    assert.ok(body.includes('blue'));
    assert.deepEqual(config.admin, { tlsKey: 'env:KEY' });
  });

  test('a certificate that does not load stands before those that do', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'portcullis-certs-'));
    writeFileSync(join(directory, 'bad.pem'), 'nothing');
    operations.uses = [
      { path: join(directory, 'bad.pem'), usedBy: Array.from({ length: 50 }, (_, at) => `route/${at}`) },
    ];
    const [report] = JSON.parse((await ask(door, '/certs')).body) as { error: string; used_by: string[] }[];
    assert.ok(report!.error.length > 0);
    assert.equal(report!.used_by.length, 20);
    rmSync(directory, { recursive: true });
  });
});

describe('an HTTP door', () => {
  const operations = new FakeOperations();
  const pages = metricsPages('/metrics', operations);

  test('of metrics answers any Host, since probes come by address, and shows nothing else', async () => {
    const door = await open(pages, false);
    assert.equal((await ask(door, '/metrics', { headers: { host: 'gate.cluster.local' } })).status, 200);
    assert.equal((await ask(door, '/metrics', { headers: { 'sec-fetch-site': 'cross-site' } })).status, 403);
    assert.equal((await ask(door, '/config_dump')).status, 404);
    assert.equal((await ask(door, `/metrics?${'x'.repeat(2_000)}`)).status, 414);
    assert.equal((await ask(door, '/metrics', { method: 'HEAD' })).body, '');
    await door.close(0);
  });

  test('on a Unix socket serves its owner', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'portcullis-door-'));
    const door = await open(pages, true, {}, { kind: 'unix', path: join(directory, 'a.sock') });
    assert.equal((await ask(door, '/healthz')).status, 200);
    assert.equal(door.fd, null);
    await door.close(0);
    rmSync(directory, { recursive: true });
  });

  test('cuts a body that nobody asked for, a head that does not end, and connections beyond its limit', async () => {
    const door = await open(pages, false, { bodyBytesMax: 100, headersTimeoutMs: 100, connectionsMax: 2 });
    const port = Number(door.address.split(':')[1]);
    const closed = (text: string): Promise<void> =>
      new Promise((resolve) => {
        const socket = connect(port, '127.0.0.1', () => socket.write(text));
        socket.on('error', () => undefined);
        socket.on('close', () => resolve());
        socket.resume();
      });
    await closed(`POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(5_000)}`);
    await closed('GET /metrics HT');
    const held = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')];
    await Promise.all(held.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
    await closed('');
    for (const socket of held) socket.destroy();
    await door.close(0);
  });

  test('closes once, however often it is told', async () => {
    const door = await open(pages, false);
    await Promise.all([door.close(0), door.close(0)]);
    await door.close(0);
  });
});
