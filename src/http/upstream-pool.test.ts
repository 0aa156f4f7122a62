import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Reason } from '../core/reason.ts';
import { httpDefaults, type HttpSettings } from '../model/http-settings.ts';
import type { Channel } from '../net/channel.ts';
import type { Network } from '../net/network.ts';
import type { TlsObserver, UpstreamTls } from '../net/tls.ts';
import type { SessionWaiter } from './exchange-context.ts';
import type { ClientSession, ClientSessionObserver, HttpVersion } from './stream.ts';
import { channelPair, type JoinedChannel } from './testing/channel-pair.ts';
import { bytes, ScriptedNetwork, testTarget } from './testing/scripted-streams.ts';
import { IdleItem, IdleList } from './upstream-idle.ts';
import { UpstreamPool } from './upstream-pool.ts';
import type { DialOutcome, UpstreamTarget } from './upstream-target.ts';

/** A session the test steers. */
class FakeSession implements ClientSession {
  readonly version: HttpVersion;
  readonly channel: Channel;
  readonly observer: ClientSessionObserver;
  readonly streamsMax: number;
  requestCount = 0;
  streamCount = 0;
  isOpen = true;
  endedBy: string | null = null;

  constructor(version: HttpVersion, channel: Channel, observer: ClientSessionObserver) {
    this.version = version;
    this.channel = channel;
    this.observer = observer;
    this.streamsMax = version === 'HTTP/2' ? 2 : 1;
  }

  get isAvailable(): boolean {
    return this.isOpen && this.streamCount < this.streamsMax;
  }

  request(): never {
    assert.ok(this.isAvailable, 'asked while not available');
    this.streamCount++;
    this.requestCount++;
    return undefined as never;
  }

  /** A request ends, and with it the connection unless it is kept. */
  done(isKept = true): void {
    this.streamCount--;
    if (isKept) return this.observer.onAvailability(this);
    this.close();
  }

  close(reason: Reason = 'backend-closed'): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.observer.onClosed(this, reason, undefined);
  }

  drain(): void {
    this.endedBy ??= 'drain';
    this.isOpen = false;
    if (this.streamCount === 0) setImmediate(() => this.observer.onClosed(this, 'session-closed', undefined));
  }

  abort(reason: Reason): void {
    this.endedBy = reason;
    this.isOpen = false;
    this.observer.onClosed(this, reason, undefined);
  }
}

/** A request: asks on the session it gets. */
class FakeWaiter implements SessionWaiter {
  readonly downstreamVersion: HttpVersion;
  readonly isUpgrade: boolean;
  readonly needsFresh: boolean;
  session: FakeSession | null = null;
  connectMs = -1;
  refusal: Reason | null = null;

  constructor(options: Partial<SessionWaiter> = {}) {
    this.downstreamVersion = options.downstreamVersion ?? 'HTTP/1.1';
    this.isUpgrade = options.isUpgrade ?? false;
    this.needsFresh = options.needsFresh ?? false;
  }

  onSession(session: ClientSession, connectMs: number): void {
    this.session = session as FakeSession;
    this.session.request();
    this.connectMs = connectMs;
  }

  onNoSession(reason: Reason): void {
    this.refusal = reason;
  }
}

class Scene {
  readonly clock = new ScriptedNetwork();
  readonly dials: DialOutcome[] = [];
  readonly handshakes: { tls: UpstreamTls; observer: TlsObserver; channel: Channel }[] = [];
  readonly sessions: FakeSession[] = [];
  readonly ended: (Reason | null)[] = [];
  readonly cancelled: DialOutcome[] = [];
  readonly pool: UpstreamPool;

  constructor(http: Partial<HttpSettings> = {}) {
    const make = (version: HttpVersion) => (channel: Channel, observer: ClientSessionObserver) => {
      const session = new FakeSession(version, channel, observer);
      this.sessions.push(session);
      return session;
    };
    this.pool = new UpstreamPool({
      network: this.clock as unknown as Network,
      tls: {
        connect: (channel, tls, _deadlineMs, observer) => {
          this.handshakes.push({ tls, observer, channel });
          return { cancel() {} };
        },
      },
      sessions: { http1: make('HTTP/1.1'), http2: make('HTTP/2') },
      http: { ...httpDefaults, ...http },
      connectTimeoutMs: 5000,
      onDialEnded: (_target, _durationMs, failure) => this.ended.push(failure),
      onFault: (error) => assert.fail(String(error)),
    });
  }

  target(overrides: Partial<UpstreamTarget> = {}): UpstreamTarget {
    const dialer = {
      dial: (_timeoutMs: number, outcome: DialOutcome) => {
        this.dials.push(outcome);
        return { cancel: () => this.cancelled.push(outcome) };
      },
    };
    return { ...testTarget, dialer, ...overrides };
  }

