/** A bound on long-lived streams. */

import { Code, ConnectError } from '@connectrpc/connect';

export class Seats {
  readonly #what: string;
  readonly #countMax: number;
  #taken = 0;

  constructor(what: string, countMax: number) {
    this.#what = what;
    this.#countMax = countMax;
  }

  /** RESOURCE_EXHAUSTED when all are taken. Call the answered function once, when the stream ends. */
  take(): () => void {
    if (this.#taken === this.#countMax)
      throw new ConnectError(`${this.#countMax} ${this.#what} are connected already`, Code.ResourceExhausted);
    this.#taken++;
    return () => void this.#taken--;
  }
}
