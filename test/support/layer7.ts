/** Configurations with l7 routes, written as people write them. */
import type { Issued } from './authority.ts';
import type { LogLine } from './portcullis.ts';

/** The line that tells how a request ended. */
export interface RequestLine extends LogLine {
  readonly id: string;
  readonly client: string;
  readonly route: string | null;
  readonly method: string;
  readonly host: string;
  readonly path: string;
  readonly protocol: string;
  readonly status: number;
  readonly bytes_in: number;
  readonly bytes_out: number;
  readonly upstream: string | null;
  readonly upstream_protocol?: string;
  readonly verdict: string;
  readonly reason: string;
  readonly rule?: string;
}

export function isRequestLine(line: LogLine): line is RequestLine {
  return line.msg === 'request';
}

/** Everything of one listener but its routes. */
export function listener(lines: readonly string[], routes: readonly string[]): string {
  return ['[[listeners]]', ...lines, ...routes].join('\n') + '\n';
}

/** One route; `rest` are further lines of it. */
export function route(hostname: string, backendPort: number, ...rest: readonly string[]): string {
  return [
    '[[listeners.routes]]',
    `hostname = "${hostname}"`,
    'mode = "l7"',
    `backend = "127.0.0.1:${backendPort}"`,
    ...rest,
  ].join('\n');
}

/** The lines of a route that ends TLS. */
export function tls(identity: Issued): string {
  return `tls_cert = "${identity.certPath}"\ntls_key = "${identity.keyPath}"`;
}
