/** Every bound of the admin API. Tests lower them to reach them; nothing else does. */

export interface AdminLimits {
  /** TCP or Unix connections at once; further ones are closed right after accept. */
  readonly connectionsMax: number;
  /** HTTP/2 streams at once on one connection. */
  readonly streamsMax: number;
  /** One request message, decompressed. Holds a whole configuration: 100,000 rules are about 6 MB of JSON. */
  readonly messageBytesMax: number;
  /** All header fields of one request. */
  readonly headerBytesMax: number;
  /** TLS handshake, or the first bytes that tell HTTP/2 from HTTP/1.1. */
  readonly handshakeTimeoutMs: number;
  /** The head of an HTTP/1.1 request. */
  readonly headersTimeoutMs: number;
  /** The whole of a request, on HTTP/2 each stream. A reflection stream, which is all request, lives no longer. */
  readonly requestTimeoutMs: number;
  /** A connection without a request. */
  readonly idleTimeoutMs: number;
  /** The longest deadline that a client may ask for. */
  readonly deadlineMsMax: number;
  /** WatchEvents at once; the same number again of health watches. */
  readonly watchersMax: number;
  /** Events waiting for one slow watcher; what finds no room is counted and reported as missed. */
  readonly eventsQueuedMax: number;
  /** How often the files of the TLS identity are looked at. */
  readonly reloadIntervalMs: number;
  /** How often a health watch looks whether the server is draining. */
  readonly healthIntervalMs: number;
}

export const adminLimits: AdminLimits = {
  connectionsMax: 256,
  streamsMax: 128,
  messageBytesMax: 32 * 1024 * 1024,
  headerBytesMax: 16 * 1024,
  handshakeTimeoutMs: 10_000,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
  idleTimeoutMs: 300_000,
  deadlineMsMax: 24 * 3_600_000,
  watchersMax: 64,
  eventsQueuedMax: 1024,
  reloadIntervalMs: 5000,
  healthIntervalMs: 1000,
};
