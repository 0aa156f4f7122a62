/** The settings of the HTTP engine: part of the table of schema.ts. */
import { formatDuration, formatSize } from '../core/quantity.ts';
import { httpDefaults } from '../model/http-settings.ts';
import type { HttpSettings } from '../model/http-settings.ts';
import { duration, integer, size } from './kinds.ts';
import { section, setting } from './schema-nodes.ts';
import type { Setting } from './schema-nodes.ts';

const second = 1000;
const hour = 3_600_000;
const day = 24 * hour;

export const http = section(
  'Deadlines and limits of HTTP, for clients and backends of routes of mode `l7`. Read at start.',
  {
    tls_handshake_timeout: time(
      'tlsHandshakeTimeoutMs',
      1,
      hour,
      'How long a client may take from its connection to the end of the TLS handshake.',
    ),
    head_timeout: time(
      'headTimeoutMs',
      1,
      hour,
      'How long the head of a request may take from its first byte to its end.',
    ),
    body_idle_timeout: time(
      'bodyIdleTimeoutMs',
      second,
      day,
      'A body, of a request or of a response, that makes no progress for this long ends its request.',
    ),
    body_rate_min: bytes(
      'bodyRateMin',
      0,
      2 ** 30,
      'Bytes in each second, averaged over `body_idle_timeout`, below which a request body is too slow. `0B`: any rate.',
    ),
    response_timeout: time(
      'responseTimeoutMs',
      1,
      day,
      'How long a backend may take from the end of the request to the first byte of its response.',
    ),
    keep_alive_timeout: time(
      'keepAliveTimeoutMs',
      1,
      day,
      'How long a connection of a client stays open between requests.',
    ),
    upstream_idle_timeout: time(
      'upstreamIdleTimeoutMs',
      1,
      day,
      'How long a connection to a backend is kept for the next request.',
    ),
    tunnel_idle_timeout: time(
      'tunnelIdleTimeoutMs',
      second,
      7 * day,
      'A WebSocket or another tunnel over which no byte moved for this long, either way, is closed.',
    ),
    head_bytes_max: bytes(
      'headBytesMax',
      2 ** 10,
      2 ** 20,
      'Of the head of a request or a response, its first line included.',
    ),
    header_count_max: count('headerCountMax', 8, 10_000, 'Fields in one head.'),
    target_bytes_max: bytes('targetBytesMax', 256, 2 ** 20, 'Of the target of a request: path and query.'),
    pipelined_max: count(
      'pipelinedMax',
      1,
      1024,
      'Requests that are read ahead on one HTTP/1 connection while an earlier one is served.',
    ),
    streams_max: count('streamsMax', 1, 10_000, 'Requests at once on one HTTP/2 connection of a client.'),
    handshakes_max: count('handshakesMax', 1, 1_000_000, 'TLS handshakes under way at once, in each worker.'),
    upstream_connections_max: count(
      'upstreamConnectionsMax',
      1,
      100_000,
      'Connections to one backend, in each worker.',
    ),
    upstream_waiting_max: count(
      'upstreamWaitingMax',
      0,
      1_000_000,
      'Requests that wait for a connection to one backend, in each worker. Further ones are answered 503.',
    ),
  },
);

/** The defaults have one place, which is the model's. */
function time(
  name: keyof HttpSettings,
  leastMs: number,
  mostMs: number,
  description: string,
): Setting<number> {
  return setting(duration(leastMs, mostMs), formatDuration(httpDefaults[name]), description);
}

function bytes(name: keyof HttpSettings, least: number, most: number, description: string): Setting<number> {
  return setting(size(least, most), formatSize(httpDefaults[name]), description);
}

function count(name: keyof HttpSettings, least: number, most: number, description: string): Setting<number> {
  return setting(integer(least, most), httpDefaults[name], description);
}
