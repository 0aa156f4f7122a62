/** The codec properties of the ClientHello. The independent implementation: client-hello.oracle.test.ts. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { HostBytes } from '../core/bytes.ts';
import { normaliseHostname } from '../core/hostname.ts';
import { recordHeaderBytes, recordsMax } from './client-hello-scan.ts';
import { ClientHelloReader } from './client-hello.ts';
import { capturedHellos } from './testing/captured-hellos.ts';
import * as build from './testing/client-hello-builder.ts';
import { bytewise, hostBytes, verdictOf } from './testing/verdict.ts';

const bytesMax = 4096;
const keptBytesMax = bytesMax + recordHeaderBytes * recordsMax;

const label = fc.stringMatching(/^[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,8}[a-zA-Z_])?$/);
const host = fc
  .array(label, { minLength: 1, maxLength: 4 })
  .map((labels) => labels.join('.'))
  .filter((name) => normaliseHostname(name) !== undefined);
const protocol = fc.oneof(
  fc.constantFrom('h2', 'http/1.1'),
  fc.string({ unit: 'binary-ascii', minLength: 1 }),
);
const greasePair = fc.integer({ min: 0, max: 15 }).map((high) => ((high << 4) | 0x0a) * 0x0101);
const isGreaseText = (text: string) =>
  text.length === 2 && text[0] === text[1] && (text.charCodeAt(0) & 15) === 10;

const facts = fc.record({
  serverName: fc.option(host, { nil: undefined }),
  alpn: fc.array(
    protocol.filter((text) => !isGreaseText(text)),
    { maxLength: 5 },
  ),
  encryptedClientHello: fc.boolean(),
  versionMax: fc.constantFrom(0x0301, 0x0302, 0x0303, 0x0304),
});
const surroundings = fc.record({
  grease: greasePair,
  keyShareBytes: fc.integer({ min: 1, max: 1300 }),
  sessionIdLength: fc.integer({ min: 0, max: 32 }),
  recordLengths: fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 8 }),
  trailing: fc.uint8Array({ maxLength: 100 }),
});
const sent = fc.tuple(facts, surroundings);
const cuts = fc.array(fc.integer({ min: 1, max: 2000 }), { maxLength: 6 });

const anyBytes = fc.oneof(
  sent.map(([hello, around]) => encode(hello, around)),
  fc
    .tuple(
      fc.oneof(
        sent.map(([hello, around]) => encode(hello, around)),
        fc.constantFrom(...capturedHellos.map((captured) => Buffer.from(captured.hex, 'hex'))),
      ),
      fc.array(fc.tuple(fc.nat(2000), fc.nat(255)), { minLength: 1, maxLength: 3 }),
    )
    .map(([bytes, changes]) => changed(bytes, changes)),
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.concat([Buffer.from([22, 3, 1]), bytes])),
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
);

describe('any bytes', () => {
  it('give a hello, a ProtocolError or a wish for more, however they are cut, within the limit', () => {
    fc.assert(
      fc.property(anyBytes, cuts, (bytes, cutsAt) => {
        const whole = outcome(bytes, []);
        assert.deepEqual(outcome(bytes, bytewise(bytes.length)), whole);
        assert.deepEqual(outcome(bytes, cutsAt), whole);
      }),
      { numRuns: 600 },
    );
  });
});

describe('an encoded hello', () => {
  it('is decoded to what it was encoded from, in whatever records', () => {
    fc.assert(
      fc.property(sent, ([hello, around]) => {
        const decoded = new ClientHelloReader().receive(hostBytes(encode(hello, around)));
        assert.deepEqual(decoded, { ...hello, serverName: hello.serverName?.toLowerCase() });
      }),
      { numRuns: 300 },
    );
  });
});

function encode(
  hello: {
    serverName: string | undefined;
    alpn: string[];
    encryptedClientHello: boolean;
    versionMax: number;
  },
  around: {
    grease: number;
    keyShareBytes: number;
    sessionIdLength: number;
    recordLengths: number[];
    trailing: Uint8Array;
  },
): Buffer {
  const grease = String.fromCharCode(around.grease & 255).repeat(2);
  const extensions: build.HelloExtension[] = [{ type: around.grease, data: new Uint8Array(1) }];
  if (hello.serverName !== undefined) extensions.push(build.serverNameExtension(hello.serverName));
  if (hello.alpn.length > 0) extensions.push(build.alpnExtension([grease, ...hello.alpn]));
  extensions.push(build.keyShareExtension(around.grease, around.keyShareBytes));
  extensions.push(build.supportedVersionsExtension([around.grease, hello.versionMax, 0x0300]));
  if (hello.encryptedClientHello) extensions.push(build.echOuterExtension(100));
  const message = build.helloMessage({
    sessionId: new Uint8Array(around.sessionIdLength),
    cipherSuites: [around.grease, 0x1301],
    extensions,
  });
  const trailing = around.trailing.length > 0 ? build.record(around.trailing, 23) : around.trailing;
  return Buffer.concat([build.records(message, around.recordLengths), trailing]);
}

function outcome(bytes: Buffer, cutsAt: readonly number[]): unknown {
  const reader = new ClientHelloReader(bytesMax);
  let received = 0;
  const receive = (chunk: HostBytes) => {
    const hello = reader.receive(chunk);
    received += chunk.length;
    const kept = reader.buffered;
    if (kept === undefined) return hello;
    assert.deepEqual(Buffer.from(kept), bytes.subarray(0, received), 'what is kept is what was received');
    assert.ok(hello !== undefined || kept.buffer.byteLength <= keptBytesMax, 'memory stays within the limit');
    return hello;
  };
  const verdict = verdictOf(receive, Buffer.from(bytes), cutsAt);
  return verdict.kind === 'answer' ? verdict.answer : verdict;
}

function changed(bytes: Uint8Array, changes: readonly (readonly [number, number])[]): Buffer {
  const copy = Buffer.from(bytes);
  for (const [at, value] of changes) copy[at % copy.length] = value;
  return copy;
}
