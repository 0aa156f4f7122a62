import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browserHello, helloMessage, records } from '../codec/testing/client-hello-builder.ts';
import { encodeProxyV1 } from '../codec/proxy-protocol.ts';
import { SharedCounters } from '../core/shared-counters.ts';
import { processSlot, SharedGauges } from '../core/shared-gauges.ts';
import { Firewall } from '../firewall/firewall.ts';
import { httpDefaults } from '../model/http-settings.ts';
import { listenerDefaults } from '../model/settings.ts';
import type { ListenerSettings, TrafficSettings } from '../model/settings.ts';
import { buildSnapshot } from '../model/snapshot.ts';
import { Network } from '../net/network.ts';
import { Resolver } from '../net/resolver.ts';
import { ScriptedChannel, ScriptedTransport } from '../net/testing/scripted-channel.ts';
import { ConnectionLog } from '../telemetry/connection-log.ts';
import { createLogger } from '../telemetry/logger.ts';
import { SharedMetrics } from '../telemetry/metrics.ts';
import { ConnectionMetrics } from '../telemetry/traffic-metrics.ts';
import { refusal, type Connection } from './connection.ts';
import { Gate, type GateHandler } from './gate.ts';

const listenerSlot = 1;
const hello = records(helloMessage(browserHello('app.example.com')));

interface Line {
  readonly reason?: string;
  readonly verdict?: string;
  readonly rule?: string;
  readonly client?: string;
  readonly peer?: string;
  readonly sni?: string | null;
  readonly err?: { readonly message: string };
}

/** A gate with one listener, whose handler keeps what it gets. */
function makeGate(changes: Partial<ListenerSettings> = {}, blockedCidrs: readonly string[] = []) {
  const traffic: TrafficSettings = {
    listeners: [
      {
        ...listenerDefaults,
        name: ':443',
        address: { host: '', port: 443 },
        routes: [],
        ...changes,
      },
    ],
    firewall: {
      geoipDatabase: null,
      blockedIps: [],
      blockedCidrs,
      blockedCountries: [],
      rateLimitExempt: [],
      rateLimit: null,
    },
    egress: null,
  };
  const lines: Line[] = [];
  const output = { write: (line: string) => void lines.push(JSON.parse(line) as Line) };
  const network = new Network(new ScriptedTransport(), new Resolver());
  network.close();
  const gauges = SharedGauges.create(1);
  const served: { connection: Connection; opening: string }[] = [];
  const handler: GateHandler = {
    serveTls: (connection, _hello, opening) =>
      void served.push({ connection, opening: Buffer.from(opening).toString('hex') }),
    servePlain: (connection, opening) =>
      void served.push({ connection, opening: Buffer.from(opening).toString('hex') }),
  };
  const snapshot = buildSnapshot(1, traffic, { hashSeed: 7 });
  const gate = new Gate(
    {
      network,
      gauges,
      counters: SharedCounters.create(1),
      metrics: new ConnectionMetrics(SharedMetrics.create(1)),
      log: new ConnectionLog(output, 'debug'),
      logger: createLogger({ level: 'debug', output }),
      server: {
        workers: 1,
        shutdownTimeoutMs: 1_000,
        connectTimeoutMs: 1_000,
        idleTimeoutMs: 1_000,
        clientHelloTimeoutMs: 1_000,
        maxConnections: 0,
        sockets: 'public',
      },
      http: httpDefaults,
      connectionsMax: 3,
      idPrefix: 't-',
      slotOf: () => listenerSlot,
    },
    handler,
    snapshot,
    new Firewall(snapshot.firewall, null),
  );
  const accept = (peer?: string): ScriptedChannel => {
    const channel = new ScriptedChannel(peer);
    gate.accept(':443', channel);
    return channel;
  };
  const isEmpty = (): boolean =>
    gate.live === 0 && gauges.value(processSlot) === 0 && gauges.value(listenerSlot) === 0;
  return { gate, handler, network, lines, served, accept, isEmpty };
}

test('hands over the hello with every byte read so far, however it was cut', () => {
  const { served, accept } = makeGate();
  accept().send(hello);
  const trickled = accept();
  for (const byte of hello) trickled.send(Uint8Array.of(byte));
  const expected = Buffer.from(hello).toString('hex');
  assert.deepEqual(
    served.map(({ opening }) => opening),
    [expected, expected],
  );
  assert.equal(served[0]!.connection.serverName, 'app.example.com');
});

