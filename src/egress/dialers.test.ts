import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Reason } from '../core/reason.ts';
import type { DialOutcome } from '../http/upstream-target.ts';
import type { Channel } from '../net/channel.ts';
import { Network } from '../net/network.ts';
import { Resolver, type ResolveCallback } from '../net/resolver.ts';
import { ScriptedChannel, ScriptedTransport } from '../net/testing/scripted-channel.ts';
import { GuardedDialer } from './guarded-dialer.ts';
import { NetworkGuard, type GuardLevel } from './network-guard.ts';
import { ParentDialer, type ParentProxy } from './parent-dialer.ts';

/** Answers a name with what comes next on its list, as a hostile DNS server would. */
class ChangingResolver extends Resolver {
  readonly answers: (readonly string[])[];
  asked = 0;

  constructor(answers: (readonly string[])[]) {
    super();
    this.answers = answers;
  }

  override peek(): undefined {
    return undefined;
  }

  override resolve(_name: string, _nowMs: number, _timeoutMs: number, callback: ResolveCallback): void {
    const addresses = this.answers[Math.min(this.asked++, this.answers.length - 1)]!;
    process.nextTick(callback, { kind: 'addresses', addresses });
  }
}

class Outcome implements DialOutcome {
  channel: Channel | null = null;
  failure: { reason: Reason; detail: string } | null = null;

  onDialed(channel: Channel): void {
    this.channel = channel;
  }

  onDialFailed(reason: Reason, detail: string): void {
    this.failure = { reason, detail };
  }

  onDialFault(error: unknown): void {
    throw error;
  }
}

const guard = new NetworkGuard({ addresses: ['192.168.7.7'], ports: [8080] }, []);

interface Setting {
  readonly answers?: (readonly string[])[];
  readonly host?: string;
  readonly level?: GuardLevel;
  readonly parent?: Partial<ParentProxy>;
}

async function dial({ answers = [], host = 'app.test', level = 'public', parent }: Setting) {
  const transport = new ScriptedTransport();
  const resolver = new ChangingResolver(answers);
  const network = new Network(transport, resolver);
  network.close();
  const outcome = new Outcome();
  const destination = { host, port: 443, level };
  const dialer =
    parent === undefined
      ? new GuardedDialer(network, guard, destination)
      : new ParentDialer(network, guard, destination, {
          kind: 'http',
          host: '10.1.1.1',
          port: 3128,
          credentials: null,
          trustDns: false,
          ...parent,
        });
  const attempt = dialer.dial(1000, outcome);
  // The dial begins in the next turn; the resolver answers before the one after.
  for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
  return { transport, resolver, outcome, attempt };
}

describe('a guarded dial', () => {
  it('dials the literal that was judged, though the name changes its address meanwhile', async () => {
    const { transport, resolver, outcome } = await dial({ answers: [['8.8.8.8'], ['127.0.0.1']] });
    assert.deepEqual(transport.targets, ['8.8.8.8:443']);
    transport.attempts[0]!.observer.onConnected(new ScriptedChannel());
    assert.notEqual(outcome.channel, null);
    assert.equal(resolver.asked, 1);
  });

  it('leaves out the denied among the addresses of a name', async () => {
    const { transport } = await dial({
      answers: [['10.0.0.1', '8.8.8.8', '::1', '169.254.169.254', '8.8.4.4']],
    });
    assert.deepEqual(transport.targets, ['8.8.8.8:443']);
    transport.attempts[0]!.observer.onConnectFailed('ECONNREFUSED');
    assert.deepEqual(transport.targets, ['8.8.8.8:443', '8.8.4.4:443']);
  });

  for (const host of [
    '127.0.0.1',
    '::1',
    '169.254.169.254',
    '10.0.0.1',
    '2002:7f00:1::',
    '64:ff9b::a00:1',
    '0.0.0.0',
  ]) {
    it(`never dials ${host}`, async () => {
      const { transport, outcome } = await dial({ host });
      assert.deepEqual(transport.targets, []);
      assert.equal(outcome.failure?.reason, 'address-denied');
    });
  }

  it('says which class denied a name', async () => {
    const { outcome } = await dial({ answers: [['169.254.169.254']], level: 'private' });
    assert.deepEqual(outcome.failure, { reason: 'address-denied', detail: 'metadata' });
  });

  it('says nothing more once it is cancelled', async () => {
    const { transport, outcome, attempt } = await dial({ host: '8.8.8.8' });
    attempt.cancel();
    assert(transport.attempts[0]!.isCancelled);
    assert.equal(outcome.failure, null);
  });
});

