/**
 * The codes of every ProtocolError that a codec of this folder raises. Each is a reason of `core/reason.ts` too,
 * so that a refusal reaches log and metric under the name it was raised with.
 */

export const codecCodes = {
  /** The first bytes are no TLS handshake record. */
  notTls: 'not-tls',
  /** TLS, but the hello contradicts itself or its specification. */
  helloMalformed: 'hello-malformed',
  /** The hello, or the number of records that carry it, passes the limit. */
  helloOversized: 'hello-oversized',
  /** The first bytes cannot begin a PROXY header of either version. */
  proxyHeaderMissing: 'proxy-header-missing',
  /** A PROXY header that contradicts itself or its specification. */
  proxyHeaderMalformed: 'proxy-header-malformed',
  /** A PROXY header that passes the limit. */
  proxyHeaderOversized: 'proxy-header-oversized',
  /** The CRC32c inside a PROXY header is not that of its bytes. */
  proxyHeaderChecksum: 'proxy-header-checksum',
  /** A request that breaks the specification. */
  requestMalformed: 'request-malformed',
  /** A request that two parsers could read differently: lengths, encodings or hosts that disagree. */
  requestAmbiguous: 'request-ambiguous',
  /** A request target that passes the limit. */
  targetOversized: 'target-oversized',
  /** A head or a trailer section that passes the limits. */
  headOversized: 'head-oversized',
  /** A request that names a version of HTTP that is not served. */
  versionRefused: 'version-refused',
  /** A response that breaks the specification. */
  upstreamMalformed: 'upstream-malformed',
  /** A peer that breaks HTTP/2 or its header compression: the connection is lost. */
  http2ProtocolError: 'http2-protocol-error',
  /** A peer that crosses a limit which keeps HTTP/2 from being abused. */
  http2Abuse: 'http2-abuse',
  /** Bytes that SOCKS5 does not have at that place. */
  socksMalformed: 'socks-malformed',
} as const;
