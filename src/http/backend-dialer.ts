/** Dials a backend's address straight away. One for each address; it keeps no state of a dial. */
import type { EndpointAddress } from '../model/settings.ts';
import { Dial } from '../net/dial.ts';
import type { Network } from '../net/network.ts';
import type { Dialer, DialOutcome } from './upstream-target.ts';

export class BackendDialer implements Dialer {
  readonly #network: Network;
  readonly #address: EndpointAddress;

  constructor(network: Network, address: EndpointAddress) {
    this.#network = network;
    this.#address = address;
  }

  dial(timeoutMs: number, observer: DialOutcome): { cancel(): void } {
    const dial = new Dial(this.#network, this.#address, timeoutMs, observer);
    dial.start();
    return dial;
  }
}
