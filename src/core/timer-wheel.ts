/**
 * Deadlines for many connections at the cost of one timer. Never touches a clock: time is passed in.
 *
 * A hashed wheel (Varghese and Lauck, 1987) with lazy postponement: `touch`ing a busy connection only writes
 * a number, and the entry finds out when its slot comes round that it is not due yet. Deadlines fire up to one
 * tick late, never early.
 */
import { assert } from './errors.ts';

/** Width of a slot. A deadline may fire this much late. */
export const tickMs = 100;
const slotCount = 512;

/** Something with a deadline. Extend it, or hold one; an entry is in at most one wheel. */
export class TimerEntry {
  /** When `expire` is due, in the caller's milliseconds; Infinity when not armed. May be moved later at any time. */
  deadlineMs = Infinity;
  previous: TimerEntry | null = null;
  next: TimerEntry | null = null;

  /** Called once when the deadline has passed; the entry is out of the wheel by then. */
  expire(_nowMs: number): void {
    assert(false, 'a timer entry must say what to do when it expires');
  }
}

export class TimerWheel {
  readonly #slots: TimerEntry[] = [];
  #tick = 0;
  #count = 0;

  constructor(nowMs: number) {
    for (let index = 0; index < slotCount; index++) {
      const head = new TimerEntry();
      head.previous = head;
      head.next = head;
      this.#slots.push(head);
    }
    this.#tick = Math.floor(nowMs / tickMs);
  }

  /** How many entries are armed. */
  get count(): number {
    return this.#count;
  }

  /** Arms `entry`, or moves it. To postpone an armed entry, writing `deadlineMs` is enough and cheaper. */
  arm(entry: TimerEntry, deadlineMs: number): void {
    if (entry.next !== null) this.disarm(entry);
    entry.deadlineMs = deadlineMs;
    this.#insert(entry);
    this.#count++;
  }

  disarm(entry: TimerEntry): void {
    if (entry.next === null) return;
    unlink(entry);
    entry.deadlineMs = Infinity;
    this.#count--;
  }

  /** Expires what is due at `nowMs`. To be called about once a tick; after a pause it catches up. */
  advance(nowMs: number): void {
    const target = Math.floor(nowMs / tickMs);
    // After a long stall one visit to every slot is enough.
    if (target - this.#tick > slotCount) this.#tick = target - slotCount;
    while (this.#tick < target) this.#sweep(this.#slots[this.#tick++ % slotCount]!, nowMs);
  }

  #insert(entry: TimerEntry): void {
    // The slot is swept when its whole tick has passed, so nothing fires early. What lies further ahead than
    // one turn of the wheel waits in the furthest slot and is moved on from there.
    const due = Math.max(Math.floor(entry.deadlineMs / tickMs), this.#tick);
    const head = this.#slots[Math.min(due, this.#tick + slotCount - 1) % slotCount]!;
    entry.previous = head.previous;
    entry.next = head;
    head.previous!.next = entry;
    head.previous = entry;
  }

  #sweep(head: TimerEntry, nowMs: number): void {
    // Entries that are put back go to later slots or to this slot's tail; the chain is cut off first so that
    // the loop ends whatever `expire` does.
    let entry = head.next!;
    if (entry === head) return;
    const last = head.previous!;
    const chain = new TimerEntry();
    chain.next = entry;
    chain.previous = last;
    entry.previous = chain;
    last.next = chain;
    head.next = head;
    head.previous = head;
    while ((entry = chain.next!) !== chain) {
      unlink(entry);
      if (entry.deadlineMs > nowMs) {
        this.#insert(entry);
        continue;
      }
      entry.deadlineMs = Infinity;
      this.#count--;
      entry.expire(nowMs);
    }
  }
}

function unlink(entry: TimerEntry): void {
  entry.previous!.next = entry.next;
  entry.next!.previous = entry.previous;
  entry.previous = null;
  entry.next = null;
}
