import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Reason } from '../core/reason.ts';
import type { EndpointAddress } from '../model/settings.ts';
import type { Channel } from './channel.ts';
import { Dial, type DialObserver } from './dial.ts';
import { Network } from './network.ts';
import { Resolver, type ResolveCallback } from './resolver.ts';
import { ScriptedChannel, ScriptedTransport } from './testing/scripted-channel.ts';

class Outcome implements DialObserver {
  channel: Channel | null = null;
  failure: { reason: Reason; detail: string } | null = null;
  fault: unknown = null;

  onDialed(channel: Channel): void {
    this.channel = channel;
  }

  onDialFailed(reason: Reason, detail: string): void {
    this.failure = { reason, detail };
  }

  onDialFault(error: unknown): void {
    this.fault = error;
  }
}

/** Knows names beforehand, or answers when the test does. */
class ScriptedResolver extends Resolver {
  known: readonly string[] | undefined;
  callback: ResolveCallback | undefined;

  override peek(): readonly string[] | undefined {
    return this.known;
  }

  override resolve(_name: string, _nowMs: number, _timeoutMs: number, callback: ResolveCallback): void {
    this.callback = callback;
  }
}

function dial(address: EndpointAddress, known?: readonly string[]) {
  const transport = new ScriptedTransport();
  const resolver = new ScriptedResolver();
  resolver.known = known;
  const network = new Network(transport, resolver);
  network.close();
  // The test moves the time.
  network.refresh = () => network.nowMs;
  const outcome = new Outcome();
  const attempt = new Dial(network, address, 3_000, outcome);
  attempt.start();
  const wait = (ms: number): void => network.timers.advance((network.nowMs += ms));
  return { transport, resolver, network, outcome, attempt, wait };
}

const named: EndpointAddress = { kind: 'tcp', host: 'app.internal', port: 443 };

test('dials literals without asking for a name, and hands the channel over', () => {
  const { transport, outcome } = dial({ kind: 'tcp', host: '2001:db8::1', port: 443 });
  assert.deepEqual(transport.targets, ['2001:db8::1:443']);
  const channel = new ScriptedChannel();
  transport.attempts[0]!.observer.onConnected(channel);
  assert.equal(outcome.channel, channel);
});

test('dials Unix sockets', () => {
  const { transport } = dial({ kind: 'unix', path: '/run/app.sock' });
  assert.deepEqual(transport.targets, ['/run/app.sock']);
});

test('tries all addresses of a name in turn, and fails by the last', () => {
  const { transport, outcome } = dial(named, ['10.0.0.1', '2001:db8::1', '10.0.0.2']);
  for (const code of ['ECONNREFUSED', 'EHOSTUNREACH', 'ECONNREFUSED']) {
    assert.equal(outcome.failure, null);
    transport.attempts.at(-1)!.observer.onConnectFailed(code);
  }
  assert.deepEqual(transport.targets, ['10.0.0.1:443', '2001:db8::1:443', '10.0.0.2:443']);
  assert.deepEqual(outcome.failure, { reason: 'dial-refused', detail: 'ECONNREFUSED' });
});

test('an address that swallows packets costs its share of the time, not all of it', () => {
  const { transport, outcome, wait } = dial(named, ['10.0.0.1', '10.0.0.2', '10.0.0.3']);
  wait(900);
  assert.equal(transport.attempts.length, 1);
  wait(250);
  assert.equal(transport.attempts.length, 2, 'a third of the timeout');
  assert.ok(transport.attempts[0]!.isCancelled);
  wait(1_100);
  assert.equal(transport.attempts.length, 3);
  wait(1_100);
  assert.deepEqual(outcome.failure, { reason: 'dial-timeout', detail: 'ETIMEDOUT' });
});

test('waits for a name that is not known yet', () => {
  const { transport, resolver, outcome } = dial(named);
  assert.deepEqual(transport.targets, []);
  resolver.callback!({ kind: 'addresses', addresses: ['10.0.0.9'] });
  assert.deepEqual(transport.targets, ['10.0.0.9:443']);
  assert.equal(outcome.failure, null);
});

test('tells what DNS said of a name', () => {
  const { resolver, outcome } = dial(named);
  resolver.callback!({ kind: 'failed', reason: 'name-not-found' });
  assert.equal(outcome.failure?.reason, 'name-not-found');
});

test('a cancelled dial reports nothing, and resets a channel that comes too late', () => {
  const { transport, outcome, attempt, wait } = dial({ kind: 'tcp', host: '10.0.0.1', port: 1 });
  attempt.cancel();
  assert.ok(transport.attempts[0]!.isCancelled);
  const late = new ScriptedChannel();
  transport.attempts[0]!.observer.onConnected(late);
  assert.deepEqual(late.calls, ['reset']);
  wait(10_000);
  assert.deepEqual([outcome.channel, outcome.failure], [null, null]);
});

test('an observer that throws is told of its own fault', () => {
  const { transport, outcome } = dial({ kind: 'tcp', host: '10.0.0.1', port: 1 });
  const fault = new Error('planted');
  outcome.onDialed = () => {
    throw fault;
  };
  transport.attempts[0]!.observer.onConnected(new ScriptedChannel());
  assert.equal(outcome.fault, fault);
});
