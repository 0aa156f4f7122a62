/**
 * Explains what would happen to a connection: which rules would be looked at, in order, and which one decides.
 *
 * It asks the data path's own tables and router, on a snapshot, and spends nothing: no rate quota, no dial.
 */
import type { Explanation, ExplainQuery, ExplainStep } from '../admin/control.ts';
import { normaliseHostname } from '../core/hostname.ts';
import { formatIp, parseIp, type IpAddress } from '../core/ip.ts';
import type { Reason } from '../core/reason.ts';
import { Firewall } from '../firewall/firewall.ts';
import { chooseRoute } from '../ingress/router.ts';
import { rateLimitRuleId } from '../model/rule-id.ts';
import type { ListenerSnapshot, Route, Snapshot } from '../model/snapshot.ts';

/** A field of the query that can not be understood. */
export class ExplainError extends Error {
  readonly field: 'host' | 'from' | 'listener';

  constructor(field: ExplainError['field'], message: string) {
    super(message);
    this.name = 'ExplainError';
    this.field = field;
  }
}

/**
 * One explanation for each listener the query could mean, in the snapshot's order. `boundPort` tells the port behind
 * a configured 0.
 */
export function explain(
  snapshot: Snapshot,
  query: ExplainQuery,
  boundPort: (listener: string) => number | undefined = () => undefined,
): Explanation[] {
  const host = query.host === '' ? null : (normaliseHostname(query.host) ?? null);
  if (host === null && query.host !== '') throw new ExplainError('host', 'expected a host name');
  const from = query.from === null ? null : (parseIp(query.from) ?? null);
  if (from === null && query.from !== null) throw new ExplainError('from', 'expected an IP address');
  const listeners = chooseListeners(snapshot, query, boundPort);
  const firewall = new Firewall(snapshot.firewall, null);
  return listeners.map((listener) => explainListener(snapshot, firewall, listener, host, from));
}

function chooseListeners(
  snapshot: Snapshot,
  { listener, port }: ExplainQuery,
  boundPort: (listener: string) => number | undefined,
): ListenerSnapshot[] {
  if (listener !== null) {
    const found = snapshot.listeners.get(listener);
    if (found === undefined) throw new ExplainError('listener', 'no such listener');
    return [found];
  }
  const all = [...snapshot.listeners.values()];
  if (port === null) return all;
  const onPort = all.filter(({ settings }) => (boundPort(settings.name) ?? settings.address.port) === port);
  if (onPort.length === 0) throw new ExplainError('listener', `no listener on port ${port}`);
  return onPort;
}

function explainListener(
  snapshot: Snapshot,
  firewall: Firewall,
  listener: ListenerSnapshot,
  host: string | null,
  from: IpAddress | null,
): Explanation {
  const steps: ExplainStep[] = [];
  const name = listener.settings.name;
  const refuse = (reason: Reason, ruleId: string | null): Explanation => {
    return { listener: name, steps, verdict: 'refuse', reason, ruleId, backend: null };
  };
  if (from !== null) {
    const refused = explainFirewall(snapshot, firewall, from, steps);
    if (refused !== null) return refuse(refused.reason, refused.ruleId);
  }
  explainRoutes(listener, host, steps);
  const route = chooseRoute(listener, host);
  if (typeof route === 'string') return refuse(route, null);
  if (route.mode === 'l7') return refuse('mode-unavailable', route.ruleId);
  return {
    listener: name,
    steps,
    verdict: 'route',
    reason: null,
    ruleId: route.ruleId,
    backend: route.backendName,
  };
}

function explainFirewall(
  { firewall: tables }: Snapshot,
  firewall: Firewall,
  from: IpAddress,
  steps: ExplainStep[],
): { reason: Reason; ruleId: string } | null {
  const refused = firewall.judgeBlocked(from);
  for (const { value: rule } of tables.blocked.matches(from)) {
    const isDecisive = refused?.ruleId === rule.ruleId;
    steps.push({
      ruleId: rule.ruleId,
      outcome: isDecisive ? 'refused' : 'shadowed',
      detail: 'blocks the address',
    });
  }
  const country = firewall.country(from);
  const countryRule = country === undefined ? undefined : tables.countries.get(country);
  if (countryRule !== undefined) {
    const isDecisive = refused?.ruleId === countryRule;
    steps.push({
      ruleId: countryRule,
      outcome: isDecisive ? 'refused' : 'shadowed',
      detail: `${formatIp(from)} is in ${country}`,
    });
  }
  if (refused !== null) return refused;
  if (tables.rateLimit !== null) {
    const isExempt = tables.rateLimitExempt.lookup(from) !== undefined;
    const { connections, windowMs } = tables.rateLimit;
    const detail = isExempt
      ? 'the address is exempt'
      : `at most ${connections} connections in ${windowMs / 1000} s`;
    steps.push({ ruleId: rateLimitRuleId, outcome: 'passed', detail });
  }
  return null;
}

function explainRoutes(listener: ListenerSnapshot, host: string | null, steps: ExplainStep[]): void {
  const matches: Route[] = host === null ? [] : listener.routes.matches(host).map(({ value }) => value);
  if (listener.defaultRoute !== null) matches.push(listener.defaultRoute);
  for (const [index, route] of matches.entries()) {
    steps.push({
      ruleId: route.ruleId,
      outcome: index === 0 ? 'matched' : 'shadowed',
      detail: `${route.mode} → ${route.backendName}`,
    });
  }
}
