import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { TimerEntry, TimerWheel, tickMs } from './timer-wheel.ts';

class Alarm extends TimerEntry {
  readonly name: number;
  readonly fired: [name: number, nowMs: number][];
  onExpire: (() => void) | undefined;

  constructor(name: number, fired: [number, number][]) {
    super();
    this.name = name;
    this.fired = fired;
  }

  override expire(nowMs: number): void {
    this.fired.push([this.name, nowMs]);
    this.onExpire?.();
  }
}

describe('TimerWheel', () => {
  test('fires each deadline once, never early and at most a tick late', () => {
    const fired: [number, number][] = [];
    const wheel = new TimerWheel(1_000);
    const alarm = new Alarm(1, fired);
    wheel.arm(alarm, 1_250);
    for (let nowMs = 1_000; nowMs <= 3_000; nowMs += 10) wheel.advance(nowMs);
    assert.deepEqual(fired, [[1, 1_300]]);
    assert.deepEqual([wheel.count, alarm.deadlineMs], [0, Infinity]);
  });

  test('a deadline that is moved later while armed fires at the later time', () => {
    const fired: [number, number][] = [];
    const wheel = new TimerWheel(0);
    const alarm = new Alarm(1, fired);
    wheel.arm(alarm, 200);
    for (let nowMs = 0; nowMs <= 100_000; nowMs += tickMs) {
      if (nowMs < 90_000) alarm.deadlineMs = nowMs + 200;
      wheel.advance(nowMs);
    }
    assert.equal(fired.length, 1);
    assert.ok(fired[0]![1] >= 90_100 && fired[0]![1] <= 90_300 + tickMs);
  });

  test('a deadline in the past fires at the next tick', () => {
    const fired: [number, number][] = [];
    const wheel = new TimerWheel(5_000);
    wheel.arm(new Alarm(1, fired), 10);
    wheel.advance(5_000 + tickMs);
    assert.equal(fired.length, 1);
  });

  test('an entry may arm itself and disarm others while it expires', () => {
    const fired: [number, number][] = [];
    const wheel = new TimerWheel(0);
    const [first, second] = [new Alarm(1, fired), new Alarm(2, fired)];
    first.onExpire = () => {
      wheel.disarm(second);
      if (fired.length < 3) wheel.arm(first, 0);
    };
    wheel.arm(first, 50);
    wheel.arm(second, 50);
    for (let nowMs = 0; nowMs < 2_000; nowMs += tickMs) wheel.advance(nowMs);
    assert.deepEqual(
      fired.map(([name]) => name),
      [1, 1, 1],
    );
    assert.equal(wheel.count, 0);
  });

  test('agrees with a list of deadlines over any sequence of calls and stalls', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('arm' as const), name: fc.nat(9), afterMs: fc.nat(120_000) }),
      fc.record({ kind: fc.constant('postpone' as const), name: fc.nat(9), byMs: fc.nat(120_000) }),
      fc.record({ kind: fc.constant('disarm' as const), name: fc.nat(9) }),
      fc.record({ kind: fc.constant('wait' as const), ms: fc.oneof(fc.nat(300), fc.nat(200_000)) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(1e9), (steps, startMs) => {
        const fired: [number, number][] = [];
        const wheel = new TimerWheel(startMs);
        const alarms = Array.from({ length: 10 }, (_, name) => new Alarm(name, fired));
        const due = new Map<number, number>();
        let nowMs = startMs;
        for (const each of steps) {
          if (each.kind === 'arm') {
            wheel.arm(alarms[each.name]!, nowMs + each.afterMs);
            due.set(each.name, nowMs + each.afterMs);
          } else if (each.kind === 'postpone' && due.has(each.name)) {
            const deadlineMs = due.get(each.name)! + each.byMs;
            alarms[each.name]!.deadlineMs = deadlineMs;
            due.set(each.name, deadlineMs);
          } else if (each.kind === 'disarm') {
            wheel.disarm(alarms[each.name]!);
            due.delete(each.name);
          } else if (each.kind === 'wait') {
            nowMs += each.ms;
            wheel.advance(nowMs);
            for (const [name, atMs] of fired.splice(0)) {
              assert.ok(due.has(name) && due.get(name)! <= atMs, 'fired early, twice or disarmed');
              due.delete(name);
            }
            for (const deadlineMs of due.values()) assert.ok(deadlineMs > nowMs - tickMs, 'overlooked');
          }
          assert.equal(wheel.count, due.size);
        }
      }),
    );
  });
});
