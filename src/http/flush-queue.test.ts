/** The queue that has sessions write once a turn. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FlushQueue } from './flush-queue.ts';

describe('the flush queue', () => {
  it('calls everybody once, behind the reads of this turn', async () => {
    const queue = new FlushQueue();
    const calls: string[] = [];
    queue.add({ flush: () => calls.push('a') });
    queue.add({ flush: () => calls.push('b') });
    calls.push('read');
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(calls, ['read', 'a', 'b']);
    assert.equal(queue.isWaiting, false);
  });

  it('calls who is added by a call in the next turn, so that a turn ends', async () => {
    const queue = new FlushQueue();
    let count = 0;
    const again = {
      flush(): void {
        if (++count < 3) queue.add(again);
      },
    };
    queue.add(again);
    queue.run();
    assert.deepEqual([count, queue.isWaiting], [1, true]);
    for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(count, 3);
  });
});
