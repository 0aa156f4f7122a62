/**
 * The only writer of the log's descriptor. It takes the supervisor's own lines and the workers' batches, formats
 * them, and acknowledges each batch once it is written.
 *
 * Rule: writing never blocks. The descriptor is made non-blocking, `write` runs until EAGAIN and goes on by a
 * timer. No write is ever in flight elsewhere, so that at exit what is left can be written in order, within a
 * bounded wait. A reader that went away (EPIPE) ends the log, never the proxy.
 */

import { closeSync, constants, fstatSync, openSync, writeSync, type Stats } from 'node:fs';
import { Socket } from 'node:net';
import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads';
import { formatPretty, lineLevel, prefixPriority, type LogFormat } from './log-format.ts';
import { droppedLine, type LogOutput } from './logger.ts';

export interface LogWriterOptions {
  readonly format: LogFormat;
  /** Prefix each line with its sd-daemon priority. */
  readonly journald: boolean;
  /** Paint pretty lines; for terminals. */
  readonly colour?: boolean;
  /** How many bytes of the supervisor's own lines may wait. The workers bound theirs. */
  readonly ownBytesMax?: number;
  readonly clock?: () => number;
}

export class LogWriter implements LogOutput {
  readonly #path: string | null;
  #target: LogTarget;
  readonly #options: LogWriterOptions;
  readonly #ownBytesMax: number;
  readonly #ports = new Set<MessagePort>();
  readonly #queue: Chunk[] = [];
  readonly #resume = (): void => this.#pump();
  #ownBytes = 0;
  #writtenBytes = 0;
  #droppedLines = 0;
  #droppedTotal = 0;
  #retryMs = retryMsMin;
  #timer: NodeJS.Timeout | undefined;
  #turn: NodeJS.Immediate | undefined;

  /** `target` is a descriptor, or the path of a file to append to. Throws when that can not be opened. */
  constructor(target: number | string, options: LogWriterOptions) {
    this.#path = typeof target === 'string' ? target : null;
    this.#target = typeof target === 'string' ? openTarget(target) : new LogTarget(target);
    this.#options = options;
    this.#ownBytesMax = options.ownBytesMax ?? 4 * 1024 * 1024;
  }

  /** Own lines that found no room since the start. */
  get droppedTotal(): number {
    return this.#droppedTotal;
  }

