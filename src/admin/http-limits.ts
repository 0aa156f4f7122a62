/** Every bound of the HTTP addresses for operators. Tests lower them to reach them; nothing else does. */

export interface HttpLimits {
  /** Connections at once; further ones are closed right after accept. */
  readonly connectionsMax: number;
  readonly headerBytesMax: number;
  readonly targetBytesMax: number;
  /** No call takes a body; this much of one is read over before the connection is closed. */
  readonly bodyBytesMax: number;
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly idleTimeoutMs: number;
  /** Of `?filter=`, a regular expression. */
  readonly filterCharactersMax: number;
  /** Routes and firewall rules in one configuration dump; the rest is a count. */
  readonly dumpRowsMax: number;
  /** Certificate files looked at for one answer, and the size of each. */
  readonly certificatesMax: number;
  readonly certificateBytesMax: number;
}

export const httpLimits: HttpLimits = {
  connectionsMax: 64,
  headerBytesMax: 8 * 1024,
  targetBytesMax: 1_024,
  bodyBytesMax: 4 * 1024,
  headersTimeoutMs: 5_000,
  requestTimeoutMs: 10_000,
  idleTimeoutMs: 60_000,
  filterCharactersMax: 128,
  dumpRowsMax: 10_000,
  certificatesMax: 1_000,
  certificateBytesMax: 1024 * 1024,
};
