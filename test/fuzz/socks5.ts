/** Fuzz target: SOCKS5 in both roles. Throws when a property of the codec does not hold for `bytes`. */

import assert from 'node:assert/strict';
import { encodeRequest, Socks5Client, Socks5Server, type Socks5Request } from '../../src/codec/socks5.ts';
import { bytewise } from '../../src/codec/testing/verdict.ts';
import { ProtocolError } from '../../src/core/errors.ts';
import { randomCuts } from './mutation.ts';

export function target(bytes: Uint8Array): void {
  for (const read of [serve('none'), serve('required'), ask(null), ask({ username: 'u', password: 'p' })]) {
    const whole = read(bytes, []);
    assert.deepEqual(read(bytes, bytewise(bytes.length)), whole, 'bytewise and whole agree');
    assert.deepEqual(read(bytes, randomCuts(bytes)), whole, 'any split and whole agree');
  }
}

type Read = (bytes: Uint8Array, cuts: readonly number[]) => unknown[];

function serve(authentication: 'none' | 'required'): Read {
  return (bytes, cuts) => {
    const server = new Socks5Server(authentication);
    const told: unknown[] = [];
    const sink = {
      onSend: (sent: Uint8Array) => void told.push([...sent]),
      onCredentials: (username: string, password: string) => told.push(username, password) > 0,
      onRequest: (request: Socks5Request) => {
        told.push(request);
        writesBack(request);
      },
      onRefused: () => void told.push('refused'),
    };
    return feed(bytes, cuts, told, (chunk) => server.receive(chunk, sink));
  };
}

function ask(credentials: { username: string; password: string } | null): Read {
  return (bytes, cuts) => {
    const client = new Socks5Client({ host: 'example.com', port: 443, credentials });
    const told: unknown[] = [];
    const sink = {
      onSend: (sent: Uint8Array) => void told.push([...sent]),
      onReply: (reply: number) => void told.push(reply),
    };
    return feed(bytes, cuts, told, (chunk) => client.receive(chunk, sink));
  };
}

/** What was told, and how much was taken in all. */
function feed(
  bytes: Uint8Array,
  cuts: readonly number[],
  told: unknown[],
  receive: (chunk: Uint8Array) => number,
): unknown[] {
  let taken = 0;
  const ends = [...cuts, bytes.length].sort((a, b) => a - b);
  try {
    for (let start = 0; ends.length > 0;) {
      const end = ends.shift()!;
      const count = receive(bytes.slice(start, end));
      taken += count;
      if (count < end - start) break;
      start = end;
    }
    return [...told, taken];
  } catch (error) {
    assert(error instanceof ProtocolError, String(error));
    return [...told, error.code];
  }
}

/** What was read, written again and read again, is the same. */
function writesBack(request: Socks5Request): void {
  const server = new Socks5Server('none');
  let again: Socks5Request | undefined;
  const sink = {
    onSend: () => {},
    onCredentials: () => false,
    onRequest: (each: Socks5Request) => void (again = each),
    onRefused: () => {},
  };
  server.receive(Uint8Array.of(5, 1, 0), sink);
  server.receive(encodeRequest(request.host, request.port, request.command), sink);
  assert.deepEqual(again, { ...request, host: again!.host });
}
