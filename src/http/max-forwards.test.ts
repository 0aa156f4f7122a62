import assert from 'node:assert/strict';
import { test } from 'node:test';
import { spendForward } from './max-forwards.ts';
import { requestHead } from './testing/scripted-streams.ts';

test('one forward is spent by TRACE and OPTIONS alone, and none left ends the way', () => {
  const spend = (method: string, value: string) => {
    const head = requestHead({ method, fields: ['max-forwards', value] });
    return [spendForward(head)?.status, head.fields[1]];
  };
  assert.deepEqual(spend('OPTIONS', '5'), [undefined, '4']);
  assert.deepEqual(spend('TRACE', '1'), [undefined, '0']);
  assert.deepEqual(spend('GET', '0'), [undefined, '0']);
  assert.deepEqual(spend('OPTIONS', '0'), [204, '0']);
  assert.deepEqual(spend('TRACE', '0'), [405, '0']);
  assert.deepEqual(spend('TRACE', '1, 2'), [400, '1, 2']);
});
