/** Makes the sessions of the pool: our own engines. */
import type { HttpSettings } from '../model/http-settings.ts';
import type { Channel } from '../net/channel.ts';
import type { Network } from '../net/network.ts';
import type { FlushQueue } from './flush-queue.ts';
import { Http1ClientSession } from './http1-client-session.ts';
import { Http2ClientSession } from './http2-client-session.ts';
import type { ClientSession, ClientSessionObserver } from './stream.ts';
import type { SessionFactory } from './upstream-pool.ts';

export class HttpSessionFactory implements SessionFactory {
  readonly #network: Network;
  readonly #flushes: FlushQueue;
  /** Replaced as a whole when the process settings are read again; open sessions keep theirs. */
  settings: HttpSettings;

  constructor(network: Network, flushes: FlushQueue, settings: HttpSettings) {
    this.#network = network;
    this.#flushes = flushes;
    this.settings = settings;
  }

  http1(channel: Channel, observer: ClientSessionObserver): ClientSession {
    const session = new Http1ClientSession(this.#options(channel), observer);
    session.start();
    return session;
  }

  http2(channel: Channel, observer: ClientSessionObserver): ClientSession {
    const session = new Http2ClientSession(this.#options(channel), observer);
    session.start();
    return session;
  }

  #options(channel: Channel) {
    return { channel, network: this.#network, settings: this.settings, flushes: this.#flushes };
  }
}