test('resets what is not TLS, says why, and gives the places back', () => {
  const { lines, accept, isEmpty } = makeGate();
  const channel = accept();
  channel.send('GET / HTTP/1.1\r\n');
  assert.equal(channel.calls.at(-1), 'reset');
  assert.equal(lines[0]!.reason, 'not-tls');
  assert.ok(isEmpty());
});

test('a hello that trickles gets no more time than a silent client', () => {
  const { network, lines, accept, isEmpty } = makeGate();
  const channel = accept();
  for (let step = 0; step < 12; step++) {
    if (!channel.isClosed) channel.send(Uint8Array.of(hello[step]!));
    network.timers.advance((network.nowMs += 100));
  }
  assert.equal(channel.calls.at(-1), 'reset');
  assert.equal(lines[0]!.reason, 'hello-timeout');
  assert.ok(isEmpty());
});

test('a blocked peer is refused before a byte is read', () => {
  const { lines, accept, isEmpty } = makeGate({}, ['192.0.2.0/24']);
  const channel = accept('192.0.2.77');
  assert.deepEqual(channel.calls, ['reset']);
  assert.deepEqual([lines[0]!.reason, lines[0]!.rule], ['blocked-cidr', 'cidr/-/192.0.2.0/24']);
  assert.ok(isEmpty());
});

test('behind a PROXY header the client is judged, and named in the log beside the peer', () => {
  const proxied = makeGate({ proxyProtocol: true, proxyProtocolFrom: ['10.0.0.0/8'] }, ['192.0.2.0/24']);
  const header = encodeProxyV1({ address: '192.0.2.9', port: 5_000 }, { address: '198.51.100.1', port: 443 });
  const channel = proxied.accept('10.1.1.1');
  channel.send(Buffer.concat([header, hello]));
  assert.equal(channel.calls.at(-1), 'reset');
  const [line] = proxied.lines;
  assert.deepEqual(
    [line!.reason, line!.client, line!.peer],
    ['blocked-cidr', '192.0.2.9:5000', '10.1.1.1:40000'],
  );
  assert.ok(proxied.isEmpty());
});

test('a PROXY header is demanded, and only of those who may send one', () => {
  const { lines, served, accept } = makeGate({ proxyProtocol: true, proxyProtocolFrom: ['10.0.0.0/8'] });
  accept('10.1.1.1').send(hello);
  accept('203.0.113.5');
  assert.deepEqual(
    lines.map(({ reason }) => reason),
    ['proxy-header-missing', 'proxy-header-untrusted'],
  );
  assert.equal(served.length, 0);
});

test('at a limit a connection is closed at once, and the next one is served when a place is free', () => {
  const { gate, lines, served, accept } = makeGate({ maxConnections: 1 });
  accept().send(hello);
  const turnedAway = accept();
  assert.deepEqual(turnedAway.calls, ['close']);
  assert.equal(lines[0]!.reason, 'listener-limit');
  gate.end(served[0]!.connection, refusal('no-route', null));
  accept().send(hello);
  assert.equal(served.length, 2);
});

test('the limit in all holds over listeners without a limit of their own', () => {
  const { lines, accept } = makeGate();
  for (let index = 0; index < 4; index++) accept().send(hello);
  assert.deepEqual(
    lines.map(({ reason }) => reason),
    ['total-limit'],
  );
});

test('a handler that throws loses its one connection, with its stack in the log', () => {
  const { handler, lines, accept, served, isEmpty } = makeGate();
  handler.serveTls = () => {
    throw new Error('planted');
  };
  const channel = accept();
  channel.send(hello);
  assert.equal(channel.calls.at(-1), 'reset');
  assert.equal(lines[0]!.err?.message, 'planted');
  assert.deepEqual([lines[1]!.reason, lines[1]!.verdict], ['internal-error', 'failed']);
  assert.ok(isEmpty());
  handler.serveTls = (connection, _hello, opening) =>
    void served.push({ connection, opening: Buffer.from(opening).toString('hex') });
  accept().send(hello);
  assert.equal(served.length, 1, 'the next connection is served');
});

test('an owner that fails even to end its connection is ended for it', () => {
  const { gate, lines, served, accept, isEmpty } = makeGate();
  const channel = accept();
  channel.send(hello);
  const { connection } = served[0]!;
  connection.owner = {
    abort: () => {
      throw new Error('planted twice');
    },
  };
  gate.fail(connection, new Error('planted'));
  assert.equal(channel.calls.at(-1), 'reset');
  assert.deepEqual(
    lines.map(({ err, reason }) => err?.message ?? reason),
    ['planted', 'planted twice', 'internal-error'],
  );
  assert.ok(isEmpty());
});