describe('a dial through a parent proxy', () => {
  async function connected(setting: Setting) {
    const dialled = await dial(setting);
    const channel = new ScriptedChannel();
    dialled.transport.attempts[0]?.observer.onConnected(channel);
    return { ...dialled, channel };
  }

  it('names the judged literal, not the name, to a parent that would resolve it again', async () => {
    const { transport, channel, outcome } = await connected({
      answers: [['10.9.9.9', '8.8.8.8']],
      parent: {},
    });
    assert.deepEqual(transport.targets, ['10.1.1.1:3128']);
    assert.equal(channel.calls[0], 'write:CONNECT 8.8.8.8:443 HTTP/1.1\r\nHost: 8.8.8.8:443\r\n\r\n');
    channel.send('HTTP/1.1 200 Connection established\r\nVia: x\r\n');
    assert.equal(outcome.channel, null);
    channel.send('\r\n');
    assert.equal(outcome.channel, channel);
  });

  it('judges before the parent is asked', async () => {
    const { transport, outcome } = await dial({ answers: [['169.254.169.254']], parent: {} });
    assert.deepEqual(transport.targets, []);
    assert.equal(outcome.failure?.reason, 'address-denied');
  });

  it('leaves names, never literals, to a parent whose DNS is trusted', async () => {
    const { channel } = await connected({ parent: { trustDns: true } });
    assert.match(channel.calls[0]!, /^write:CONNECT app\.test:443 /);
    const { outcome } = await dial({ host: '127.0.0.1', parent: { trustDns: true } });
    assert.equal(outcome.failure?.reason, 'address-denied');
  });

  it('shows its credentials', async () => {
    const credentials = { username: 'me', password: 'p:ä' };
    const { channel } = await connected({ answers: [['8.8.8.8']], parent: { credentials } });
    const header = Buffer.from('me:p:ä').toString('base64');
    assert.match(channel.calls[0]!, new RegExp(`Proxy-Authorization: Basic ${header}\r\n`));
  });

  it('speaks SOCKS5', async () => {
    const { channel, outcome } = await connected({ answers: [['8.8.8.8']], parent: { kind: 'socks5' } });
    channel.send('\x05\x00');
    assert.equal(channel.calls.at(-1), 'write:\x05\x01\x00\x01\x08\x08\x08\x08\x01\xbb');
    channel.send('\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00');
    assert.equal(outcome.channel, channel);
  });

  for (const [what, answer] of [
    ['a refusal', 'HTTP/1.1 403 Forbidden\r\n\r\n'],
    ['no HTTP', 'SSH-2.0-x\r\n\r\n'],
    ['bytes that nobody owns yet', 'HTTP/1.1 200 OK\r\n\r\nhello'],
    ['a head without an end', 'a'.repeat(20_000)],
  ] as const) {
    it(`fails on ${what}`, async () => {
      const { channel, outcome } = await connected({ answers: [['8.8.8.8']], parent: {} });
      channel.send(answer);
      assert.equal(outcome.failure?.reason, 'parent-failed');
      assert(channel.isClosed);
    });
  }

  it('fails when the parent leaves', async () => {
    const { channel, outcome } = await connected({ answers: [['8.8.8.8']], parent: {} });
    channel.end();
    assert.equal(outcome.failure?.reason, 'parent-failed');
  });
});
