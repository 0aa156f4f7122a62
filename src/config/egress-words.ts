/** Small facts that egress settings share. */

/** Headers that frame a message or belong to one connection: whoever sets them smuggles. */
const framingHeaders: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'http2-settings',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

export function isFraming(name: string): boolean {
  return framingHeaders.has(name);
}
