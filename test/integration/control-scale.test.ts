/** Ten thousand routes and a hundred thousand firewall rules: how soon they are served, how soon a change is. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { TrafficSettings } from '../../src/model/settings.ts';
import { Store } from '../../src/store/store.ts';
import { largeTraffic } from '../../src/store/testing/sample-traffic.ts';
import { Home, ipRule, soakOr, type AdminClient } from '../support/admin.ts';
import { EchoStream, startEcho } from '../support/echo-stream.ts';
import { visit } from '../support/visit.ts';

const listenerAddr = '127.0.0.1:0';
const changes = soakOr(2_000, 200);
/** The short run shares the machine with other tests. */
const bounds = soakOr({ startMs: 5_000, p99Ms: 50 }, { startMs: 10_000, p99Ms: 250 });
const streamCount = 20;
const visitPauseMs = 5;

test('start and change with 10,000 routes and 100,000 firewall rules', async (t) => {
  using home = new Home();
  await using echo = await startEcho();
  await seed(home.database, largeTraffic(10_000, 100_000), echo.port);

  // The file says something else, so the start also finds every difference.
  const startMs = performance.now();
  await using server = await home.start(`[[listeners]]\naddr = "${listenerAddr}"`);
  const readyMs = performance.now() - startMs;
  const { portcullis, admin } = server;
  const port = portcullis.port();

  const streams: EchoStream[] = [];
  for (let index = 0; index < streamCount; index++) {
    streams.push(await EchoStream.open(port, `host-${index * 500}.example.com`, 20));
  }
  const stop = new AbortController();
  const visits = visitUntil(port, stop.signal);
  const tookMs = await measureChanges(admin, echo.port);
  stop.abort();
  const visitCount = await visits;
  await Promise.all(streams.map((stream) => stream.end()));

  report(t, readyMs, tookMs, visitCount);
  assert.ok(visitCount > 0);
  assert.ok(readyMs < bounds.startMs, `ready after ${readyMs} ms`);
  assert.ok(quantile(tookMs, 0.99) < bounds.p99Ms, `p99 ${quantile(tookMs, 0.99)} ms`);
  const { listeners } = await admin.getStatus({});
  assert.equal(listeners[0]?.routeCount, 10_000);
});

async function seed(path: string, traffic: TrafficSettings, backendPort: number): Promise<void> {
  const backend = { kind: 'tcp', host: '127.0.0.1', port: backendPort } as const;
  const [listener] = traffic.listeners;
  const routes = listener!.routes.map((route) => ({ ...route, backend }));
  const address = { host: '127.0.0.1', port: 0 };
  const store = await Store.open(path);
  const listeners = [{ ...listener!, name: listenerAddr, address, routes }];
  await store.seed({ ...traffic, listeners }, { actor: 'test', action: 'Seed', changes: [] });
  await store.close();
}

/** One change after the other, each kind in turn; everything is as before afterwards. */
async function measureChanges(admin: AdminClient, backendPort: number): Promise<number[]> {
  const backend = `127.0.0.1:${backendPort}`;
  const tookMs: number[] = [];
  for (let index = 0; index < changes; index++) {
    const hostname = `new-${index >> 2}.example.com`;
    const rule = ipRule(`198.18.${index >> 10}.${(index >> 2) & 255}`);
    const calls = [
      () => admin.addRoute({ listenerAddr, route: { hostname, backend } }),
      () => admin.addFirewallRule({ rule }),
      () => admin.removeFirewallRule({ rule }),
      () => admin.removeRoute({ listenerAddr, hostname }),
    ];
    const startMs = performance.now();
    await calls[index % calls.length]!();
    tookMs.push(performance.now() - startMs);
  }
  return tookMs;
}

/** Connects again and again. Answers how often. */
async function visitUntil(port: number, signal: AbortSignal): Promise<number> {
  let count = 0;
  for (; !signal.aborted; count++) {
    const { outcome } = await visit(port, `host-${count % 10_000}.example.com`);
    assert.notEqual(outcome, 'ECONNRESET');
    await new Promise((resolve) => setTimeout(resolve, visitPauseMs));
  }
  return count;
}

function report(t: TestContext, readyMs: number, tookMs: readonly number[], visits: number): void {
  const [p50, p99, max] = [0.5, 0.99, 1].map((share) => quantile(tookMs, share).toFixed(1));
  t.diagnostic(`ready ${readyMs.toFixed(0)} ms after the program was started`);
  t.diagnostic(`${changes} changes: p50 ${p50} ms, p99 ${p99} ms, max ${max} ms, beside ${visits} visits`);
}

function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * share)]!;
}
