/**
 * What an HTTP/1 connection sends: heads and short pieces of bodies are gathered as text and leave in one write a
 * turn, long pieces go straight through, uncopied, behind what was gathered before them.
 *
 * Keeps the promise of the head: a body sent by length is neither longer nor shorter, or the connection is cut.
 */
import type { HostBytes } from '../core/bytes.ts';
import { chunkPrefix, type Framing } from '../codec/http1/head-writer.ts';
import type { Channel } from '../net/channel.ts';
import type { Flushable, FlushQueue } from './flush-queue.ts';

/** From here on a copy costs more than a system call of its own. */
const directBytesMin = 16 * 1024;
/** As much is gathered at most; a pipelining client or a thousand short chunks reach it. */
const gatheredBytesMax = 64 * 1024;

export class Http1Output implements Flushable {
  readonly #channel: Channel;
  readonly #flushes: FlushQueue;
  #text = '';
  #isQueued = false;
  #framing: Framing = 'none';
  #remaining = 0;
  /** Writes so far: whether anything has left since a moment. */
  writeCount = 0;

  constructor(channel: Channel, flushes: FlushQueue) {
    this.#channel = channel;
    this.#flushes = flushes;
  }

  /** True while something waits, here or in the channel. */
  get isBacklogged(): boolean {
    return this.#text !== '' || this.#channel.isBacklogged;
  }

  /** True while the kernel has no room for more: the source of what is sent should wait. */
  get isStuck(): boolean {
    return this.#channel.isBacklogged;
  }

  get framing(): Framing {
    return this.#framing;
  }

  /** A head and how the body behind it is sent. */
  head(text: string, framing: Framing, contentLength: number): void {
    this.#framing = framing;
    this.#remaining = framing === 'length' ? contentLength : 0;
    this.text(text);
  }

  /** Text of no body: a head, or all of a message. */
  text(text: string): void {
    this.#text += text;
    if (this.#text.length > gatheredBytesMax) this.flush();
    else this.#queue();
  }

  /** A piece of the body. False: it is longer than the head said, and was not sent. */
  body(bytes: HostBytes): boolean {
    if (bytes.length === 0 || this.#framing === 'none') return true;
    if (this.#framing === 'length') {
      if (bytes.length > this.#remaining) return false;
      this.#remaining -= bytes.length;
      this.#bytes(bytes);
    } else if (this.#framing === 'chunked') {
      this.#text += chunkPrefix(bytes.length);
      this.#bytes(bytes);
      this.text('\r\n');
    } else {
      this.#bytes(bytes);
    }
    return true;
  }

  /** The end of the body; `trailers` is the end of a chunked one as text. False: it is shorter than the head said. */
  finish(trailers: string): boolean {
    if (this.#framing === 'chunked') this.text(trailers);
    const isWhole = this.#remaining === 0;
    if (this.#framing !== 'tunnel') this.#framing = 'none';
    this.#remaining = 0;
    return isWhole;
  }

  flush(): void {
    this.#isQueued = false;
    const text = this.#text;
    if (text === '') return;
    this.#text = '';
    this.writeCount++;
    this.#channel.writeLatin1(text);
  }

  #bytes(bytes: HostBytes): void {
    if (bytes.length < directBytesMin && this.#text.length + bytes.length <= gatheredBytesMax) {
      this.#text += bytes.latin1Slice();
      this.#queue();
      return;
    }
    this.flush();
    this.writeCount++;
    this.#channel.write(bytes);
  }

  #queue(): void {
    if (this.#isQueued) return;
    this.#isQueued = true;
    this.#flushes.add(this);
  }
}
