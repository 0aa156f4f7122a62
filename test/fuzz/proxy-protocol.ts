/** Fuzz target: the PROXY header reader, and the writer on all that it has read. Throws when a property fails. */

import assert from 'node:assert/strict';
import {
  encodeProxyV1,
  encodeProxyV2,
  ProxyHeaderReader,
  type ProxyHeader,
} from '../../src/codec/proxy-protocol.ts';
import { bytewise, hostBytes, verdictOf, type Verdict } from '../../src/codec/testing/verdict.ts';
import { randomCuts } from './mutation.ts';

const bytesMax = 1024;

interface Read {
  readonly header: ProxyHeader;
  readonly length: number;
}

export function target(bytes: Uint8Array): void {
  const whole = outcome(bytes, []);
  assert.deepEqual(outcome(bytes, bytewise(bytes.length)), whole, 'bytewise and whole agree');
  assert.deepEqual(outcome(bytes, randomCuts(bytes)), whole, 'any split and whole agree');
  if ('header' in whole) writesBack(whole.header);
}

function outcome(bytes: Uint8Array, cuts: readonly number[]): Read | Verdict<never> {
  const reader = new ProxyHeaderReader(bytesMax);
  const verdict = verdictOf((chunk) => reader.receive(chunk), Buffer.from(bytes), cuts);
  if (verdict.kind !== 'answer') return verdict;
  const length = verdict.chunkStart + verdict.answer.consumed;
  assert.ok(length <= bytesMax && length <= bytes.length, 'a header stays within its limit and its bytes');
  return { header: verdict.answer.header, length };
}

/** What was read, written again and read again, is the same. */
function writesBack(header: ProxyHeader): void {
  const { source, destination } = header;
  const tlvs = header.tlvs.filter((tlv) => tlv.type !== 3);
  const binary = decode(encodeProxyV2(source, destination, { tlvs }));
  assert.deepEqual(binary, { version: 2, command: 'proxy', source, destination, tlvs });
  const text = decode(encodeProxyV1(source, destination));
  assert.deepEqual(text, { version: 1, command: 'proxy', source, destination, tlvs: [] });
}

function decode(bytes: Uint8Array): ProxyHeader | undefined {
  return new ProxyHeaderReader().receive(hostBytes(Buffer.from(bytes)))?.header;
}
