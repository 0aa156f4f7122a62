/**
 * Explains what would happen to a connection: which rules would be looked at, in order, and which one decides.
 *
 * It asks the data path's own tables and router, on a snapshot, and spends nothing: no rate quota, no dial.
 */
import type { Explanation, ExplainQuery, ExplainStep } from '../admin/control.ts';
import { normaliseHostname } from '../core/hostname.ts';
import { formatIp, parseIp, type IpAddress } from '../core/ip.ts';
import type { Reason } from '../core/reason.ts';
import type { OwnAddresses } from '../egress/network-guard.ts';
import { TargetRefusal } from '../egress/target.ts';
import { Firewall } from '../firewall/firewall.ts';
import { chooseRoute } from '../ingress/router.ts';
import { listenerRuleId, rateLimitRuleId } from '../model/rule-id.ts';
import { matchPath } from '../model/route-group.ts';
import type { ListenerSnapshot, Route, Snapshot } from '../model/snapshot.ts';
import { explainEgress } from './explain-egress.ts';
import { explainPolicies } from './explain-policies.ts';

/** A field of the query that can not be understood. */
export class ExplainError extends Error {
  readonly field: 'host' | 'from' | 'listener' | 'client';

  constructor(field: ExplainError['field'], message: string) {
    super(message);
    this.name = 'ExplainError';
    this.field = field;
  }
}

/**
 * One explanation for each listener the query could mean, in the snapshot's order: on ingress the port is that of the
 * listener, on egress that of the target. `boundPort` tells the port behind a configured 0, `own` where this process
 * can be reached.
 */
export function explain(
  snapshot: Snapshot,
  query: ExplainQuery,
  boundPort: (listener: string) => number | undefined = () => undefined,
  own: OwnAddresses = { addresses: [], ports: [] },
): Explanation[] {
  const host = query.host === '' ? null : (normaliseHostname(query.host) ?? null);
  const from = query.from === null ? null : (parseIp(query.from) ?? null);
  if (from === null && query.from !== null) throw new ExplainError('from', 'expected an IP address');
  const listeners = chooseListeners(snapshot, query, boundPort);
  // An address is a target of egress, and no host name.
  const isAddress = host === null && query.host !== '';
  const asked = listeners.filter(({ settings }) => settings.kind === 'egress' || !isAddress);
  if (asked.length === 0) throw new ExplainError('host', 'expected a host name');
  const firewall = new Firewall(snapshot.firewall, null);
  return asked.map((listener) => {
    const read = { ...query, name: host, ip: from };
    return listener.settings.kind === 'egress'
      ? explainOutgoing(snapshot, firewall, listener, read, own)
      : explainListener(snapshot, firewall, listener, read);
  });
}

function chooseListeners(
  snapshot: Snapshot,
  { listener, port, host, client }: ExplainQuery,
  boundPort: (listener: string) => number | undefined,
): ListenerSnapshot[] {
  if (listener !== null) {
    const found = snapshot.listeners.get(listener);
    if (found === undefined) throw new ExplainError('listener', 'no such listener');
    return [found];
  }
  const all = [...snapshot.listeners.values()];
  const meant = all.filter(({ settings }) => {
    if (settings.kind === 'egress') return host !== '';
    if (client !== null) return false;
    return port === null || (boundPort(settings.name) ?? settings.address.port) === port;
  });
  if (meant.length > 0) return meant;
  if (client !== null)
    throw new ExplainError('client', 'no egress listener, and only egress knows clients by name');
  throw new ExplainError('listener', `no listener on port ${port}`);
}

/** The query, with what was read from it. */
interface Asked extends ExplainQuery {
  readonly name: string | null;
  readonly ip: IpAddress | null;
}

function explainListener(
  snapshot: Snapshot,
  firewall: Firewall,
  listener: ListenerSnapshot,
  asked: Asked,
): Explanation {
  const steps: ExplainStep[] = [];
  const { name: listenerName, protocol, redirectHttps } = listener.settings;
  const refuse = (reason: Reason, ruleId: string | null): Explanation => {
    return { listener: listenerName, steps, verdict: 'refuse', reason, ruleId, backend: null };
  };
  if (asked.ip !== null) {
    const refused = explainFirewall(snapshot, firewall, asked.ip, steps);
    if (refused !== null) return refuse(refused.reason, refused.ruleId);
  }
  if (protocol === 'http' && redirectHttps) {
    const ruleId = listenerRuleId(listenerName, 'redirect_https');
    steps.push({ ruleId, outcome: 'matched', detail: 'plain HTTP is answered with a redirect to https' });
    return refuse('redirected', ruleId);
  }
  const route = explainRoutes(listener, asked, steps);
  if (typeof route === 'string') return refuse(route, null);
  const refused = route.mode === 'l7' && asked.path !== null ? explainPolicies(route, asked, steps) : null;
  if (refused !== null) return refuse(refused.reason, refused.ruleId);
  const { ruleId, backendName: backend } = route;
  return { listener: listenerName, steps, verdict: 'route', reason: null, ruleId, backend };
}

/** What comes before the gateway's own rules is the same on every listener. */
function explainOutgoing(
  snapshot: Snapshot,
  firewall: Firewall,
  listener: ListenerSnapshot,
  asked: Asked,
  own: OwnAddresses,
): Explanation {
  const steps: ExplainStep[] = [];
  const { name } = listener.settings;
  const refused = asked.ip === null ? null : explainFirewall(snapshot, firewall, asked.ip, steps);
  if (refused !== null) return { listener: name, steps, verdict: 'refuse', ...refused, backend: null };
  const { egress } = snapshot;
  if (egress === null) throw new ExplainError('listener', 'there are no egress settings');
  const explained = explainEgress(egress, asked, asked.ip, own, steps);
  if (explained instanceof TargetRefusal) throw new ExplainError('host', `the target ${explained.fault}`);
  return { listener: name, steps, ...explained };
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

/** Every route whose hostname matches, the deciding hostname first and in it the longest prefix. */
function explainRoutes(listener: ListenerSnapshot, asked: Asked, steps: ExplainStep[]): Route | Reason {
  const { name, path } = asked;
  const groups = name === null ? [] : listener.routes.matches(name).map(({ value }) => value);
  const group = groups[0];
  const chosen =
    group?.mode === 'l7' ? (matchPath(group, path ?? '/') ?? 'no-route') : chooseRoute(listener, name);
  const candidates = groups.flatMap(({ routes }) => routes);
  if (listener.defaultRoute !== null) candidates.push(listener.defaultRoute);
  let outcome: ExplainStep['outcome'] = 'passed';
  for (const route of candidates) {
    if (route.hostname !== group?.hostname) outcome = 'shadowed';
    const { ruleId, mode, backendName } = route;
    const detail = `${mode} → ${backendName}`;
    steps.push({ ruleId, outcome: route === chosen ? 'matched' : outcome, detail });
    if (route === chosen) outcome = 'shadowed';
  }
  return chosen;
}
