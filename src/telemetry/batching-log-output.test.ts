import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { MessageChannel, receiveMessageOnPort, type MessagePort } from 'node:worker_threads';
import { BatchingLogOutput, type BatchingLogOutputOptions } from './batching-log-output.ts';

function start(options: BatchingLogOutputOptions): { output: BatchingLogOutput; port: MessagePort } {
  const { port1, port2 } = new MessageChannel();
  return { output: new BatchingLogOutput(port1, options), port: port2 };
}

function receive(port: MessagePort): string | undefined {
  const received = receiveMessageOnPort(port) as { message: Uint8Array } | undefined;
  return received === undefined ? undefined : Buffer.from(received.message).toString();
}

async function receiveSoon(port: MessagePort): Promise<string> {
  for (let tries = 0; tries < 500; tries++) {
    const text = receive(port);
    if (text !== undefined) return text;
    await delay(2);
  }
  throw new Error('no batch arrived');
}

describe('BatchingLogOutput', () => {
  test('hands lines over together after a short wait', async () => {
    const { output, port } = start({ flushMs: 10 });
    output.write('a\n');
    output.write('ü\n');
    assert.equal(receive(port), undefined);
    assert.equal(await receiveSoon(port), 'a\nü\n');
    assert.equal(receive(port), undefined);
    port.close();
  });

  test('hands a full batch over at once', () => {
    const { output, port } = start({ flushMs: 60_000, batchBytesMax: 10 });
    output.write('12345\n');
    assert.equal(receive(port), undefined);
    output.write('67890\n');
    assert.equal(receive(port), '12345\n67890\n');
    port.close();
  });

  test('flush leaves nothing behind', () => {
    const { output, port } = start({ flushMs: 60_000 });
    output.write('last words\n');
    output.flush();
    assert.equal(receive(port), 'last words\n');
    output.flush();
    assert.equal(receive(port), undefined);
    port.close();
  });

  test('drops and counts what the supervisor does not keep up with, then says so once', async () => {
    const { output, port } = start({ flushMs: 5, batchBytesMax: 10, bytesMax: 30, clock: () => 0 });
    for (let at = 0; at < 10; at++) output.write(`line ${at}...\n`);
    assert.equal(receive(port), 'line 0...\n');
    assert.equal(receive(port), 'line 1...\n');
    assert.equal(receive(port), 'line 2...\n');
    assert.equal(receive(port), undefined);
    port.postMessage(10);
    port.postMessage(10);
    const notice = JSON.parse(await receiveSoon(port));
    assert.deepEqual([notice.level, notice.dropped, notice.msg], ['warn', 7, 'dropped 7 log lines']);
    port.close();
  });

  test('takes lines again once there is room', async () => {
    const { output, port } = start({ flushMs: 5, batchBytesMax: 200, bytesMax: 400 });
    const line = 'x'.repeat(199) + '\n';
    for (let at = 0; at < 5; at++) output.write(line);
    assert.equal(receive(port)!.length, 200);
    assert.equal(receive(port)!.length, 200);
    port.postMessage(200);
    port.postMessage(200);
    assert.equal(JSON.parse(await receiveSoon(port)).dropped, 3);
    output.write('again\n');
    assert.equal(await receiveSoon(port), 'again\n');
    port.close();
  });
});
