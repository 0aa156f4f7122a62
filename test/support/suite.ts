/** What a suite opens in its `before` and closes in its `after`, in the opposite order. */
import { after } from 'node:test';
import { PeerServer, type Peer } from './peer.ts';
import { Portcullis, type StartOptions } from './portcullis.ts';

export class Suite {
  readonly #stack = new AsyncDisposableStack();

  /** To be called in the body of a `describe`. */
  constructor() {
    after(() => this.#stack.disposeAsync());
  }

  use<T extends AsyncDisposable>(resource: T): T {
    return this.#stack.use(resource);
  }

  async portcullis(config: string, options: StartOptions): Promise<Portcullis> {
    return this.use(await Portcullis.start(config, options));
  }

  async backend(
    serve?: (peer: Peer) => void,
    options: { host?: string; path?: string } = {},
  ): Promise<PeerServer> {
    return this.use(await PeerServer.start(options, serve));
  }
}
