/** Fuzz target: the ClientHello reader. Throws when a property of the codec does not hold for `bytes`. */

import assert from 'node:assert/strict';
import { recordHeaderBytes, recordsMax } from '../../src/codec/client-hello-scan.ts';
import { ClientHelloReader } from '../../src/codec/client-hello.ts';
import { bytewise, verdictOf } from '../../src/codec/testing/verdict.ts';
import { randomCuts } from './mutation.ts';

const bytesMax = 2048;
const keptBytesMax = bytesMax + recordHeaderBytes * recordsMax;

export function target(bytes: Uint8Array): void {
  const whole = outcome(bytes, []);
  assert.deepEqual(outcome(bytes, bytewise(bytes.length)), whole, 'bytewise and whole agree');
  assert.deepEqual(outcome(bytes, randomCuts(bytes)), whole, 'any split and whole agree');
}

function outcome(bytes: Uint8Array, cuts: readonly number[]): unknown {
  const reader = new ClientHelloReader(bytesMax);
  let received = 0;
  const verdict = verdictOf(
    (chunk) => {
      const hello = reader.receive(chunk);
      received += chunk.length;
      const kept = reader.buffered;
      assert.ok(kept === undefined || kept.length === received, 'every byte is kept');
      assert.ok(
        hello !== undefined || kept!.buffer.byteLength <= keptBytesMax,
        'memory stays within the limit',
      );
      return hello;
    },
    Buffer.from(bytes),
    cuts,
  );
  const kept = reader.buffered;
  const came = bytes.subarray(0, kept?.length);
  assert.ok(kept === undefined || Buffer.from(kept).equals(came), 'what is kept is what came');
  return verdict.kind === 'answer' ? verdict.answer : verdict;
}
