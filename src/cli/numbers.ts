/** Arguments of a command line that are numbers, or hold one. */

import { InvalidArgumentError } from 'commander';

/** A whole number from 0 on. For commander: what it throws becomes an error of usage. */
export function wholeNumber(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > 0xffff_ffff) throw new InvalidArgumentError('Expected a whole number.');
  return value;
}

export interface HostPort {
  /** Empty: none. An IPv6 address without its brackets. */
  readonly host: string;
  /** Null: none. */
  readonly port: number | null;
}

/** `app.example.com`, `app.example.com:443`, `[::1]:443`, `:443`; undefined for anything else. */
export function parseHostPort(text: string): HostPort | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]*))(?::([1-9]\d{0,4}))?$/.exec(text);
  if (match === null) return undefined;
  const host = match[1] ?? match[2]!;
  const port = match[3] === undefined ? null : Number(match[3]);
  if ((port ?? 0) > 65_535 || (host === '' && port === null)) return undefined;
  return { host, port };
}