  ask(target: UpstreamTarget, options: Partial<SessionWaiter> = {}): FakeWaiter {
    const waiter = new FakeWaiter(options);
    const session = this.pool.acquire(target, waiter);
    if (session !== null) waiter.onSession(session, 0);
    return waiter;
  }

  /** Lets the oldest dial succeed. */
  open(): JoinedChannel {
    const { client } = channelPair();
    this.dials.shift()!.onDialed(client);
    return client;
  }

  secure(alpn: string | null): void {
    const { observer, channel } = this.handshakes.shift()!;
    observer.onSecure(channel, {
      alpn,
      version: 'TLSv1.3',
      cipher: 'x',
      isResumed: false,
      clientSubject: null,
    });
  }
}

const tls: UpstreamTls = {
  serverName: 'b',
  ca: null,
  crl: null,
  insecure: false,
  alpn: ['h2', 'http/1.1'],
  clientCert: null,
};

describe('UpstreamPool', () => {
  test('opens a connection, keeps it, and uses the one used last first', () => {
    const scene = new Scene();
    const target = scene.target();
    const [first, second] = [scene.ask(target), scene.ask(target)];
    assert.equal(scene.dials.length, 2);
    scene.clock.nowMs += 40;
    scene.open();
    scene.open();
    assert.deepEqual([first.session, second.session], scene.sessions);
    assert.equal(first.connectMs, 40);
    first.session!.done();
    second.session!.done();
    assert.equal(scene.pool.counts().idle, 2);
    const third = scene.ask(target);
    assert.equal(third.session, second.session);
    assert.equal(third.connectMs, 0);
    assert.deepEqual(scene.ended, [null, null]);
  });

  test('different keys never share a connection', () => {
    const scene = new Scene();
    const first = scene.ask(scene.target({ key: 'a' }));
    scene.open();
    first.session!.done();
    const other = scene.ask(scene.target({ key: 'b' }));
    assert.equal(other.session, null);
    assert.equal(scene.dials.length, 1);
  });

  test('a connection in doubt is not used again', () => {
    const scene = new Scene();
    const target = scene.target();
    const first = scene.ask(target);
    scene.open();
    first.session!.done(false);
    assert.equal(scene.pool.counts().connections, 0);
    assert.equal(scene.pool.counts().identities, 0, 'nothing is kept of it');
    assert.equal(scene.ask(target).session, null);
  });

  test('one that became unavailable while idle is passed over', () => {
    const scene = new Scene();
    const target = scene.target();
    const first = scene.ask(target);
    scene.open();
    const { session } = first;
    session!.done();
    session!.isOpen = false;
    assert.equal(scene.ask(target).session, null);
    assert.equal(scene.dials.length, 1);
  });

  test('at the limit of connections requests wait in line for one to come back', () => {
    const scene = new Scene({ upstreamConnectionsMax: 1 });
    const target = scene.target();
    const [, second, third] = [scene.ask(target), scene.ask(target), scene.ask(target)];
    assert.equal(scene.dials.length, 1);
    scene.open();
    assert.equal(scene.pool.counts().waiting, 2);
    scene.sessions[0]!.done();
    assert.equal(second!.session, scene.sessions[0]);
    scene.sessions[0]!.done(false);
    assert.equal(scene.dials.length, 1, 'the place it leaves is taken by another');
    scene.open();
    assert.equal(third!.session, scene.sessions[1]);
  });

  test('a full line refuses, and who waits too long is refused', () => {
    const scene = new Scene({ upstreamConnectionsMax: 1, upstreamWaitingMax: 1 });
    const target = scene.target();
    const first = scene.ask(target);
    scene.open();
    const second = scene.ask(target);
    assert.equal(scene.ask(target).refusal, 'upstream-limit');
    scene.clock.advance(5200);
    assert.equal(second.refusal, 'upstream-limit');
    first.session!.done();
    assert.equal(scene.pool.counts().idle, 1);
  });

  test('a failed dial fails one request of HTTP/1, and all of those that share it of HTTP/2', () => {
    const scene = new Scene();
    const h1 = scene.target();
    const [a, b] = [scene.ask(h1), scene.ask(h1)];
    scene.dials.shift()!.onDialFailed('dial-refused', 'ECONNREFUSED');
    assert.equal(a.refusal, 'dial-refused');
    assert.equal(b.refusal, null);
    scene.open();
    assert.notEqual(b.session, null);
    const h2 = scene.target({ key: 'h2', protocol: 'h2' });
    const waiters = [scene.ask(h2), scene.ask(h2), scene.ask(h2)];
    assert.equal(scene.dials.length, 1);
    scene.dials.shift()!.onDialFailed('dial-timeout', 'ETIMEDOUT');
    assert.ok(waiters.every(({ refusal }) => refusal === 'dial-timeout'));
  });

  test('HTTP/2: one dial for many, the least loaded session, another when all are full', () => {
    const scene = new Scene();
    const target = scene.target({ protocol: 'h2' });
    const waiters = [scene.ask(target), scene.ask(target), scene.ask(target)];
    assert.equal(scene.dials.length, 1);
    scene.open();
    assert.equal(waiters[1]!.session, scene.sessions[0]);
    assert.equal(waiters[2]!.session, null, 'two streams are its limit');
    scene.open();
    assert.equal(waiters[2]!.session, scene.sessions[1]);
    scene.sessions[0]!.done();
    scene.sessions[0]!.done();
    assert.equal(scene.ask(target).session, scene.sessions[0]);
  });

  test('a full HTTP/2 session serves the line as soon as a stream ends', () => {
    const scene = new Scene({ upstreamConnectionsMax: 1 });
    const target = scene.target({ protocol: 'h2' });
    const waiters = [scene.ask(target), scene.ask(target), scene.ask(target)];
    scene.open();
    scene.sessions[0]!.done();
    assert.equal(waiters[2]!.session, scene.sessions[0]);
  });

  test('a second try gets a fresh connection, whatever is idle', () => {
    const scene = new Scene({ upstreamConnectionsMax: 1 });
    const target = scene.target();
    scene.ask(target);
    scene.open();
    scene.sessions[0]!.done();
    const again = scene.ask(target, { needsFresh: true });
    assert.equal(again.session, null);
    assert.equal(scene.sessions[0]!.endedBy, 'drain', 'the idle one makes room');
    scene.sessions[0]!.observer.onClosed(scene.sessions[0]!, 'session-closed', undefined);
    scene.open();
    assert.equal(again.session, scene.sessions[1]);
  });

  test('idle connections end after upstream_idle_timeout', () => {
    const scene = new Scene({ upstreamIdleTimeoutMs: 10_000 });
    const target = scene.target();
    scene.ask(target);
    scene.open();
    scene.clock.advance(20_000);
    assert.equal(scene.sessions[0]!.endedBy, null, 'a busy one does not');
    scene.sessions[0]!.done();
    scene.clock.advance(9_000);
    assert.equal(scene.sessions[0]!.endedBy, null);
    scene.clock.advance(1_500);
    assert.equal(scene.sessions[0]!.endedBy, 'drain');
    assert.equal(scene.pool.counts().idle, 0);
  });

  test('of too many idle connections the one idle longest ends', () => {
    const ended: number[] = [];
    const clock = new ScriptedNetwork();
    const list = new IdleList(clock.timers, 2, 1000);
    class Item extends IdleItem {
      readonly number: number;

      constructor(number: number) {
        super();
        this.number = number;
      }

      override onIdleEnd(): void {
        ended.push(this.number);
      }
    }
    const items = [1, 2, 3, 4].map((number) => new Item(number));
    for (const item of items.slice(0, 3)) list.add(item, clock.nowMs);
    assert.deepEqual(ended, [1]);
    list.remove(items[1]!);
    list.add(items[3]!, clock.nowMs);
    assert.deepEqual([list.count, ended.length], [2, 1]);
    clock.advance(1200);
    assert.deepEqual(ended, [1, 3, 4]);
    assert.equal(clock.timers.count, 0);
  });

  describe('what is spoken', () => {
    const cases: {
      protocol: UpstreamTarget['protocol'];
      options?: Partial<SessionWaiter>;
      spoken: HttpVersion;
    }[] = [
      { protocol: 'http1', spoken: 'HTTP/1.1' },
      { protocol: 'h2', spoken: 'HTTP/2' },
      { protocol: 'client', spoken: 'HTTP/1.1' },
      { protocol: 'client', options: { downstreamVersion: 'HTTP/2' }, spoken: 'HTTP/2' },
      { protocol: 'client', options: { downstreamVersion: 'HTTP/2', isUpgrade: true }, spoken: 'HTTP/1.1' },
      { protocol: 'h2', options: { isUpgrade: true }, spoken: 'HTTP/2' },
      { protocol: 'alpn', options: { downstreamVersion: 'HTTP/2' }, spoken: 'HTTP/1.1' },
    ];
    for (const { protocol, options, spoken } of cases) {
      test(`${protocol} on plain TCP, ${JSON.stringify(options ?? {})}: ${spoken}`, () => {
        const scene = new Scene();
        const waiter = scene.ask(scene.target({ protocol }), options);
        scene.open();
        assert.equal(waiter.session!.version, spoken);
      });
    }

    test('over TLS what ALPN chose; a tunnel does not offer h2', () => {
      const scene = new Scene();
      const target = scene.target({ protocol: 'alpn', tls });
      const [first, second] = [scene.ask(target), scene.ask(target)];
      assert.equal(scene.dials.length, 1, 'it may turn out to serve both');
      scene.open();
      scene.secure('h2');
      assert.equal(first.session, second.session);
      const upgrade = scene.ask(target, { isUpgrade: true });
      scene.open();
      assert.deepEqual(scene.handshakes[0]!.tls.alpn, ['http/1.1']);
      scene.secure('http/1.1');
      assert.equal(upgrade.session!.version, 'HTTP/1.1');
    });

    test('ALPN that turns out HTTP/1 opens one connection each', () => {
      const scene = new Scene();
      const target = scene.target({ protocol: 'alpn', tls });
      const waiters = [scene.ask(target), scene.ask(target), scene.ask(target)];
      scene.open();
      scene.secure(null);
      assert.equal(scene.dials.length, 2);
      for (let count = 0; count < 2; count++) {
        scene.open();
        scene.secure(null);
      }
      assert.ok(waiters.every(({ session }) => session?.version === 'HTTP/1.1'));
    });

    test('a backend that was to speak h2 and does not is refused', () => {
      const scene = new Scene();
      const waiter = scene.ask(scene.target({ protocol: 'h2', tls }));
      scene.open();
      scene.secure(null);
      assert.equal(waiter.refusal, 'upstream-tls-failed');
      assert.deepEqual(scene.ended, ['upstream-tls-failed']);
    });
  });

  describe('a target that speaks for one downstream connection', () => {
    const preface = bytes('PROXY v2 header');

    test('has connections of its own, each beginning with the preface', () => {
      const scene = new Scene();
      const [one, two] = [{}, {}];
      scene.ask(scene.target({ owner: one, preface }));
      const channel = scene.open();
      assert.equal(channel.written, 'PROXY v2 header');
      scene.sessions[0]!.done();
      assert.equal(scene.ask(scene.target({ owner: two, preface })).session, null);
      assert.equal(scene.ask(scene.target({ owner: one, preface })).session, scene.sessions[0]);
      assert.equal(scene.open().written, 'PROXY v2 header');
    });

    test('they end with it: idle, busy, dialled or waited for', () => {
      const scene = new Scene({ upstreamConnectionsMax: 3 });
      const owner = {};
      const target = scene.target({ owner, preface });
      const [idle, busy] = [scene.ask(target), scene.ask(target)];
      scene.open();
      scene.open();
      idle.session!.done();
      scene.ask(target);
      const waiting = [scene.ask(target), scene.ask(target)];
      scene.pool.release(owner);
      assert.equal(busy.session!.endedBy, 'client-gone');
      assert.equal(scene.cancelled.length, 1);
      assert.ok(waiting.every(({ refusal }) => refusal === 'client-gone'));
      assert.deepEqual(scene.pool.counts(), {
        connections: 0,
        dialling: 0,
        waiting: 0,
        idle: 0,
        identities: 0,
      });
    });
  });

  test('who cancels is not given a session', () => {
    const scene = new Scene();
    const target = scene.target();
    const waiter = scene.ask(target);
    scene.pool.cancel(target, waiter);
    scene.open();
    assert.equal(waiter.session, null);
    assert.equal(scene.pool.counts().idle, 1);
  });

  test('a drained pool keeps nothing idle', () => {
    const scene = new Scene();
    const target = scene.target();
    const [first, second] = [scene.ask(target), scene.ask(target)];
    scene.open();
    scene.open();
    first.session!.done();
    scene.pool.drain();
    assert.equal(scene.sessions[0]!.endedBy, 'drain');
    assert.equal(scene.sessions[1]!.endedBy, 'drain', 'takes no more, ends with its request');
    second.session!.done();
    assert.equal(scene.pool.counts().idle, 0);
  });

  test('a session that can not be made fails its request and no more', () => {
    const scene = new Scene();
    scene.pool.context.sessions.http1 = () => {
      throw new Error('boom');
    };
    const faults: unknown[] = [];
    scene.pool.context.onFault = (error) => faults.push(error);
    const waiter = scene.ask(scene.target());
    const channel = scene.open();
    assert.equal(waiter.refusal, 'internal-error');
    assert.ok(channel.wasReset);
    assert.equal(faults.length, 1);
  });
});
