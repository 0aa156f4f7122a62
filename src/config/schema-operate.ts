/** The settings of watching and operating the process: part of the table of schema.ts. */
import { isLoopback, parseIp } from '../core/ip.ts';
import { accessFields, operateDefaults } from '../model/operate-settings.ts';
import type { AdminAddress } from '../model/settings.ts';
import { adminAddress, listenAddress, oneOf, Refusal } from './kinds.ts';
import type { Kind } from './kinds.ts';
import { list, optional, section, setting } from './schema-nodes.ts';

const urlPathPattern = /^\/[\w./~-]{0,255}$/;

export const metrics = section('Where metrics and health are served. Read at start.', {
  addr: optional(
    listenAddress(),
    'Serves `path`, `/healthz` and `/readyz` by HTTP, to whoever reaches the address. Left out: only `[admin] http_addr` ' +
      'serves them.',
  ),
  path: setting(
    urlPath(),
    operateDefaults.metrics.path,
    'Where the metrics are: Prometheus text or OpenMetrics.',
  ),
});

export const tracing = section('Spans of requests, sent to a collector. Read at start.', {
  endpoint: optional(
    httpUrl(),
    'Where spans are sent by OTLP over HTTP, as JSON: `http://127.0.0.1:4318/v1/traces`. Left out: nothing is traced.',
  ),
  sample_rate: setting(
    fraction(),
    operateDefaults.tracing.sampleRate,
    'The share of requests that begin a trace. One that brings a `traceparent` keeps the decision made there.',
  ),
});

export const access = section('The lines that tell how connections and requests ended.', {
  fields: list(
    oneOf(accessFields),
    accessFields.length,
    'The fields that are written beside `level`, `time`, `msg`, `id`, `verdict` and `reason`. Empty: all.',
  ),
  sample_rate: setting(
    fraction(),
    operateDefaults.accessLog.sampleRate,
    'The share of lines about what was served that are written. Refusals and failures always are.',
  ),
});

/** Whoever reaches the pages may end the server, so only this machine may. */
export function operatorAddress(): Kind<AdminAddress> {
  const kind = adminAddress();
  return {
    ...kind,
    expected: 'a loopback address such as "127.0.0.1:9901", or "unix:/run/portcullis-http.sock"',
    read(raw, directory) {
      const address = kind.read(raw, directory);
      if (address instanceof Refusal || address.kind === 'unix') return address;
      const ip = parseIp(address.host);
      if (ip !== undefined && isLoopback(ip)) return address;
      return new Refusal('others than this machine could reach');
    },
  };
}

/** A number from 0 to 1. */
function fraction(): Kind<number> {
  return {
    name: 'fraction',
    expected: 'a number from 0 to 1',
    json: { type: 'number', minimum: 0, maximum: 1 },
    fromText: (text) => (/^\d*\.?\d+$/.test(text) ? Number(text) : text),
    read: (raw) => (typeof raw === 'number' && raw >= 0 && raw <= 1 ? raw : new Refusal()),
  };
}

/** `/metrics`, without a query. */
function urlPath(): Kind<string> {
  return {
    name: 'path',
    expected: 'a path such as "/metrics"',
    json: { type: 'string', pattern: urlPathPattern.source },
    fromText: (text) => text,
    read: (raw) => (typeof raw === 'string' && urlPathPattern.test(raw) ? raw : new Refusal()),
  };
}

function httpUrl(): Kind<string> {
  return {
    name: 'URL',
    expected: 'a URL such as "http://127.0.0.1:4318/v1/traces"',
    json: { type: 'string', format: 'uri' },
    fromText: (text) => text,
    read: (raw) => (typeof raw === 'string' && isHttpUrl(raw) ? raw : new Refusal()),
  };
}

function isHttpUrl(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && /^https?:$/.test(url.protocol) && text.length <= 1024;
}
