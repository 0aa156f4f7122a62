/** Settings for tests: plain ones, and as many as asked for. */
import { listenerDefaults, routeDefaults } from '../../model/settings.ts';
import type { ListenerSettings, RouteSettings, TrafficSettings } from '../../model/settings.ts';

export const emptyTraffic: TrafficSettings = {
  listeners: [],
  firewall: {
    geoipDatabase: null,
    blockedIps: [],
    blockedCidrs: [],
    blockedCountries: [],
    rateLimitExempt: [],
    rateLimit: null,
  },
  egress: null,
};

export function sampleRoute(hostname: string, changed: Partial<RouteSettings> = {}): RouteSettings {
  return {
    ...routeDefaults,
    hostname,
    backend: { kind: 'tcp', host: '10.0.0.1', port: 8443 },
    ...changed,
  };
}

export function sampleListener(name: string, routes: readonly RouteSettings[] = []): ListenerSettings {
  return {
    ...listenerDefaults,
    name,
    address: { host: '', port: Number(name.slice(name.lastIndexOf(':') + 1)) },
    routes,
  };
}

/** One listener with so many routes, and so many firewall rules, three in four of them addresses. */
export function largeTraffic(routes: number, rules: number): TrafficSettings {
  const address = (index: number): string =>
    [10, (index >> 16) & 255, (index >> 8) & 255, index & 255].join('.');
  const numbers = Array.from({ length: rules }, (_, index) => index);
  const hosts = Array.from({ length: routes }, (_, index) => sampleRoute(`host-${index}.example.com`));
  return {
    listeners: [sampleListener(':443', hosts)],
    firewall: {
      ...emptyTraffic.firewall,
      blockedIps: numbers.filter((index) => index % 4 !== 0).map(address),
      blockedCidrs: numbers.filter((index) => index % 4 === 0).map((index) => `${address(index)}/32`),
    },
    egress: null,
  };
}
