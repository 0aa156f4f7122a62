import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { MessageChannel, Worker } from 'node:worker_threads';
import { BatchingLogOutput } from './batching-log-output.ts';
import { createLogger, linePrefix } from './logger.ts';
import { LogWriter } from './log-writer.ts';

const folder = mkdtempSync(join(tmpdir(), 'portcullis-log-'));
after(() => rmSync(folder, { recursive: true }));
const json = { format: 'json', journald: false } as const;
let fifoCount = 0;

/** A pipe whose reader reads only when told. */
function makePipe(): { readFd: number; writeFd: number; read: () => string } {
  const path = join(folder, `fifo-${fifoCount++}`);
  execFileSync('mkfifo', [path]);
  const readFd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writeFd = openSync(path, constants.O_WRONLY);
  return { readFd, writeFd, read: () => readAvailable(readFd) };
}

function readAvailable(fd: number): string {
  const buffer = Buffer.alloc(1 << 20);
  let text = '';
  for (;;) {
    let count = 0;
    try {
      count = readSync(fd, buffer);
    } catch {
      return text;
    }
    if (count === 0) return text;
    text += buffer.toString('latin1', 0, count);
  }
}

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 1000; tries++) {
    if (condition()) return;
    await delay(2);
  }
  throw new Error('it did not happen within 2 s');
}

