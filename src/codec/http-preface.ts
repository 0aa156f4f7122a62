/**
 * Which version of HTTP a plain connection begins with. HTTP/2 with prior knowledge opens with a fixed preface
 * (RFC 9113 §3.4), chosen so that no HTTP/1 request can: its first four bytes tell.
 */

const preface = [0x50, 0x52, 0x49, 0x20]; // "PRI "

/** `undefined`: too few bytes to tell, all of them as the preface has them. */
export function httpVersionOf(bytes: Uint8Array): 'http1' | 'http2' | undefined {
  const length = Math.min(bytes.length, preface.length);
  for (let at = 0; at < length; at++) if (bytes[at] !== preface[at]) return 'http1';
  return length === preface.length ? 'http2' : undefined;
}
