import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ControlEvent } from './control.ts';
import { EventQueue } from './event-queue.ts';
import { collect } from './testing/fixture.ts';

function change(version: number): ControlEvent {
  return { kind: 'change', at: new Date(0), version, actor: 'unix', action: 'AddRoute', changes: [] };
}

async function drain(queue: EventQueue): Promise<ControlEvent[]> {
  queue.end();
  return collect(queue);
}

test('tells a slow watcher how many events it missed, where they would have been', async () => {
  const queue = new EventQueue(3);
  for (let version = 1; version <= 5; version++) queue.push(change(version));
  const reader = queue[Symbol.asyncIterator]();
  const first = [await reader.next(), await reader.next()].map(({ value }) => value);
  assert.deepEqual(first, [change(1), change(2)]);
  queue.push(change(6));
  assert.deepEqual(await drain(queue), [change(3), { kind: 'missed', count: 2 }, change(6)]);
});

test('reports what was missed when nothing follows, and delivers what is queued at the end', async () => {
  const queue = new EventQueue(2);
  for (let version = 1; version <= 4; version++) queue.push(change(version));
  assert.deepEqual(await drain(queue), [change(1), change(2), { kind: 'missed', count: 2 }]);
});

test('wakes a waiting watcher', async () => {
  const queue = new EventQueue(2);
  const next = queue[Symbol.asyncIterator]().next();
  queue.push(change(1));
  assert.deepEqual((await next).value, change(1));
});

test('every event is delivered or counted, in order', async () => {
  const step = fc.oneof(fc.constant('push' as const), fc.constant('read' as const));
  const property = fc.asyncProperty(
    fc.array(step),
    fc.integer({ min: 2, max: 5 }),
    async (steps, lengthMax) => {
      const queue = new EventQueue(lengthMax);
      const reader = queue[Symbol.asyncIterator]();
      const read: ControlEvent[] = [];
      let pushed = 0;
      let position = 0;
      const check = (event: ControlEvent): void => {
        read.push(event);
        if (event.kind === 'missed') position += event.count;
        else assert.deepEqual(event, change(position++));
      };
      for (const each of steps) {
        if (each === 'push') queue.push(change(pushed++));
        else if (position < pushed) check((await reader.next()).value as ControlEvent);
      }
      for (const event of await drain(queue)) check(event);
      assert.equal(position, pushed);
    },
  );
  await fc.assert(property);
});
