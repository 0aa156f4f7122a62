/**
 * Reason codes: why a connection ended the way it did. Each is listed once, here, documented in
 * docs/reference/reasons.md, stable, and never reused for another meaning.
 */

/** The outcome a reason belongs to. `served`: it was relayed. `refused`: we would not. `failed`: we could not. */
export type Outcome = 'served' | 'refused' | 'failed';

export interface ReasonFacts {
  readonly outcome: Outcome;
  readonly meaning: string;
}

/** Every reason, with what it means to an operator. The key is the code that logs, metrics and the API carry. */
export const reasons = {
  'client-closed': { outcome: 'served', meaning: 'Relayed to the end; the client finished first.' },
  'backend-closed': { outcome: 'served', meaning: 'Relayed to the end; the backend finished first.' },
  'client-reset': { outcome: 'served', meaning: 'Relayed until the client reset the connection.' },
  'backend-reset': { outcome: 'served', meaning: 'Relayed until the backend reset the connection.' },
  'idle-timeout': {
    outcome: 'served',
    meaning: 'Relayed until no byte had moved either way for idle_timeout.',
  },
  drained: {
    outcome: 'served',
    meaning: 'Relayed until the server shut down and shutdown_timeout had passed.',
  },

  'listener-limit': { outcome: 'refused', meaning: 'The listener already served max_connections.' },
  'total-limit': {
    outcome: 'refused',
    meaning: 'The process already served as many connections as its descriptors allow.',
  },
  'proxy-header-untrusted': {
    outcome: 'refused',
    meaning: 'The peer may not send a PROXY header: it is not in proxy_protocol_from.',
  },
  'proxy-header-missing': {
    outcome: 'refused',
    meaning: 'The listener demands a PROXY header and the first bytes were none.',
  },
  'proxy-header-malformed': { outcome: 'refused', meaning: 'The PROXY header broke its specification.' },
  'proxy-header-oversized': { outcome: 'refused', meaning: 'The PROXY header was larger than allowed.' },
  'proxy-header-checksum': { outcome: 'refused', meaning: 'The CRC32c in the PROXY header did not match.' },
  'proxy-header-timeout': {
    outcome: 'refused',
    meaning: 'The PROXY header was not complete within client_hello_timeout.',
  },
  'blocked-ip': { outcome: 'refused', meaning: 'A firewall rule blocks the address.' },
  'blocked-cidr': { outcome: 'refused', meaning: 'A firewall rule blocks the network the address is in.' },
  'blocked-country': { outcome: 'refused', meaning: 'A firewall rule blocks the country of the address.' },
  'rate-limited': {
    outcome: 'refused',
    meaning: 'The source opened more than rate_limit connections within rate_window.',
  },
  'not-tls': { outcome: 'refused', meaning: 'The first bytes were not a TLS handshake.' },
  'hello-malformed': { outcome: 'refused', meaning: 'The ClientHello broke the TLS specification.' },
  'hello-oversized': { outcome: 'refused', meaning: 'The ClientHello was larger than 16 KiB.' },
  'hello-timeout': {
    outcome: 'refused',
    meaning: 'The ClientHello was not complete within client_hello_timeout.',
  },
  'hello-incomplete': {
    outcome: 'refused',
    meaning: 'The client left before its first bytes were complete.',
  },
  'no-sni': {
    outcome: 'refused',
    meaning: 'The ClientHello named no host and the listener has no default_backend.',
  },
  'no-route': {
    outcome: 'refused',
    meaning: 'No route matches the host name and the listener has no default_backend.',
  },
  draining: { outcome: 'refused', meaning: 'The server was shutting down before a backend was reached.' },

  // --- HTTP: what became of a request, or of a connection that carries requests ---
  answered: { outcome: 'served', meaning: 'The backend answered and the client has the whole answer.' },
  'tunnel-closed': { outcome: 'served', meaning: 'A WebSocket or CONNECT tunnel ran and was closed.' },
  'session-closed': { outcome: 'served', meaning: 'An HTTP connection served its requests and was closed.' },
  'keep-alive-timeout': {
    outcome: 'served',
    meaning: 'An HTTP connection had no request for keep_alive_timeout.',
  },
  redirected: { outcome: 'served', meaning: 'Plain HTTP was redirected to https.' },
  'client-cancelled': {
    outcome: 'failed',
    meaning: 'The client gave up the request before its answer was complete.',
  },

  'tls-handshake-failed': { outcome: 'refused', meaning: 'The TLS handshake with the client failed.' },
  'tls-handshake-timeout': {
    outcome: 'refused',
    meaning: 'The TLS handshake was not complete within tls_handshake_timeout.',
  },
  'tls-handshake-limit': {
    outcome: 'refused',
    meaning: 'As many TLS handshakes as handshakes_max were under way.',
  },
  'tls-client-certificate': {
    outcome: 'refused',
    meaning: 'The client showed no certificate, or none that client_ca signed.',
  },
  'tls-unavailable': {
    outcome: 'failed',
    meaning: 'The certificate or key of the route could not be loaded.',
  },

  'request-malformed': { outcome: 'refused', meaning: 'The request broke the specification (400).' },
  'request-ambiguous': {
    outcome: 'refused',
    meaning:
      'Two parsers could read the request differently: lengths, encodings or hosts that disagree (400).',
  },
  'request-timeout': {
    outcome: 'refused',
    meaning: 'The request did not arrive in time, or too slowly (408).',
  },
  'target-oversized': {
    outcome: 'refused',
    meaning: 'The request target was longer than target_bytes_max (414).',
  },
  'head-oversized': {
    outcome: 'refused',
    meaning:
      'The request head was larger than head_bytes_max or had more than header_count_max fields (431).',
  },
  'body-oversized': {
    outcome: 'refused',
    meaning: 'The request body was larger than a policy or a filter allows (413).',
  },
  'expectation-failed': {
    outcome: 'refused',
    meaning: 'The request expects something other than 100-continue (417).',
  },
  'method-refused': {
    outcome: 'refused',
    meaning: 'The method is not served here: CONNECT on ingress, or one that allow_methods leaves out (405).',
  },
  'version-refused': {
    outcome: 'refused',
    meaning: 'The request names a version of HTTP that is not served (505).',
  },
  misdirected: {
    outcome: 'refused',
    meaning: 'The request names a host whose TLS policy differs from that of its connection (421).',
  },
  'loop-detected': {
    outcome: 'refused',
    meaning: 'The request had passed through this server before (508).',
  },
  'user-agent-blocked': {
    outcome: 'refused',
    meaning: 'A block_user_agent policy refused the request (403).',
  },
  'header-missing': { outcome: 'refused', meaning: 'A require_header policy refused the request (403).' },
  'request-rate-limited': { outcome: 'refused', meaning: 'A rate_limit policy refused the request (429).' },
  'http2-protocol-error': { outcome: 'refused', meaning: 'The client broke HTTP/2.' },
  'http2-abuse': {
    outcome: 'refused',
    meaning: 'The client crossed a limit that keeps HTTP/2 from being abused (ENHANCE_YOUR_CALM).',
  },

  'upstream-limit': {
    outcome: 'failed',
    meaning: 'Every connection to the backend was in use and the queue full (503).',
  },
  'upstream-timeout': {
    outcome: 'failed',
    meaning:
      'The backend did not begin to answer within response_timeout, or the deadline of the request passed (504).',
  },
  'upstream-reset': {
    outcome: 'failed',
    meaning: 'The backend ended the connection or the stream before its answer was complete (502).',
  },
  'upstream-malformed': {
    outcome: 'failed',
    meaning: 'The answer of the backend broke the specification (502).',
  },
  'upstream-tls-failed': {
    outcome: 'failed',
    meaning: 'The TLS handshake with the backend failed, or its certificate did not verify (502).',
  },
  'body-stalled': { outcome: 'failed', meaning: 'A body made no progress for body_idle_timeout.' },

  'name-not-found': { outcome: 'failed', meaning: 'The name of the backend has no address.' },
  'name-timeout': { outcome: 'failed', meaning: 'DNS did not answer for the name of the backend in time.' },
  'name-failed': { outcome: 'failed', meaning: 'DNS failed for the name of the backend.' },
  'dial-refused': { outcome: 'failed', meaning: 'Every address of the backend refused the connection.' },
  'dial-unreachable': { outcome: 'failed', meaning: 'No address of the backend could be reached.' },
  'dial-timeout': {
    outcome: 'failed',
    meaning: 'No address of the backend answered within connect_timeout.',
  },
  'dial-failed': { outcome: 'failed', meaning: 'The backend could not be dialled for another reason.' },
  'client-gone': { outcome: 'failed', meaning: 'The client left while the backend was being dialled.' },
  // --- egress: what may not leave, and why ---
  'host-blacklisted': { outcome: 'refused', meaning: 'The blacklist names the target (403).' },
  'host-blocked': {
    outcome: 'refused',
    meaning: 'No rule allows the target and default_policy is BLOCK (403).',
  },
  'port-denied': {
    outcome: 'refused',
    meaning: 'The port of the target is not among connect_ports and no rule adds it (403).',
  },
  'address-denied': {
    outcome: 'refused',
    meaning:
      'The target is, or resolves to, an address behind the proxy that nobody may reach through it (403).',
  },
  'sni-mismatch': {
    outcome: 'refused',
    meaning: 'The tunnel did not begin with a ClientHello that names its target.',
  },
  'proxy-auth-required': {
    outcome: 'refused',
    meaning: 'The client showed no credentials of the proxy, or wrong ones (407).',
  },
  'client-denied': {
    outcome: 'refused',
    meaning: 'The client is outside allowed_clients and has no credentials (403).',
  },
  'target-malformed': { outcome: 'refused', meaning: 'The target is not one host and port (400).' },
  'target-missing': {
    outcome: 'refused',
    meaning: 'The request names a path and no host: it was meant for a server, not a proxy (400).',
  },
  'socks-malformed': { outcome: 'refused', meaning: 'The first bytes broke SOCKS5.' },
  'socks-refused': { outcome: 'refused', meaning: 'A SOCKS5 command other than CONNECT.' },
  'authority-unavailable': {
    outcome: 'failed',
    meaning: 'There is no CA to sign a certificate with, so that HTTPS can only pass through (502).',
  },
  'parent-failed': {
    outcome: 'failed',
    meaning: 'The parent proxy refused the target, or answered something else than its protocol (502).',
  },
  'internal-error': {
    outcome: 'failed',
    meaning: 'A fault of Portcullis itself; the log line before carries its stack.',
  },
} as const satisfies Record<string, ReasonFacts>;

export type Reason = keyof typeof reasons;

export function isReason(code: string): code is Reason {
  return Object.hasOwn(reasons, code);
}
