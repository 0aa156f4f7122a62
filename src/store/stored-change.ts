/** What the store keeps of a change: the rows of the model, and the path of the GeoIP database rather than its bytes. */
import type { Change } from '../model/change.ts';
import type { TrafficSettings } from '../model/settings.ts';

export type StoredChange =
  Exclude<Change, { kind: 'geoip-set' }> | { readonly kind: 'geoip-path-set'; readonly path: string | null };

/** The configuration at one version. */
export interface StoredTraffic {
  readonly version: number;
  readonly traffic: TrafficSettings;
}
