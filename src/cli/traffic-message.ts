/** Traffic settings from the API's message, the way back of admin/translate.ts. A server answers in canonical spelling. */

import type { JsonObject } from '@bufbuild/protobuf';
import { FirewallRuleType } from '../admin/gen/portcullis/v1/admin_pb.ts';
import type {
  Config,
  Firewall,
  HeaderRules as HeaderRulesMessage,
  Listener,
  Route,
} from '../admin/gen/portcullis/v1/admin_pb.ts';
import { parseEndpoint, parseListenAddress } from '../config/address.ts';
import { formatPath } from '../config/problem.ts';
import { readTable } from '../config/reader.ts';
import { schema } from '../config/schema.ts';
import { toEgress } from '../config/settings-egress.ts';
import { parseDuration } from '../core/quantity.ts';
import {
  backendProtocols,
  clientAuthModes,
  listenerProtocols,
  noHeaderRules,
  tlsVersions,
} from '../model/http-settings.ts';
import type { BackendTlsSettings, HeaderRules, RouteTlsSettings } from '../model/http-settings.ts';
import type { EgressSettings } from '../model/egress-settings.ts';
import { listenerKinds, policyTypes } from '../model/settings.ts';
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

export function trafficOf({ listeners, firewall, egress }: Config): TrafficSettings {
  return {
    listeners: listeners.map(listenerOf),
    firewall: firewallOf(firewall),
    egress: egress === undefined ? null : egressOf(egress),
  };
}

function listenerOf(listener: Listener): ListenerSettings {
  return {
    kind: oneOf(listenerKinds, listener.kind || 'ingress'),
    name: listener.addr,
    address: known(parseListenAddress(listener.addr), listener.addr),
    proxyProtocol: listener.proxyProtocol,
    proxyProtocolFrom: listener.proxyProtocolFrom,
    maxConnections: listener.maxConnections,
    protocol: oneOf(listenerProtocols, listener.protocol || 'tls'),
    redirectHttps: listener.redirectHttps,
    trustedProxies: listener.trustedProxies,
    defaultBackend: listener.defaultBackend === '' ? null : endpointOf(listener.defaultBackend),
    tls: tlsOf(listener),
    routes: listener.routes.map(routeOf),
  };
}

function routeOf(route: Route): RouteSettings {
  return {
    pathPrefix: route.pathPrefix,
    hostname: route.hostname,
    mode: route.mode === 'l7' ? 'l7' : 'l4',
    backend: endpointOf(route.backend),
    sendProxyProtocol: route.sendProxyProtocol,
    tls: tlsOf(route),
    backendProtocol: oneOf(backendProtocols, route.backendProtocol || 'h2c'),
    backendTls: backendTlsOf(route),
    forwarded: route.forwarded,
    requestHeaders: headersOf(route.requestHeaders),
    responseHeaders: headersOf(route.responseHeaders),
    policies: route.l7Policies.map(({ type, value }): PolicySettings => {
      return { type: oneOf(policyTypes, type), value };
    }),
  };
}

type TlsFields = Pick<Route, 'tlsCert' | 'tlsKey' | 'clientCa' | 'clientAuth' | 'tlsMinVersion'>;

function tlsOf(route: TlsFields): RouteTlsSettings | null {
  const { tlsCert: cert, tlsKey: key, clientCa, clientAuth, tlsMinVersion } = route;
  if (cert === '' || key === '') return null;
  return {
    cert,
    key,
    clientCa: clientCa || null,
    clientAuth: oneOf(clientAuthModes, clientAuth || 'none'),
    minVersion: oneOf(tlsVersions, tlsMinVersion || '1.2'),
  };
}

function backendTlsOf(route: Route): BackendTlsSettings | null {
  if (!route.backendTls) return null;
  const { backendCa, backendServerName, backendInsecure } = route;
  return { ca: backendCa || null, serverName: backendServerName || null, insecure: backendInsecure };
}

function headersOf(rules: HeaderRulesMessage | undefined): HeaderRules {
  if (rules === undefined) return noHeaderRules;
  const pairs = (fields: HeaderRulesMessage['set']): [string, string][] =>
    fields.map(({ name, value }) => [name, value]);
  return { remove: rules.remove, set: pairs(rules.set), add: pairs(rules.add) };
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

/** By the file's own schema; whether the files exist is for the server's machine to say. */
function egressOf(raw: JsonObject): EgressSettings {
  const { values, findings } = readTable({ egress: schema.egress }, { egress: raw }, null);
  const [fault] = findings;
  if (fault !== undefined) throw notUnderstood(formatPath(fault.path));
  return toEgress(values.egress)!;
}

function endpointOf(text: string): EndpointAddress {
  return known(parseEndpoint(text, '/'), text);
}

function oneOf<T extends string>(words: readonly T[], text: string): T {
  return known(
    words.find((each) => each === text),
    text,
  );
}

/** Only a server of another version says what this one does not know. */
function known<T>(value: T | undefined, text: string): T {
  if (value !== undefined) return value;
  throw notUnderstood(text);
}

function notUnderstood(text: string): CommandFailure {
  const message = `the server says ${JSON.stringify(text)}, which this version does not understand: update this program`;
  return new CommandFailure(exitCodes.failed, message);
}
