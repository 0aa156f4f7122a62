/** Each bound of the admin API, reached. */

import assert from 'node:assert/strict';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { test } from 'node:test';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import { lacks } from '../../test/support/tools.ts';
import { Health } from './gen/grpc/health/v1/health_pb.ts';
import { ProxyAdminService } from './gen/portcullis/v1/admin_pb.ts';
import type { MissedEvents, WatchEventsResponse } from './gen/portcullis/v1/admin_pb.ts';
import { Authority, Fixture, TemporaryDirectory, loopback } from './testing/fixture.ts';

const path = '/portcullis.v1.ProxyAdminService/GetStatus';

/** What the server says on a raw connection until it closes it. */
async function converse(fixture: Fixture, bytes: string): Promise<string> {
  const socket = connect(fixture.port, '127.0.0.1');
  let said = '';
  socket.setEncoding('latin1').on('data', (text: string) => (said += text));
  socket.on('error', () => undefined);
  socket.write(bytes);
  await new Promise((resolve) => socket.once('close', resolve));
  return said;
}

function codeOf(error: unknown): Code | undefined {
  return error instanceof ConnectError ? error.code : undefined;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

test('message size', async () => {
  await using fixture = await Fixture.start(loopback, { messageBytesMax: 1000 });
  const baseUrl = `http://${fixture.server.address}`;
  for (const transport of [
    createGrpcTransport({ baseUrl }),
    createConnectTransport({ baseUrl, httpVersion: '1.1' }),
  ]) {
    const client = createClient(ProxyAdminService, transport);
    const call = client.removeListener({ listenerAddr: 'x'.repeat(1000) });
    await assert.rejects(call, (error) => codeOf(error) === Code.ResourceExhausted);
  }
});

test('header size', async () => {
  await using fixture = await Fixture.start(loopback, { headerBytesMax: 4096 });
  const long = `POST ${path} HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(5000)}\r\n\r\n`;
  assert.match(await converse(fixture, long), /^HTTP\/1.1 431 /);
  const session = connectHttp2(`http://${fixture.server.address}`);
  const stream = session.request({ ':method': 'POST', ':path': path, x: 'x'.repeat(5000) });
  stream.on('error', () => undefined);
  let answered = false;
  stream.once('response', ({ ':status': status }) => (answered = status === 200));
  await new Promise((resolve) => stream.once('close', resolve));
  assert.equal(answered, false);
  session.destroy();
});

test('connections at once', async () => {
  await using fixture = await Fixture.start(loopback, { connectionsMax: 2 });
  const held = [connect(fixture.port, '127.0.0.1'), connect(fixture.port, '127.0.0.1')];
  await Promise.all(held.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
  assert.equal(await converse(fixture, `POST ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`), '');
  for (const socket of held) socket.destroy();
  await until(() => fixture.logLines.some((line) => line.includes('connections limit')));
});

test('streams at once', async () => {
  await using fixture = await Fixture.start(loopback, { streamsMax: 3 });
  const session = connectHttp2(`http://${fixture.server.address}`);
  await new Promise((resolve) => session.once('remoteSettings', resolve));
  assert.equal(session.remoteSettings.maxConcurrentStreams, 3);
  session.destroy();
});

test('time to the first bytes, to the head, to the whole request, and without one', async () => {
  const slow = { handshakeTimeoutMs: 30, headersTimeoutMs: 40, requestTimeoutMs: 60, idleTimeoutMs: 50 };
  await using fixture = await Fixture.start(loopback, slow);
  assert.equal(await converse(fixture, 'PRI'), '', 'neither HTTP/2 nor HTTP/1.1 yet');
  assert.match(await converse(fixture, `POST ${path} HTTP/1.1\r\nHost:`), /^HTTP\/1.1 408 /);
  const half = `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{`;
  await converse(fixture, half);
  const whole = half.replace('9', '2') + '}';
  assert.match(await converse(fixture, whole), /^HTTP\/1.1 200 /, 'and then closed as idle');
  const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0';
  await converse(fixture, preface);
});

test('time to the whole of an HTTP/2 request', async () => {
  await using fixture = await Fixture.start(loopback, { headersTimeoutMs: 50, requestTimeoutMs: 50 });
  const session = connectHttp2(`http://${fixture.server.address}`);
  const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc' };
  const stream = session.request(headers);
  stream.on('error', () => undefined).resume();
  await new Promise((resolve) => stream.once('close', resolve));
  session.destroy();
});

test('time to a TLS handshake', { skip: lacks('openssl') }, async () => {
  using directory = new TemporaryDirectory();
  const { cert, key } = new Authority(directory, 'ca').issue('server', '/CN=localhost');
  const settings = { ...loopback, tlsCert: cert, tlsKey: key };
  await using fixture = await Fixture.start(settings, { handshakeTimeoutMs: 30 });
  assert.equal(await converse(fixture, '\x16\x03\x01'), '');
});

test('a quiet watch outlives the idle timeout of its connection', async () => {
  await using fixture = await Fixture.start(loopback, { idleTimeoutMs: 30 });
  const client = createClient(
    ProxyAdminService,
    createGrpcTransport({ baseUrl: `http://${fixture.server.address}` }),
  );
  const events = client.watchEvents({})[Symbol.asyncIterator]();
  const next = events.next();
  await new Promise((resolve) => setTimeout(resolve, 150));
  fixture.control.emit({ kind: 'missed', count: 7 });
  const { event } = (await next).value as WatchEventsResponse;
  assert.deepEqual([event.case, (event.value as MissedEvents).count], ['missed', 7n]);
});

test('watchers at once', async () => {
  await using fixture = await Fixture.start(loopback, { watchersMax: 2, healthIntervalMs: 5 });
  const transport = createGrpcTransport({ baseUrl: `http://${fixture.server.address}` });
  const client = createClient(ProxyAdminService, transport);
  const leave = new AbortController();
  const open = (): Promise<unknown> =>
    client.watchEvents({}, { signal: leave.signal })[Symbol.asyncIterator]().next();
  const held = [open(), open()].map((each) => each.catch(() => undefined));
  await until(() => fixture.control.watcherCount === 2);
  await assert.rejects(open(), (error) => codeOf(error) === Code.ResourceExhausted);
  leave.abort();
  await Promise.all(held);
  await until(() => fixture.control.watcherCount === 0);

  const health = createClient(Health, transport);
  const leaveHealth = new AbortController();
  const watchHealth = (): Promise<unknown> =>
    health.watch({}, { signal: leaveHealth.signal })[Symbol.asyncIterator]().next();
  await Promise.all([watchHealth(), watchHealth()]);
  await assert.rejects(watchHealth(), (error) => codeOf(error) === Code.ResourceExhausted);
  leaveHealth.abort();
});

test('events waiting for a watcher that does not read', async () => {
  await using fixture = await Fixture.start(loopback, { eventsQueuedMax: 10 });
  const session = connectHttp2(`http://${fixture.server.address}`);
  const headers = { ':method': 'POST', ':path': path.replace('GetStatus', 'WatchEvents') };
  const stream = session.request({ ...headers, 'content-type': 'application/connect+json' });
  stream.end(Buffer.from('\0\0\0\0\x02{}', 'latin1'));
  await until(() => fixture.control.watcherCount === 1);
  const changes = ['x'.repeat(100_000)];
  for (let version = 1; version <= 100; version++) {
    fixture.control.emit({ kind: 'change', at: new Date(), version, actor: 'unix', action: 'x', changes });
    await new Promise((resolve) => setImmediate(resolve));
  }
  let received = '';
  stream.setEncoding('latin1').on('data', (text: string) => (received += text));
  await until(() => received.includes('"missed"'));
  const counted = Number(/"missed":\{"count":"(\d+)"/.exec(received)?.[1]);
  assert.ok(counted > 50, `${counted} of 100 events were missed`);
  session.destroy();
});

test('a deadline that is too long', async () => {
  await using fixture = await Fixture.start(loopback, { deadlineMsMax: 1000 });
  const transport = createGrpcTransport({ baseUrl: `http://${fixture.server.address}` });
  const call = createClient(ProxyAdminService, transport).getStatus({}, { timeoutMs: 2000 });
  await assert.rejects(call, (error) => codeOf(error) === Code.InvalidArgument);
});
