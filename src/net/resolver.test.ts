import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, beforeEach, describe, test } from 'node:test';
import { DnsServer } from '../../test/support/dns-server.ts';
import { Resolver, type ResolverOptions, type ResolveResult } from './resolver.ts';

const folder = mkdtempSync(join(tmpdir(), 'portcullis-resolver-'));
after(() => rmSync(folder, { recursive: true }));

let dns: DnsServer;
let resolver: Resolver;
let nowMs = 0;
let hostsPath = '';
let resolvConfPath = '';
let count = 0;

beforeEach(async () => {
  dns = await DnsServer.start();
  nowMs = 1000;
  hostsPath = join(folder, `hosts-${count}`);
  resolvConfPath = join(folder, `resolv-${count++}.conf`);
  resolver = createResolver();
});

afterEach(() => {
  resolver.close();
  dns.close();
});

/** No hosts, no search list, a clock that stands still until the test moves it. */
function createResolver(options: ResolverOptions = {}): Resolver {
  return new Resolver({
    servers: [dns.address],
    hostsPath,
    resolvConfPath,
    clock: () => nowMs,
    queryTimeoutMs: 100,
    queryTries: 1,
    ...options,
  });
}

/** As the dialler does it: peek, then resolve. */
async function lookUp(name: string, timeoutMs = 2000): Promise<ResolveResult> {
  const addresses = resolver.peek(name, nowMs);
  if (addresses !== undefined) return { kind: 'addresses', addresses };
  return new Promise((resolve) => resolver.resolve(name, nowMs, timeoutMs, resolve));
}

async function addressesOf(name: string): Promise<readonly string[] | string> {
  const result = await lookUp(name);
  return result.kind === 'addresses' ? result.addresses : result.reason;
}

