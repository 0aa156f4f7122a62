/**
 * A worker's log output: gathers lines and hands them to the supervisor through a MessagePort, so that lines
 * never interleave and a blocked stdout never stalls the data path.
 *
 * The supervisor acknowledges each batch by the number of bytes it has disposed of. Lines beyond `bytesMax`
 * unacknowledged bytes are dropped and counted; a line says how many once there is room again.
 */

import type { MessagePort } from 'node:worker_threads';
import { droppedLine, type LogOutput } from './logger.ts';

export interface BatchingLogOutputOptions {
  /** How long a line may wait for company. */
  readonly flushMs?: number;
  /** A batch this large is handed over at once. */
  readonly batchBytesMax?: number;
  /** How many bytes may be gathered or unacknowledged before lines are dropped. */
  readonly bytesMax?: number;
  readonly clock?: () => number;
  /** Told of lines that found no room. */
  readonly onDropped?: (count: number) => void;
}

export class BatchingLogOutput implements LogOutput {
  readonly #port: MessagePort;
  readonly #flushMs: number;
  readonly #batchBytesMax: number;
  readonly #bytesMax: number;
  readonly #clock: () => number;
  readonly #onDropped: (count: number) => void;
  readonly #encoder = new TextEncoder();
  readonly #flush = (): void => this.flush();
  #lines = '';
  #timer: NodeJS.Timeout | undefined;
  #unacknowledgedBytes = 0;
  #droppedLines = 0;

  constructor(port: MessagePort, options: BatchingLogOutputOptions = {}) {
    this.#port = port;
    this.#flushMs = options.flushMs ?? 10;
    this.#batchBytesMax = options.batchBytesMax ?? 64 * 1024;
    this.#bytesMax = options.bytesMax ?? 4 * 1024 * 1024;
    this.#clock = options.clock ?? Date.now;
    this.#onDropped = options.onDropped ?? ignore;
    port.on('message', (bytes: number) => this.#acknowledge(bytes));
    port.unref();
  }

  write(line: string): void {
    // Having dropped one line, drop until half is free: single lines between gaps would tell nobody anything.
    const full = this.#unacknowledgedBytes + this.#lines.length + line.length > this.#bytesMax;
    if (full || this.#droppedLines > 0) {
      this.#droppedLines++;
      this.#onDropped(1);
      return;
    }
    this.#append(line);
  }

  /** Everything gathered is in the port when this returns; what is there survives the end of this thread. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#droppedLines > 0) this.#reportDropped();
    if (this.#lines !== '') this.#post();
  }

  #append(line: string): void {
    this.#lines += line;
    if (this.#lines.length >= this.#batchBytesMax) this.#post();
    else this.#timer ??= setTimeout(this.#flush, this.#flushMs);
  }

  #post(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const bytes = this.#encoder.encode(this.#lines);
    this.#lines = '';
    this.#unacknowledgedBytes += bytes.byteLength;
    this.#port.postMessage(bytes, [bytes.buffer]);
  }

  #acknowledge(bytes: number): void {
    this.#unacknowledgedBytes -= bytes;
    const hasRoom = this.#unacknowledgedBytes + this.#lines.length <= this.#bytesMax / 2;
    if (this.#droppedLines > 0 && hasRoom) this.#reportDropped();
  }

  #reportDropped(): void {
    const count = this.#droppedLines;
    this.#droppedLines = 0;
    this.#append(droppedLine(count, this.#clock()));
  }
}

function ignore(): void {}
