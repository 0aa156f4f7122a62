/**
 * What HTTP/2 keeps of one stream: its state, its windows, what waits to be sent. Sessions extend it, so that a
 * request costs one object. RFC 9113 §5.1, §5.2.
 */
import type { HostBytes } from '../../core/bytes.ts';
import type { FieldList } from '../http-message.ts';

/** `idle` and `reserved` have no record: a stream is made by its HEADERS, and nobody may push. */
export type StreamState = 'open' | 'half-closed-local' | 'half-closed-remote' | 'closed';

export type StreamEvent = 'sendEnd' | 'receiveEnd' | 'reset';

/** RFC 9113 figure 2, from `open` on. What is not listed does not happen: the callers look first. */
export const streamTransitions: Readonly<Record<StreamState, Readonly<Record<StreamEvent, StreamState>>>> = {
  open: { sendEnd: 'half-closed-local', receiveEnd: 'half-closed-remote', reset: 'closed' },
  'half-closed-local': { sendEnd: 'half-closed-local', receiveEnd: 'closed', reset: 'closed' },
  'half-closed-remote': { sendEnd: 'closed', receiveEnd: 'half-closed-remote', reset: 'closed' },
  closed: { sendEnd: 'closed', receiveEnd: 'closed', reset: 'closed' },
};

/** Where the message that we receive stands. */
export type ReceivePhase = 'head' | 'body' | 'done';

export class Http2Stream {
  /** 0 for a request whose head waits: it gets its place in the order when it goes out. */
  id: number;
  state: StreamState = 'open';
  receivePhase: ReceivePhase = 'head';

  /** What the peer lets us send; negative after it lowered its initial window (§6.9.2). */
  sendWindow: number;
  /** What we let the peer send. */
  receiveWindow: number;
  /** Handed out and not consumed. */
  unconsumedBytes = 0;
  /** Consumed and not given back to the peer yet. */
  creditBytes = 0;

  /** The request is HEAD: its response has a length and no body. */
  isHeadRequest = false;
  /** Of the announced content-length, what is still to come; -1: none was announced. */
  receiveLeft = -1;
  /** The same for what we send. */
  sendLeft = -1;

  /** What waits for a window or for the channel, in order; `queueOffset` bytes of the first are gone. */
  queue: HostBytes[] = [];
  queueOffset = 0;
  queuedBytes = 0;
  isEndQueued = false;
  queuedTrailers: FieldList | null = null;
  /** The head has not gone out: nothing else may. */
  isHeld = false;
  /** In the list of those that may send. */
  isReady = false;
  /** A `sendData` answered false, and its drain has not been told. */
  owesDrain = false;

  /** When something of the queue left last, or the queue began; when the last body bytes came. */
  sentMs = 0;
  receivedMs = 0;
  receivedBytes = 0;

  constructor(id: number, sendWindow: number, receiveWindow: number) {
    this.id = id;
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
  }

  get isClosed(): boolean {
    return this.state === 'closed';
  }

  get isBacklogged(): boolean {
    return this.queuedBytes > 0;
  }

  get isLocalDone(): boolean {
    return this.state === 'half-closed-local' || this.state === 'closed';
  }

  get isRemoteDone(): boolean {
    return this.state === 'half-closed-remote' || this.state === 'closed';
  }

  /** True when nothing more may be sent: the end has gone out, or waits. */
  get isSendOver(): boolean {
    return this.isLocalDone || this.isEndQueued || this.queuedTrailers !== null;
  }

  /** True while something waits: data, trailers or the end. */
  get isQueueing(): boolean {
    return this.queuedBytes > 0 || this.isEndQueued || this.queuedTrailers !== null;
  }

  move(event: StreamEvent): void {
    this.state = streamTransitions[this.state][event];
  }
}
