/** Every metric of ingress after traffic of every kind: one program, one scrape, numbers that can be told beforehand. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { before, describe, test } from 'node:test';
import { Authority, type Issued } from '../support/authority.ts';
import { clientHello } from '../support/hello.ts';
import { Http1Client, Http2Client } from '../support/http-client.ts';
import { HttpOrigin } from '../support/http-origin.ts';
import { listener, route, tls } from '../support/layer7.ts';
import { Peer, type PeerServer } from '../support/peer.ts';
import type { Portcullis } from '../support/portcullis.ts';
import { Suite } from '../support/suite.ts';

const host = 'app.example.com';
const name = '127.0.0.1:0';
const routeId = `route/${name}/${host}`;
const hello = clientHello('l4.example.com');

describe('metrics after traffic', { timeout: 60_000 }, () => {
  const suite = new Suite();
  let portcullis: Portcullis;
  let origin: HttpOrigin;
  let echo: PeerServer;
  let secure: ConnectionOptions;
  let page: Page;

  before(async () => {
    origin = suite.use(await HttpOrigin.start('http1'));
    echo = await suite.backend((peer) => void peer.readToEnd().then((bytes) => peer.end(bytes)));
    const authority = new Authority('metrics');
    const identity = authority.issue({ altNames: [`DNS:${host}`] });
    secure = { ca: authority.cert };
    portcullis = await suite.portcullis(configOf(identity), {});
    await requests();
    await handshakes();
    await connections();
    await abuse();
    await reload();
    page = await settled();
  });

  function configOf(identity: Issued): string {
    const policies = [
      '{ type = "allow_methods", value = "GET,POST" }',
      '{ type = "max_body", value = "1KiB" }',
    ];
    const main = [
      route(
        host,
        origin.port,
        'backend_protocol = "http1"',
        tls(identity),
        `policies = [${policies.join(', ')}]`,
      ),
      route('down.example.com', 1, tls(identity)),
      `[[listeners.routes]]\nhostname = "l4.example.com"\nbackend = "127.0.0.1:${echo.port}"`,
    ];
    return [
      '[firewall]\nblocked_ips = ["127.0.0.66"]\nblocked_cidrs = ["127.1.0.0/16"]',
      '[metrics]\naddr = "127.0.0.1:0"\n[admin]\nhttp_addr = "127.0.0.1:0"',
      listener([`addr = "${name}"`], main),
    ].join('\n');
  }

  /** Over one connection of HTTP/1.1: three that are served, two that policies refuse. Then one that has no backend. */
  async function requests(): Promise<void> {
    using client = new Http1Client(portcullis.port(), host, secure);
    for (const status of [200, 200, 404]) await client.ask({ path: `/status/${status}` });
    await client.ask({ method: 'DELETE' });
    await client.ask({ method: 'POST', body: 'x'.repeat(2_000) });
    using down = new Http1Client(portcullis.port(), 'down.example.com', {
      ...secure,
      checkServerIdentity: () => undefined,
    });
    assert.equal((await down.ask()).status, 502);
  }

  /** One more that is whole, one that resumes it, one that the client breaks off. */
  async function handshakes(): Promise<void> {
    const options = { host: '127.0.0.1', port: portcullis.port(), servername: host, ...secure };
    const first = connectTls(options);
    first.resume();
    const [session] = (await once(first, 'session')) as [Buffer];
    first.destroy();
    const second = connectTls({ ...options, session });
    await once(second, 'secureConnect');
    assert.ok(second.isSessionReused());
    second.resume().end();
    await once(second, 'close');
    const distrustful = connectTls({ ...options, ca: [] });
    await once(distrustful, 'error');
  }

  /** One that is relayed, one of a name without a route, two that the firewall refuses. */
  async function connections(): Promise<void> {
    const relayed = await Peer.connect(portcullis.port());
    relayed.end(hello);
    assert.equal((await relayed.readToEnd()).length, hello.length);
    const lost = await Peer.connect(portcullis.port());
    lost.end(clientHello('nobody.example.com'));
    await lost.readToEnd();
    for (const localAddress of ['127.0.0.66', '127.1.0.1']) {
      const blocked = await Peer.connect(portcullis.port(), { localAddress });
      await blocked.readToEnd();
    }
  }

  async function abuse(): Promise<void> {
    const client = await Http2Client.connect(portcullis.port(), host, secure);
    const ended = new Promise((resolve) => client.session.on('close', resolve));
    for (let at = 0; at < 1_000 && !client.session.destroyed; at++) {
      client.session
        .request({ ':path': '/hang', ':authority': host })
        .on('error', () => undefined)
        .close(8);
      if (at % 50 === 0) await new Promise(setImmediate);
    }
    await ended;
  }

  /** One change that is taken. */
  async function reload(): Promise<void> {
    const text = readFileSync(portcullis.configFile, 'utf8');
    writeFileSync(portcullis.configFile, text.replace('"127.0.0.66"', '"127.0.0.66", "127.0.0.67"'));
    portcullis.kill('SIGHUP');
    await portcullis.until('the change', () => portcullis.lines.some(({ version }) => version === 2));
  }

  /** Once no connection of ours is open any more: bytes and durations count when one ends. */
  async function settled(): Promise<Page> {
    for (;;) {
      const now = new Page(await (await fetch(`${doorOf('metrics')}/metrics`)).text());
      if (now.value('portcullis_connections_active', name) === 0) return now;
    }
  }

  function doorOf(door: 'metrics' | 'admin'): string {
    const line = portcullis.lines.find(({ msg }) => msg === `${door} HTTP listening`);
    return `http://${String(line!['address'])}`;
  }

  test('requests, by route, method and status, with their durations', () => {
    const requests = (...labels: string[]): number => page.value('portcullis_http_requests_total', ...labels);
    assert.equal(requests(routeId, 'GET', '200'), 2);
    assert.equal(requests(routeId, 'GET', '404'), 1);
    assert.equal(requests(routeId, 'DELETE', '405'), 1);
    assert.equal(requests(routeId, 'POST', '413'), 1);
    assert.equal(requests(`route/${name}/down.example.com`, 'GET', '502'), 1);
    const durations = page.value('portcullis_http_request_duration_seconds_count', routeId);
    const abused = requests(routeId, 'GET', '0');
    assert.ok(abused > 100, `${abused} requests were cancelled`);
    assert.equal(durations, 5 + abused);
    assert.ok(page.value('portcullis_http_request_duration_seconds_sum', routeId) > 0);
  });

  test('what policies refused, by the type of the policy', () => {
    assert.deepEqual(page.all('portcullis_http_policy_blocks_total'), [
      { labels: [routeId, 'allow_methods'], value: 1 },
      { labels: [routeId, 'max_body'], value: 1 },
    ]);
  });

  test('handshakes, by how they ended', () => {
    const handshakes = (result: string): number => page.value('portcullis_tls_handshakes_total', result);
    // Those of both clients of HTTP/1.1, the one that is resumed, and the abuser's.
    assert.equal(handshakes('full'), 4);
    assert.equal(handshakes('resumed'), 1);
    const failed = page
      .all('portcullis_tls_handshakes_total')
      .filter(({ labels }) => labels[0]!.startsWith('tls-'));
    assert.deepEqual(
      failed.map(({ value }) => value),
      [1],
    );
  });

  test('abuse, by its kind', () => {
    assert.deepEqual(page.all('portcullis_http2_abuse_total'), [{ labels: ['rapid-reset'], value: 1 }]);
  });

  test('connections, by what became of them, their bytes and their durations', () => {
    const ended = (verdict: string): number => page.value('portcullis_connections_total', name, verdict);
    // The firewall's two and the name without a route; the handshake that broke off and the abuser are told apart by
    // their reasons. Nothing is lost between the verdicts.
    const total = ended('served') + ended('refused') + ended('failed');
    assert.equal(total, page.value('portcullis_connection_duration_seconds_count'));
    assert.equal(total, 10);
    assert.ok(ended('refused') >= 3);
    for (const direction of ['in', 'out']) {
      assert.ok(page.value('portcullis_bytes_total', name, direction) >= hello.length, direction);
    }
    assert.equal(page.value('portcullis_firewall_blocked_total', 'blocked-ip'), 1);
    assert.equal(page.value('portcullis_firewall_blocked_total', 'blocked-cidr'), 1);
  });

  test('dials, by backend, and how they failed', () => {
    assert.equal(page.value('portcullis_dial_duration_seconds_count', `127.0.0.1:${echo.port}`), 1);
    assert.ok(page.value('portcullis_dial_duration_seconds_count', origin.address) >= 1);
    assert.equal(page.value('portcullis_dial_errors_total', '127.0.0.1:1', 'dial-refused'), 1);
  });

  test('the configuration and the workers', () => {
    assert.equal(page.value('portcullis_config_version'), 2);
    assert.equal(page.value('portcullis_config_changes_total', 'applied'), 1);
    assert.equal(page.value('portcullis_worker_restarts_total'), 0);
    assert.equal(page.value('portcullis_workers', 'serving'), 2);
    for (const worker of ['0', '1']) {
      assert.ok(page.value('portcullis_worker_heap_bytes', worker) > 1e6);
      assert.ok(page.value('portcullis_worker_event_loop_delay_seconds', worker, '0.99') >= 0);
    }
    assert.deepEqual(page.all('portcullis_metric_overflow_total'), []);
  });

  test('GET /clusters shows backends, the connections kept to them, and how dialling went', async () => {
    interface Cluster {
      readonly backend: string;
      readonly references: number;
      readonly connections: number;
      readonly dials: number;
      readonly dial_mean_ms: number | null;
      readonly dial_errors: Record<string, number>;
    }
    const read = async (backend: string): Promise<Cluster> => {
      const clusters = (await (await fetch(`${doorOf('admin')}/clusters`)).json()) as Cluster[];
      return clusters.find((each) => each.backend === backend)!;
    };
    using client = new Http1Client(portcullis.port(), host, secure);
    await client.ask();
    let cluster = await read(origin.address);
    // The origin knows how many there are, as soon as it has seen them come and go.
    while (cluster.connections !== origin.openCount) cluster = await read(origin.address);
    const { references, connections, dials, dial_mean_ms: mean } = cluster;
    assert.equal(references, 1);
    assert.ok(connections >= 1 && dials >= connections, `${connections} of ${dials}`);
    assert.ok(mean! > 0);
    assert.deepEqual(await read('127.0.0.1:1'), {
      backend: '127.0.0.1:1',
      references: 1,
      connections: 0,
      dials: 0,
      dial_mean_ms: null,
      dial_errors: { 'dial-refused': 1 },
    });
  });
});

/** What a scrape says. */
class Page {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  all(metric: string): { readonly labels: readonly string[]; readonly value: number }[] {
    return this.#text.split('\n').flatMap((line) => {
      const match = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
      if (match === null || match[1] !== metric) return [];
      const labels = Array.from((match[2] ?? '').matchAll(/\w+="([^"]*)"/g), ([, value]) => value!);
      return [{ labels, value: Number(match[3]) }];
    });
  }

  /** Of the series with exactly these labels; 0 when there is none. */
  value(metric: string, ...labels: readonly string[]): number {
    const found = this.all(metric).find((each) => each.labels.join('\n') === labels.join('\n'));
    return found?.value ?? 0;
  }
}
