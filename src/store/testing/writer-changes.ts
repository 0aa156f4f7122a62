/** What the writer of the tests commits at each version: several tables at once, so that half of it would show. */
import type { TrafficSettings } from '../../model/settings.ts';
import type { StoredChange } from '../stored-change.ts';
import { emptyTraffic, sampleListener, sampleRoute } from './sample-traffic.ts';

export const seedTraffic: TrafficSettings = {
  listeners: [sampleListener(':443'), sampleListener(':8443')],
  firewall: { ...emptyTraffic.firewall, rateLimit: { connections: 1, windowMs: 60_000 } },
  egress: null,
};

/** The stock of rows stays the same size, however many versions there are. */
export function writerChanges(version: number): Exclude<StoredChange, { kind: 'geoip-path-set' }>[] {
  const route = sampleRoute(`host-${version % 8}.example`, {
    backend: { kind: 'unix', path: `/run/${version}.sock` },
    policies: [
      { type: 'block_user_agent', value: `agent-${version}` },
      { type: 'require_header', value: `x-${version}` },
    ],
  });
  return [
    { kind: 'route-put', listener: ':443', route },
    { kind: 'route-remove', listener: ':443', hostname: `host-${(version + 3) % 8}.example`, pathPrefix: '' },
    { kind: 'firewall-remove', rule: { type: 'ip', value: addressOf(version - 16) } },
    { kind: 'firewall-put', rule: { type: 'ip', value: addressOf(version) } },
    { kind: 'max-connections-set', listener: ':8443', maxConnections: version },
    { kind: 'rate-limit-set', rateLimit: { connections: version, windowMs: 60_000 } },
  ];
}

function addressOf(version: number): string {
  const index = Math.max(version, 0);
  return `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`;
}
