/** Traffic settings from the API's message, the way back of admin/translate.ts. A server answers in canonical spelling. */

import { FirewallRuleType } from '../admin/gen/portcullis/v1/admin_pb.ts';
import type { Config, Firewall, Listener, Route } from '../admin/gen/portcullis/v1/admin_pb.ts';
import { parseEndpoint, parseListenAddress } from '../config/address.ts';
import { parseDuration } from '../config/quantity.ts';
import { listenerDefaults, policyTypes, routeDefaults } from '../model/settings.ts';
import type {
  EndpointAddress,
  FirewallSettings,
  ListenerSettings,
  PolicySettings,
  RouteSettings,
  TrafficSettings,
} from '../model/settings.ts';
import { exitCodes } from './exit-codes.ts';
import { CommandFailure } from './failure.ts';

export function trafficOf({ listeners, firewall }: Config): TrafficSettings {
  return { listeners: listeners.map(listenerOf), firewall: firewallOf(firewall) };
}

function listenerOf(listener: Listener): ListenerSettings {
  return {
    ...listenerDefaults,
    name: listener.addr,
    address: known(parseListenAddress(listener.addr), listener.addr),
    proxyProtocol: listener.proxyProtocol,
    proxyProtocolFrom: listener.proxyProtocolFrom,
    maxConnections: listener.maxConnections,
    defaultBackend: listener.defaultBackend === '' ? null : endpointOf(listener.defaultBackend),
    routes: listener.routes.map(routeOf),
  };
}

function routeOf(route: Route): RouteSettings {
  return {
    ...routeDefaults,
    hostname: route.hostname,
    mode: route.mode === 'l7' ? 'l7' : 'l4',
    backend: endpointOf(route.backend),
    sendProxyProtocol: route.sendProxyProtocol,
    tls: tlsOf(route),
    backendTls: route.backendTls ? { ca: null, serverName: null, insecure: false } : null,
    policies: route.l7Policies.map(({ type, value }): PolicySettings => {
      return {
        type: known(
          policyTypes.find((each) => each === type),
          type,
        ),
        value,
      };
    }),
  };
}

function tlsOf({ tlsCert: cert, tlsKey: key }: Route): RouteSettings['tls'] {
  return cert === '' || key === ''
    ? null
    : { cert, key, clientCa: null, clientAuth: 'none', minVersion: '1.2' };
}

function firewallOf(firewall: Firewall | undefined): FirewallSettings {
  const valuesOf = (type: FirewallRuleType): string[] =>
    (firewall?.rules ?? []).filter((rule) => rule.type === type).map(({ value }) => value);
  const limit = firewall?.rateLimit;
  return {
    geoipDatabase: firewall?.geoipDb || null,
    blockedIps: valuesOf(FirewallRuleType.IP),
    blockedCidrs: valuesOf(FirewallRuleType.CIDR),
    blockedCountries: valuesOf(FirewallRuleType.COUNTRY),
    rateLimitExempt: firewall?.allowed ?? [],
    rateLimit:
      limit === undefined || limit.connections === 0
        ? null
        : { connections: limit.connections, windowMs: known(parseDuration(limit.window), limit.window) },
  };
}

function endpointOf(text: string): EndpointAddress {
  return known(parseEndpoint(text, '/'), text);
}

/** Only a server of another version says what this one does not know. */
function known<T>(value: T | undefined, text: string): T {
  if (value !== undefined) return value;
  const message = `the server says ${JSON.stringify(text)}, which this version does not understand: update this program`;
  throw new CommandFailure(exitCodes.failed, message);
}
