/** The deadline of a peer that takes nothing of what was sent to it. Armed while a stream is owed a drain. */
import { TimerEntry } from '../core/timer-wheel.ts';

export interface StallObserver {
  onStalled(): void;
}

export class StallWatch extends TimerEntry {
  readonly #observer: StallObserver;

  constructor(observer: StallObserver) {
    super();
    this.#observer = observer;
  }

  override expire(): void {
    this.#observer.onStalled();
  }
}
