/**
 * Upstream connections without a request, over all upstreams of a worker, the one idle longest first. One timer and
 * one bound for all of them: what was put in first is due first.
 */
import { TimerEntry, type TimerWheel } from '../core/timer-wheel.ts';

/** A connection that may stand in the list. Hold one, or extend it. */
export abstract class IdleItem {
  isIdle = false;
  idleSinceMs = 0;
  previousIdle: IdleItem | null = null;
  nextIdle: IdleItem | null = null;

  /** It was idle too long, or makes room: it is out of the list, and ends. */
  abstract onIdleEnd(): void;
}

export class IdleList extends TimerEntry {
  readonly #timers: TimerWheel;
  readonly #countMax: number;
  #first: IdleItem | null = null;
  #last: IdleItem | null = null;
  #count = 0;
  timeoutMs: number;

  constructor(timers: TimerWheel, countMax: number, timeoutMs: number) {
    super();
    this.#timers = timers;
    this.#countMax = countMax;
    this.timeoutMs = timeoutMs;
  }

  get count(): number {
    return this.#count;
  }

  add(item: IdleItem, nowMs: number): void {
    if (item.isIdle) return;
    item.isIdle = true;
    item.idleSinceMs = nowMs;
    item.previousIdle = this.#last;
    if (this.#last === null) this.#first = item;
    else this.#last.nextIdle = item;
    this.#last = item;
    this.#count++;
    if (this.next === null) this.#timers.arm(this, nowMs + this.timeoutMs);
    if (this.#count > this.#countMax) this.#endFirst();
  }

  remove(item: IdleItem): void {
    if (!item.isIdle) return;
    const { previousIdle, nextIdle } = item;
    if (previousIdle === null) this.#first = nextIdle;
    else previousIdle.nextIdle = nextIdle;
    if (nextIdle === null) this.#last = previousIdle;
    else nextIdle.previousIdle = previousIdle;
    item.isIdle = false;
    item.previousIdle = null;
    item.nextIdle = null;
    this.#count--;
  }

  override expire(nowMs: number): void {
    while (this.#first !== null && this.#first.idleSinceMs + this.timeoutMs <= nowMs) this.#endFirst();
    if (this.#first !== null) this.#timers.arm(this, this.#first.idleSinceMs + this.timeoutMs);
  }

  #endFirst(): void {
    const item = this.#first!;
    this.remove(item);
    item.onIdleEnd();
  }
}
