/**
 * Rule ids: `kind/listener/key`, with `-` for what does not apply. A log line, a metric or `explain` names by
 * it the rule that decided; it is the same whether the rule came from a file or from the database. No listener
 * name holds a slash, a key may (`cidr/-/10.0.0.0/8`).
 */

import type { PolicyType } from './settings.ts';

export type FirewallRuleType = 'ip' | 'cidr' | 'country';

/** `route/:443/*.example.com`, `route/:443/app.example.com/api` */
export function routeRuleId(listener: string, hostname: string, pathPrefix: string): string {
  return `route/${listener}/${hostname}${pathPrefix}`;
}

/** What a listener keeps a route by: `app.example.com/api`. No hostname holds a slash. */
export function routeKey({
  hostname,
  pathPrefix,
}: {
  readonly hostname: string;
  readonly pathPrefix: string;
}): string {
  return hostname + pathPrefix;
}

/** `policy/:443/app.example.com/api/max_body/10MiB` */
export function policyRuleId(
  listener: string,
  hostname: string,
  pathPrefix: string,
  type: PolicyType,
  value: string,
): string {
  return `policy/${listener}/${hostname}${pathPrefix}/${type}/${value}`;
}

/** The type in the id of a policy of this route; null: it is the id of something else. */
export function policyTypeIn(routeId: string, ruleId: string): string | null {
  // A value may hold anything, slashes too: the type is what follows the route.
  const start = `policy${routeId.slice('route'.length)}/`;
  return ruleId.startsWith(start) ? ruleId.slice(start.length, ruleId.indexOf('/', start.length)) : null;
}

/** `default-backend/:443/-` */
export function defaultBackendRuleId(listener: string): string {
  return `default-backend/${listener}/-`;
}

/** `listener/:443/max_connections`: a setting of the listener that decided, named as in the configuration. */
export function listenerRuleId(
  listener: string,
  setting: 'max_connections' | 'proxy_protocol_from' | 'redirect_https',
): string {
  return `listener/${listener}/${setting}`;
}

/** `ip/-/192.0.2.1`, `cidr/-/10.0.0.0/8`, `country/-/CN` */
export function firewallRuleId(type: FirewallRuleType, value: string): string {
  return `${type}/-/${value}`;
}

export const rateLimitRuleId = 'rate-limit/-/source';
