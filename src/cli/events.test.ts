import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { WatchEventsResponseSchema } from '../admin/gen/portcullis/v1/admin_pb.ts';
import { formatEvent } from './events.ts';

const at = timestampFromDate(new Date('2026-11-21T10:02:11.500Z'));

test('a connection is a line: when, verdict, way, bytes', () => {
  const value = {
    at,
    client: '192.0.2.1:50312',
    listenerAddr: ':443',
    sni: 'app.example.com',
    backend: '10.0.0.5:8443',
    bytesIn: 465n,
    bytesOut: 6625n,
    duration: { seconds: 1n, nanos: 8_000_000 },
    verdict: 'served',
    reason: 'client-closed',
  };
  assert.deepEqual(formatEvent(create(WatchEventsResponseSchema, { event: { case: 'connection', value } })), [
    '2026-11-21T10:02:11Z served client-closed 192.0.2.1:50312 → :443 app.example.com → 10.0.0.5:8443 in=465 out=6625 1008ms',
  ]);
});

test('a refused connection names the rule, and neither backend nor bytes', () => {
  const value = {
    at,
    client: '[2001:db8::1]:1',
    listenerAddr: ':443',
    verdict: 'refused',
    reason: 'blocked-ip',
    ruleId: 'ip/-/2001:db8::1',
  };
  assert.deepEqual(formatEvent(create(WatchEventsResponseSchema, { event: { case: 'connection', value } })), [
    '2026-11-21T10:02:11Z refused blocked-ip [2001:db8::1]:1 → :443 by ip/-/2001:db8::1 0ms',
  ]);
});

test('a change has a line for each difference, up to twenty', () => {
  const event = (count: number) => {
    const changes = Array.from({ length: count }, (_, index) => `+ ip/-/192.0.2.${index}`);
    const value = { at, version: 7n, actor: 'unix', action: 'ApplyConfig', changes };
    return formatEvent(create(WatchEventsResponseSchema, { event: { case: 'change', value } }));
  };
  assert.equal(event(20).length, 21);
  assert.deepEqual(
    [event(1)[0], event(200).length, event(200).at(-1)],
    ['2026-11-21T10:02:11Z version 7: ApplyConfig by unix', 21, '  … and 181 more; --json shows them all'],
  );
});