describe('LogWriter', () => {
  test('writes own lines at once, in order', () => {
    const path = join(folder, 'own');
    const fd = openSync(path, 'a');
    const writer = new LogWriter(fd, json);
    writer.write('one\n');
    writer.write('zwei ü\n');
    assert.equal(readFileSync(path, 'utf8'), 'one\nzwei ü\n');
    writer.close();
    closeSync(fd);
  });

  test('writes batches of workers whole and acknowledges them', async () => {
    const path = join(folder, 'batches');
    const fd = openSync(path, 'a');
    const writer = new LogWriter(fd, json);
    const { port1, port2 } = new MessageChannel();
    const output = new BatchingLogOutput(port1, { flushMs: 1, batchBytesMax: 64, bytesMax: 1024 });
    writer.attach(port2);
    let expected = '';
    for (let at = 0; at < 100; at++) {
      const line = `line ${at} ${'x'.repeat(40)}\n`;
      expected += line;
      output.write(line);
      // More than bytesMax in all: without acknowledgements lines would be dropped.
      if (at % 10 === 9) await until(() => readFileSync(path, 'utf8') === expected).then(() => delay(5));
    }
    assert.equal(readFileSync(path, 'utf8'), expected);
    writer.close();
    closeSync(fd);
  });

  test('makes lines pretty, or prefixes their priority for the journal', () => {
    const path = join(folder, 'formats');
    const fd = openSync(path, 'a');
    const pretty = new LogWriter(fd, { format: 'pretty', journald: false });
    createLogger({ level: 'info', output: pretty, clock: () => 0 }).info('hello', { n: 1 });
    const journal = new LogWriter(fd, { format: 'json', journald: true });
    journal.write(`${linePrefix('warn', 0)},"msg":"x"}\n`);
    assert.equal(
      readFileSync(path, 'utf8'),
      '00:00:00.000 INFO  hello n=1\n<4>{"level":"warn","time":"1970-01-01T00:00:00.000Z","msg":"x"}\n',
    );
    closeSync(fd);
  });

  test('a stuck reader blocks nobody; what fits is kept and the rest counted', async () => {
    const pipe = makePipe();
    const writer = new LogWriter(pipe.writeFd, { ...json, ownBytesMax: 200_000, clock: () => 0 });
    const line = 'x'.repeat(999) + '\n';
    const startedMs = performance.now();
    for (let at = 0; at < 1000; at++) writer.write(line);
    assert.ok(performance.now() - startedMs < 500);
    let text = '';
    await until(() => (text += pipe.read()).includes('dropped'));
    const lines = text.trimEnd().split('\n');
    const notice = JSON.parse(lines.pop()!);
    assert.ok(lines.every((each) => each + '\n' === line));
    assert.equal(lines.length + notice.dropped, 1000);
    assert.ok(lines.length >= 200);
    writer.close();
    closeSync(pipe.writeFd);
    closeSync(pipe.readFd);
  });

  test('gives up at exit after a bounded wait when the reader is stuck', () => {
    const pipe = makePipe();
    const writer = new LogWriter(pipe.writeFd, json);
    for (let at = 0; at < 200; at++) writer.write('x'.repeat(1000) + '\n');
    const startedMs = performance.now();
    assert.equal(writer.flushSync(50), false);
    assert.ok(performance.now() - startedMs < 500);
    pipe.read();
    closeSync(pipe.writeFd);
    closeSync(pipe.readFd);
    writer.close();
  });

  test('a reader that went away ends the log, not the process', async () => {
    const pipe = makePipe();
    const writer = new LogWriter(pipe.writeFd, { ...json, ownBytesMax: 10 });
    const { port1, port2 } = new MessageChannel();
    writer.attach(port2);
    closeSync(pipe.readFd);
    for (let at = 0; at < 100; at++) writer.write('nobody listens\n');
    port1.postMessage(new Uint8Array(100));
    const acknowledged = await new Promise((resolve) => port1.once('message', resolve));
    assert.equal(acknowledged, 100);
    assert.equal(writer.flushSync(), true);
    writer.close();
    closeSync(pipe.writeFd);
  });

  test('close drains the ports: the last words of a worker that ended are written', async () => {
    const path = join(folder, 'worker');
    const fd = openSync(path, 'a');
    const writer = new LogWriter(fd, json);
    const { port1, port2 } = new MessageChannel();
    const script = `
      import { workerData } from 'node:worker_threads';
      import { BatchingLogOutput } from ${JSON.stringify(new URL('batching-log-output.ts', import.meta.url).href)};
      const output = new BatchingLogOutput(workerData, { flushMs: 60000 });
      for (let at = 0; at < 5000; at++) output.write('line ' + at + '\\n');
      output.flush();
      process.exit(0);`;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(script)}`), {
      workerData: port1,
      transferList: [port1],
    });
    writer.attach(port2);
    await new Promise((resolve) => worker.once('exit', resolve));
    writer.close();
    const lines = readFileSync(path, 'utf8').split('\n');
    assert.equal(lines.length, 5001);
    assert.equal(lines[4999], 'line 4999');
    closeSync(fd);
  });

  test('loses no line at exit, through a pipe and through a socket', async () => {
    const script = `
      import { LogWriter } from ${JSON.stringify(new URL('log-writer.ts', import.meta.url).href)};
      const writer = new LogWriter(1, { format: 'json', journald: false });
      for (let at = 0; at < 20000; at++) writer.write('line ' + at + ' ' + 'x'.repeat(50) + '\\n');
      writer.close();
      process.exit(0);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    // Node connects 'pipe' by a Unix socket; cat makes a pipe of it.
    const viaPipe = spawn('sh', ['-c', '"$0" --input-type=module -e "$1" | cat', process.execPath, script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    for (const text of await Promise.all([collect(child), collect(viaPipe)])) {
      const lines = text.split('\n');
      assert.equal(lines.length, 20_001);
      assert.ok(lines[19_999]!.startsWith('line 19999 '));
    }
  });

  test('goes on in a new file once the old one was moved away, without a torn or a lost line', () => {
    const path = join(folder, 'moved.log');
    const writer = new LogWriter(path, json);
    writer.write('{"line":1}\n');
    renameSync(path, `${path}.1`);
    writer.write('{"line":2}\n');
    writer.reopen();
    writer.write('{"line":3}\n');
    writer.close();
    assert.equal(readFileSync(`${path}.1`, 'utf8'), '{"line":1}\n{"line":2}\n');
    assert.equal(readFileSync(path, 'utf8'), '{"line":3}\n');
    assert.equal(statSync(path).mode & 0o777, 0o640);
  });

  test('stays in the old file when the new one can not be opened', () => {
    const path = join(folder, 'gone', 'a.log');
    mkdirSync(join(folder, 'gone'));
    const writer = new LogWriter(path, json);
    renameSync(join(folder, 'gone'), join(folder, 'elsewhere'));
    assert.throws(() => writer.reopen(), /ENOENT/);
    writer.write('{"line":1}\n');
    writer.close();
    assert.equal(readFileSync(join(folder, 'elsewhere', 'a.log'), 'utf8'), '{"line":1}\n');
  });

  test('a full disk blocks nobody: lines wait up to the limit, the rest is counted', () => {
    const writer = new LogWriter('/dev/full', { ...json, ownBytesMax: 100 });
    for (let at = 0; at < 20; at++) writer.write('{"line":"waits"}\n');
    assert.ok(writer.droppedTotal >= 14);
    assert.equal(writer.flushSync(5), false);
    writer.close();
  });
});

async function collect(child: ChildProcess): Promise<string> {
  let text = '';
  for await (const chunk of child.stdout!) text += String(chunk);
  return text;
}