describe('DNS', () => {
  test('asks A and AAAA once and answers both, IPv4 first, in turns', async () => {
    dns.zone.set('app.example.com', { a: ['192.0.2.1', '192.0.2.2'], aaaa: ['2001:db8::1'] });
    assert.deepEqual(await addressesOf('app.example.com'), ['192.0.2.1', '2001:db8::1', '192.0.2.2']);
    assert.deepEqual(dns.questions.toSorted(), ['A app.example.com', 'AAAA app.example.com']);
  });

  test('spreads load: each look-up starts with the next address', async () => {
    dns.zone.set('app.example.com', { a: ['192.0.2.1', '192.0.2.2', '192.0.2.3'] });
    const firsts: unknown[] = [];
    for (let at = 0; at < 4; at++) firsts.push((await addressesOf('app.example.com'))[0]);
    assert.deepEqual(firsts, ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.1']);
    assert.equal(dns.questions.length, 2);
  });

  test('keeps an answer for its TTL and no longer', async () => {
    dns.zone.set('app.example.com', { a: ['192.0.2.1'], ttlS: 30 });
    await addressesOf('app.example.com');
    dns.zone.set('app.example.com', { a: ['192.0.2.9'], ttlS: 30 });
    nowMs += 29_999;
    assert.deepEqual(await addressesOf('app.example.com'), ['192.0.2.1']);
    nowMs += 1;
    assert.equal(resolver.peek('app.example.com', nowMs), undefined);
    assert.deepEqual(await addressesOf('app.example.com'), ['192.0.2.9']);
  });

  test('clamps the TTL to between a second and an hour', async () => {
    dns.zone.set('zero.example.com', { a: ['192.0.2.1'], ttlS: 0 });
    dns.zone.set('long.example.com', { a: ['192.0.2.1'], ttlS: 1_000_000 });
    await addressesOf('zero.example.com');
    await addressesOf('long.example.com');
    assert.ok(resolver.peek('zero.example.com', nowMs + 999));
    assert.equal(resolver.peek('zero.example.com', nowMs + 1000), undefined);
    assert.ok(resolver.peek('long.example.com', nowMs + 3_599_999));
    assert.equal(resolver.peek('long.example.com', nowMs + 3_600_000), undefined);
  });

  test('remembers for two seconds that a name does not exist', async () => {
    assert.equal(await addressesOf('new.example.com'), 'name-not-found');
    dns.zone.set('new.example.com', { a: ['192.0.2.1'] });
    nowMs += 1999;
    assert.equal(await addressesOf('new.example.com'), 'name-not-found');
    assert.equal(dns.questions.length, 2);
    nowMs += 1;
    assert.deepEqual(await addressesOf('new.example.com'), ['192.0.2.1']);
  });

  test('a name without any address is not found', async () => {
    dns.zone.set('mail.example.com', {});
    assert.equal(await addressesOf('mail.example.com'), 'name-not-found');
  });

  test('one question serves all who wait for it', async () => {
    dns.zone.set('app.example.com', { a: ['192.0.2.1'] });
    const results = await Promise.all(Array.from({ length: 100 }, () => addressesOf('app.example.com')));
    assert.ok(results.every((addresses) => addresses[0] === '192.0.2.1'));
    assert.equal(dns.questions.length, 2);
  });

  test('a server that never answers AAAA does not hold up IPv4', async () => {
    dns.zone.set('app.example.com', { a: ['192.0.2.1'] });
    dns.ignoredTypes.add('AAAA');
    resolver = createResolver({ queryTimeoutMs: 5000 });
    const startedMs = performance.now();
    assert.deepEqual(await addressesOf('app.example.com'), ['192.0.2.1']);
    assert.ok(performance.now() - startedMs < 1000);
  });
});

describe('failure', () => {
  test('a silent server is a timeout, after c-ares gave up or the caller did', async () => {
    dns.zone.set('app.example.com', 'silence');
    assert.equal(await addressesOf('app.example.com'), 'name-timeout');
    resolver = createResolver({ queryTimeoutMs: 5000 });
    const startedMs = performance.now();
    assert.deepEqual(await lookUp('app.example.com', 30), { kind: 'failed', reason: 'name-timeout' });
    assert.ok(performance.now() - startedMs < 1000);
  });

  test('SERVFAIL is a failure', async () => {
    dns.zone.set('app.example.com', 'servfail');
    assert.equal(await addressesOf('app.example.com'), 'name-failed');
  });

  test('while DNS fails the last answer serves for an hour past its TTL', async () => {
    dns.zone.set('app.example.com', { a: ['192.0.2.1'], ttlS: 10 });
    await addressesOf('app.example.com');
    dns.zone.set('app.example.com', 'servfail');
    nowMs += 10_000;
    assert.deepEqual(await addressesOf('app.example.com'), ['192.0.2.1']);
    const asked = dns.questions.length;
    assert.deepEqual(await addressesOf('app.example.com'), ['192.0.2.1']);
    assert.equal(dns.questions.length, asked, 'a failing server is not asked again at once');
    nowMs += 3_599_999;
    assert.deepEqual(await addressesOf('app.example.com'), ['192.0.2.1']);
    nowMs += 1;
    assert.equal(await addressesOf('app.example.com'), 'name-failed');
  });

  test('a caller out of patience gets the stale answer', async () => {
    dns.zone.set('app.example.com', { a: ['192.0.2.1'], ttlS: 10 });
    resolver = createResolver({ queryTimeoutMs: 5000 });
    await addressesOf('app.example.com');
    dns.zone.set('app.example.com', 'silence');
    nowMs += 10_000;
    assert.deepEqual(await lookUp('app.example.com', 30), { kind: 'addresses', addresses: ['192.0.2.1'] });
  });

  test('a name that ceased to exist is not served stale', async () => {
    dns.zone.set('app.example.com', { a: ['192.0.2.1'], ttlS: 10 });
    await addressesOf('app.example.com');
    dns.zone.delete('app.example.com');
    nowMs += 10_000;
    assert.equal(await addressesOf('app.example.com'), 'name-not-found');
  });

  test('never calls back before resolve returns', async () => {
    let called = false;
    await addressesOf('none.example.com');
    resolver.resolve('none.example.com', nowMs, 1000, () => (called = true));
    assert.equal(called, false);
    await new Promise(setImmediate);
    assert.equal(called, true);
  });

  test('close tells everybody who waits', async () => {
    dns.zone.set('app.example.com', 'silence');
    const waiting = addressesOf('app.example.com');
    resolver.close();
    assert.equal(await waiting, 'name-failed');
    assert.equal(await addressesOf('app.example.com'), 'name-failed');
  });
});

describe('limits', () => {
  test('questions in flight', async () => {
    resolver = createResolver({ queriesMax: 1 });
    const first = addressesOf('a.example.com');
    assert.equal(await addressesOf('b.example.com'), 'name-failed');
    assert.equal(await first, 'name-not-found');
    assert.equal(await addressesOf('b.example.com'), 'name-not-found');
  });

  test('waiters', async () => {
    resolver = createResolver({ waitersMax: 2 });
    const waiting = [addressesOf('a.example.com'), addressesOf('a.example.com')];
    assert.equal(await addressesOf('a.example.com'), 'name-failed');
    assert.deepEqual(await Promise.all(waiting), ['name-not-found', 'name-not-found']);
    assert.equal(await addressesOf('c.example.com'), 'name-not-found', 'places are given back');
  });

  test('names kept: the longest unused goes', async () => {
    resolver = createResolver({ namesMax: 2 });
    for (const name of ['a', 'b', 'c']) dns.zone.set(`${name}.example.com`, { a: ['192.0.2.1'], ttlS: 600 });
    await addressesOf('a.example.com');
    await addressesOf('b.example.com');
    nowMs += 2000;
    assert.ok(resolver.peek('a.example.com', nowMs));
    await addressesOf('c.example.com');
    assert.ok(resolver.peek('a.example.com', nowMs));
    assert.equal(resolver.peek('b.example.com', nowMs), undefined);
  });
});

describe('files', () => {
  test('the hosts file wins over DNS, and a change is seen within five seconds', async () => {
    dns.zone.set('app.example.com', { a: ['192.0.2.1'] });
    assert.deepEqual(await addressesOf('app.example.com'), ['192.0.2.1']);
    writeFileSync(hostsPath, '10.0.0.1 APP.example.com app # here\n::1 app.example.com\nnonsense app\n');
    assert.deepEqual(await addressesOf('app.example.com'), ['192.0.2.1']);
    nowMs += 5000;
    assert.deepEqual(await addressesOf('app.example.com'), ['10.0.0.1', '::1']);
    assert.deepEqual(await addressesOf('app'), ['10.0.0.1']);
    rmSync(hostsPath);
    nowMs += 5000;
    assert.deepEqual(await addressesOf('app.example.com'), ['192.0.2.1']);
  });

  test('an answer to a question from before the change is not kept', async () => {
    dns.zone.set('app.example.com', { a: ['192.0.2.1'] });
    const before = addressesOf('app.example.com');
    writeFileSync(hostsPath, '10.0.0.1 app.example.com\n');
    nowMs += 5000;
    assert.deepEqual(await addressesOf('app.example.com'), ['10.0.0.1']);
    assert.deepEqual(await before, ['192.0.2.1']);
    assert.deepEqual(await addressesOf('app.example.com'), ['10.0.0.1']);
  });

  test('localhost needs neither file nor DNS', async () => {
    assert.deepEqual(await addressesOf('localhost'), ['127.0.0.1', '::1']);
    assert.deepEqual(await addressesOf('a.localhost'), ['127.0.0.1', '::1']);
    assert.deepEqual(dns.questions, []);
  });

  test('completes short names by the search list, up to ndots', async () => {
    writeFileSync(resolvConfPath, 'nameserver 127.0.0.1\nsearch one.test two.test.\noptions ndots:2 edns0\n');
    dns.zone.set('app.two.test', { a: ['192.0.2.2'] });
    assert.deepEqual(await addressesOf('app'), ['192.0.2.2']);
    assert.deepEqual(
      dns.questions.filter((question) => question.startsWith('A ')),
      ['A app.one.test', 'A app.two.test'],
    );
    dns.questions.length = 0;
    dns.zone.set('a.b.test', { a: ['192.0.2.3'] });
    assert.deepEqual(await addressesOf('a.b.test'), ['192.0.2.3']);
    assert.ok(dns.questions.every((question) => question.endsWith(' a.b.test')));
  });

  test('a broken search domain does not hide the name; a name with a final dot is taken as it is', async () => {
    writeFileSync(resolvConfPath, 'search one.test\noptions ndots:5\n');
    dns.zone.set('app.example.com.one.test', 'servfail');
    dns.zone.set('app.example.com', { a: ['192.0.2.1'] });
    assert.deepEqual(await addressesOf('app.example.com'), ['192.0.2.1']);
    dns.questions.length = 0;
    assert.deepEqual(await addressesOf('app.example.com.'), ['192.0.2.1']);
    assert.deepEqual(dns.questions.toSorted(), ['A app.example.com', 'AAAA app.example.com']);
  });
});
