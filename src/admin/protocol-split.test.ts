import assert from 'node:assert/strict';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import { splitProtocol } from './protocol-split.ts';

/** What a server decides about bytes that arrive one by one, and what it can still read of them. */
async function decide(bytes: string): Promise<readonly [string, string]> {
  const decided = Promise.withResolvers<readonly [string, Socket]>();
  const server = createServer((socket) => {
    splitProtocol(socket, 5000, (version) => decided.resolve([version, socket]));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1').setNoDelay(true);
  for (const byte of bytes) {
    client.write(byte);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  client.end();
  const [version, socket] = await decided.promise;
  let read = '';
  for await (const chunk of socket.setEncoding('latin1')) read += String(chunk);
  server.close();
  return [version, read];
}

// Bytes put back too early were at once readable again, and a client that sent `PR` and no more stopped the process.
test('bytes that arrive one by one are all there for the protocol that reads them', async () => {
  const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
  assert.deepEqual(await decide(preface), ['h2', preface]);
  assert.deepEqual(await decide('POST / HTTP/1.1\r\n'), ['h1', 'POST / HTTP/1.1\r\n']);
  assert.deepEqual(await decide('PRICE /'), ['h1', 'PRICE /']);
});