  /** Opens the file again, which somebody moved away. Throws when that fails, and goes on in the old one. */
  reopen(): void {
    if (this.#path === null) return;
    const target = openTarget(this.#path);
    this.#target.close();
    this.#target = target;
    // A line that was cut between the two files stands whole in the new one.
    const first = this.#queue[0];
    if (first?.bytes !== undefined && first.written > 0) {
      first.written = first.bytes.lastIndexOf(newline, first.written - 1) + 1;
    }
    this.#pumpUnlessWaiting();
  }

  /** One line of the supervisor's own. */
  write(line: string): void {
    // One line is always taken: the limit is for what waits.
    if (this.#ownBytes > 0 && this.#ownBytes + line.length > this.#ownBytesMax) {
      this.#droppedLines++;
      this.#droppedTotal++;
      return;
    }
    if (this.#droppedLines > 0) this.#reportDropped();
    this.#enqueueOwn(line);
    this.#pumpUnlessWaiting();
  }

  /** Takes the batches of a BatchingLogOutput on the other end, until that end is closed. */
  attach(port: MessagePort): void {
    this.#ports.add(port);
    port.on('message', (bytes: Uint8Array) => {
      this.#enqueueBatch(bytes, port);
      this.#pumpUnlessWaiting();
    });
    port.on('close', () => this.#ports.delete(port));
    port.unref();
  }

  /** Writes all that has arrived. Waits at most `waitMs` for a slow reader to take anything. True when all is written. */
  flushSync(waitMs = 1000): boolean {
    for (const port of this.#ports) this.#drainPort(port);
    if (this.#droppedLines > 0) this.#reportDropped();
    const latestMs = performance.now() + waitMs * flushWaitsMax;
    let deadlineMs = 0;
    for (let before = -1; this.#writeUntilBlocked(Number.POSITIVE_INFINITY) === 'blocked';) {
      const nowMs = performance.now();
      if (before !== this.#writtenBytes) deadlineMs = Math.min(nowMs + waitMs, latestMs);
      before = this.#writtenBytes;
      if (nowMs >= deadlineMs) return false;
      Atomics.wait(neverNotified, 0, 0, flushPollMs);
    }
    return true;
  }

  /** For the process's exit. Later lines go nowhere. */
  close(): void {
    this.flushSync();
    clearTimeout(this.#timer);
    clearImmediate(this.#turn);
    for (const port of this.#ports) port.close();
    this.#target.close();
  }

  /** Lines that wait together are written together: a socket takes few small writes, however short. */
  #enqueueOwn(line: string): void {
    this.#ownBytes += line.length;
    const last = this.#queue.at(-1);
    if (last !== undefined && typeof last.source === 'string' && last.source.length < joinedCharactersMax) {
      last.source += line;
      last.credit += line.length;
    } else {
      this.#queue.push({ source: line, bytes: undefined, written: 0, port: undefined, credit: line.length });
    }
  }

  #enqueueBatch(batch: Uint8Array, port: MessagePort): void {
    this.#queue.push({ source: batch, bytes: undefined, written: 0, port, credit: batch.length });
  }

  /** JSON outside the journal goes through untouched: no decoding, no splitting. */
  #format(source: string | Uint8Array): Uint8Array {
    const { format, journald, colour = false } = this.#options;
    if (format === 'json' && !journald) return typeof source === 'string' ? Buffer.from(source) : source;
    let text = '';
    for (const line of (typeof source === 'string' ? source : decoder.decode(source)).split('\n')) {
      if (line === '') continue;
      const shown = format === 'pretty' ? formatPretty(line, colour) : line;
      text += (journald ? prefixPriority(lineLevel(line), shown) : shown) + '\n';
    }
    return Buffer.from(text);
  }

  #drainPort(port: MessagePort): void {
    for (;;) {
      const received = receiveMessageOnPort(port) as { message: Uint8Array } | undefined;
      if (received === undefined) return;
      this.#enqueueBatch(received.message, port);
    }
  }

  #reportDropped(): void {
    const count = this.#droppedLines;
    this.#droppedLines = 0;
    this.#enqueueOwn(droppedLine(count, (this.#options.clock ?? Date.now)()));
  }

  #pumpUnlessWaiting(): void {
    if (this.#timer === undefined && this.#turn === undefined) this.#pump();
  }

  #pump(): void {
    this.#timer = undefined;
    this.#turn = undefined;
    const outcome = this.#writeUntilBlocked(turnBytesMax);
    if (outcome === 'blocked') {
      this.#timer = setTimeout(this.#resume, this.#retryMs);
      this.#retryMs = Math.min(this.#retryMs * 2, retryMsMax);
      return;
    }
    this.#retryMs = retryMsMin;
    if (outcome === 'turn-over') this.#turn = setImmediate(this.#resume);
    else if (this.#droppedLines > 0) {
      this.#reportDropped();
      this.#turn = setImmediate(this.#resume);
    }
  }

  #writeUntilBlocked(bytesMax: number): 'done' | 'blocked' | 'turn-over' {
    let bytes = 0;
    for (let chunk = this.#queue[0]; chunk !== undefined; chunk = this.#queue[0]) {
      if (bytes >= bytesMax) return 'turn-over';
      if (chunk.bytes === undefined) {
        chunk.bytes = this.#format(chunk.source);
        chunk.source = formatted;
      }
      const count = this.#target.write(chunk.bytes, chunk.written);
      if (count < 0) return 'blocked';
      bytes += count;
      this.#writtenBytes += count;
      chunk.written += count;
      if (chunk.written < chunk.bytes.length) continue;
      this.#queue.shift();
      if (chunk.port === undefined) this.#ownBytes -= chunk.credit;
      else chunk.port.postMessage(chunk.credit);
    }
    return 'done';
  }
}

interface Chunk {
  /** Lines as they came: own ones as text, to which more may be joined; a batch as bytes. */
  source: string | Uint8Array;
  /** Made from `source` when its turn comes. */
  bytes: Uint8Array | undefined;
  written: number;
  /** Whom to tell when it is written; undefined for the supervisor itself. */
  readonly port: MessagePort | undefined;
  /** Its length before formatting: what the sender counts. */
  credit: number;
}

function openTarget(path: string): LogTarget {
  // A named pipe that nobody reads is an error, not a wait.
  const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;
  return new LogTarget(openSync(path, flags | constants.O_NOCTTY, logFileMode), true);
}

const newline = 0x0a;
/** Names and addresses of clients are not for every user of the machine. */
const logFileMode = 0o640;
const decoder = new TextDecoder();
/** Stands in for a source that became bytes: nothing can be joined to it. */
const formatted = new Uint8Array(0);
const joinedCharactersMax = 64 * 1024;
/** So much is written before other events get their turn: about 1 ms. */
const turnBytesMax = 1024 * 1024;
const retryMsMin = 1;
const retryMsMax = 50;
const flushPollMs = 1;
/** A reader that trickles is waited for, but not for ever: 5 s with the usual second. */
const flushWaitsMax = 5;
const neverNotified = new Int32Array(new SharedArrayBuffer(4));

/**
 * The descriptor, made non-blocking. A pipe or terminal is opened anew, so that the flag stays ours and does not
 * reach whoever shares the descriptor (stderr, the shell). A socket (the journal) cannot be opened anew, nor can
 * a pipe of another user: these get the flag themselves. A regular file never blocks for long, and its offset
 * must stay shared.
 */
class LogTarget {
  #fd: number;
  #ownsFd: boolean;
  #broken = false;
  /** Holds the descriptor that was made non-blocking in place. */
  #holder: Socket | undefined;

  constructor(fd: number, ownsFd = false) {
    this.#fd = fd;
    this.#ownsFd = ownsFd;
    const stat = statOrUndefined(fd);
    if (stat === undefined) this.#broken = true;
    else if (!stat.isFile() && !this.#reopen(stat)) this.#unblock(stat);
  }

  /** How many bytes were taken; -1 when none can be for now. A broken target takes everything and keeps nothing. */
  write(bytes: Uint8Array, offset: number): number {
    if (this.#broken) return bytes.length - offset;
    try {
      return writeSync(this.#fd, bytes, offset);
    } catch (error) {
      if (transientErrors.has((error as NodeJS.ErrnoException).code ?? '')) return -1;
      this.#broken = true;
      return bytes.length - offset;
    }
  }

  close(): void {
    this.#broken = true;
    if (this.#ownsFd) closeSync(this.#fd);
    this.#ownsFd = false;
  }

  #reopen(stat: Stats): boolean {
    if (stat.isSocket()) return false;
    // Opened by its path, it is ours and does not block already.
    if (this.#ownsFd) return true;
    try {
      this.#fd = openSync(
        `/proc/self/fd/${this.#fd}`,
        constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY,
      );
      this.#ownsFd = true;
      return true;
    } catch {
      return false;
    }
  }

  /** Opening a libuv handle on a descriptor sets O_NONBLOCK on it. A terminal of another user stays blocking. */
  #unblock(stat: Stats): void {
    if (!stat.isSocket() && !stat.isFIFO()) return;
    this.#holder = new Socket({ fd: this.#fd, readable: false, writable: true });
    this.#holder.on('error', () => {});
    this.#holder.unref();
  }
}

/** The disk may have room again, the reader may read again. */
const transientErrors = new Set(['EAGAIN', 'EINTR', 'ENOSPC', 'EDQUOT']);

function statOrUndefined(fd: number): Stats | undefined {
  try {
    return fstatSync(fd);
  } catch {
    return undefined;
  }
}
