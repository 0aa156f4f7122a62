/** One route as the data path runs by it: its settings, with what would otherwise be made anew for each request. */
import { assert } from '../core/errors.ts';
import { formatEndpoint } from './endpoint.ts';
import type { HeaderRules } from './http-settings.ts';
import { type ParsedPolicy, parsePolicy } from './policy-value.ts';
import { defaultBackendRuleId, policyRuleId, routeRuleId } from './rule-id.ts';
import { routeDefaults } from './settings.ts';
import type { EndpointAddress, PolicySettings, RouteSettings } from './settings.ts';

export interface Route extends Omit<RouteSettings, 'hostname' | 'policies'> {
  readonly ruleId: string;
  /** The pattern; null for the default backend. */
  readonly hostname: string | null;
  /** `backend` as people write it. */
  readonly backendName: string;
  /** What a request to the backend names as its authority: the `host` that `request_headers` sets. Null: as received. */
  readonly authority: string | null;
  /** Without `host`, which is no field of a message. */
  readonly requestHeaders: HeaderRules;
  /** In the order they are judged. */
  readonly policies: readonly Policy[];
}

export interface Policy {
  readonly ruleId: string;
  readonly rule: ParsedPolicy;
}

export function prepareRoute(
  listener: string,
  settings: RouteSettings,
): Route & { readonly hostname: string } {
  const { hostname, pathPrefix } = settings;
  const policies = preparePolicies(listener, settings);
  return makeRoute(routeRuleId(listener, hostname, pathPrefix), hostname, settings, policies);
}

/** It relays as an l4 route does. */
export function prepareDefaultRoute(listener: string, backend: EndpointAddress): Route {
  return makeRoute(defaultBackendRuleId(listener), null, { ...routeDefaults, backend }, noPolicies);
}

/** Most routes have none; they share this. */
const noPolicies: readonly Policy[] = [];

/** Field by field: every route has the same hidden class, whoever made the settings. */
function makeRoute<Hostname extends string | null>(
  ruleId: string,
  hostname: Hostname,
  settings: Omit<RouteSettings, 'hostname'>,
  policies: readonly Policy[],
): Route & { readonly hostname: Hostname } {
  return {
    ruleId,
    hostname,
    pathPrefix: settings.pathPrefix,
    mode: settings.mode,
    backend: settings.backend,
    backendName: formatEndpoint(settings.backend),
    sendProxyProtocol: settings.sendProxyProtocol,
    tls: settings.tls,
    backendProtocol: settings.backendProtocol,
    backendTls: settings.backendTls,
    forwarded: settings.forwarded,
    authority: hostOf(settings.requestHeaders),
    requestHeaders: withoutHost(settings.requestHeaders),
    responseHeaders: settings.responseHeaders,
    policies,
  };
}

function hostOf({ set }: HeaderRules): string | null {
  return set.find(([name]) => name === 'host')?.[1] ?? null;
}

function withoutHost(rules: HeaderRules): HeaderRules {
  if (hostOf(rules) === null) return rules;
  return { ...rules, set: rules.set.filter(([name]) => name !== 'host') };
}

function preparePolicies(
  listener: string,
  { hostname, pathPrefix, policies }: RouteSettings,
): readonly Policy[] {
  if (policies.length === 0) return noPolicies;
  return policies.map(({ type, value }: PolicySettings) => {
    const rule = parsePolicy(type, value);
    assert(rule.type !== 'fault', 'a policy of the settings has a value that its type does not take');
    return { ruleId: policyRuleId(listener, hostname, pathPrefix, type, value), rule };
  });
}
