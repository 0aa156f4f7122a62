import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostBytes } from '../core/bytes.ts';
import type { Reason } from '../core/reason.ts';
import { Network } from './network.ts';
import { Relay, type RelayObserver } from './relay.ts';
import { Resolver } from './resolver.ts';
import { ScriptedChannel, ScriptedTransport } from './testing/scripted-channel.ts';

class Ends implements RelayObserver {
  readonly ends: { reason: Reason; detail: string | undefined }[] = [];
  readonly faults: unknown[] = [];

  onRelayEnd(reason: Reason, detail: string | undefined): void {
    this.ends.push({ reason, detail });
  }

  onRelayFault(error: unknown): void {
    this.faults.push(error);
  }
}

function start({ preface = null as string | null, opening = 'hello', isEnded = false } = {}) {
  const network = new Network(new ScriptedTransport(), new Resolver());
  network.close();
  const [client, backend, observer] = [new ScriptedChannel(), new ScriptedChannel(), new Ends()];
  const relay = new Relay(network, client, backend, 1_000, observer);
  relay.start(preface === null ? null : bytes(preface), bytes(opening), isEnded);
  return { network, client, backend, observer, relay };
}

function bytes(text: string): HostBytes {
  return Buffer.from(text, 'latin1') as unknown as HostBytes;
}

test('sends the preface, then what was read before, then relays both ways', () => {
  const { client, backend, relay } = start({ preface: 'PROXY ' });
  assert.deepEqual(backend.calls, ['write:PROXY ', 'write:hello', 'resume']);
  client.send('more');
  backend.send('answer');
  assert.equal(backend.calls.at(-1), 'write:more');
  assert.equal(client.calls.at(-1), 'write:answer');
  assert.deepEqual([relay.bytesIn, relay.bytesOut], [9, 6], 'the preface is ours and not counted');
});

test('pauses a source whose target has no room, and goes on when it drains', () => {
  const { client, backend } = start();
  backend.hasRoom = false;
  client.send('much');
  assert.equal(client.calls.at(-1), 'pause');
  backend.send('the other way is not held up');
  assert.ok(!backend.calls.includes('pause'));
  backend.drain();
  assert.equal(client.calls.at(-1), 'resume');
});

test('passes a half-close on and lets the other direction finish', () => {
  const { client, backend, observer } = start();
  client.end();
  assert.equal(backend.calls.at(-1), 'halfClose');
  backend.send('the answer to a client that half-closed');
  assert.equal(observer.ends.length, 0);
  backend.end();
  assert.deepEqual(client.calls.slice(-2), ['halfClose', 'close']);
  assert.deepEqual(observer.ends, [{ reason: 'client-closed', detail: undefined }]);
});

test('a client that half-closed while the backend was dialled is half-closed to the backend', () => {
  const { backend } = start({ isEnded: true });
  assert.equal(backend.calls.at(-1), 'halfClose');
});

test('does not close before the last bytes have left', () => {
  const { client, backend, observer } = start();
  client.hasRoom = false;
  backend.send('the end of a long answer');
  backend.end();
  client.end();
  assert.equal(observer.ends.length, 0);
  assert.ok(!client.isClosed);
  client.drain();
  assert.deepEqual(observer.ends, [{ reason: 'backend-closed', detail: undefined }]);
});

test('a reset of one side becomes a reset of the other', () => {
  const { client, backend, observer } = start();
  backend.break('ECONNRESET');
  assert.equal(client.calls.at(-1), 'reset');
  assert.deepEqual(observer.ends, [{ reason: 'backend-reset', detail: 'ECONNRESET' }]);
});

test('ends when no byte has moved for the idle timeout, and not while bytes move', () => {
  const { network, client, backend, observer, relay } = start();
  for (let step = 0; step < 5; step++) {
    network.nowMs += 800;
    client.send('ping');
    network.timers.advance(network.nowMs);
  }
  assert.equal(observer.ends.length, 0);
  network.timers.advance(network.nowMs + 1_200);
  assert.deepEqual(observer.ends, [{ reason: 'idle-timeout', detail: undefined }]);
  assert.deepEqual([client.calls.at(-1), backend.calls.at(-1)], ['reset', 'reset']);
  assert.equal(relay.bytesIn, 5 + 5 * 4);
});

test('a slow reader that still drains is not idle', () => {
  const { network, client, backend, observer } = start();
  for (let step = 0; step < 5; step++) {
    client.hasRoom = false;
    backend.send('x');
    network.nowMs += 800;
    client.drain();
    network.timers.advance(network.nowMs);
  }
  assert.equal(observer.ends.length, 0);
});

test('a fault resets both sides and is told once', () => {
  const { client, backend, observer } = start();
  const fault = new Error('planted');
  backend.write = () => {
    throw fault;
  };
  client.send('x');
  assert.deepEqual(observer.faults, [fault]);
  assert.deepEqual([client.calls.at(-1), backend.calls.at(-1)], ['reset', 'reset']);
  assert.deepEqual(observer.ends, []);
});
