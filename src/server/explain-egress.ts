/**
 * Explains what the gateway would say: each rule whose host matches, in the order of decision, which of them decides,
 * and where the connection would lead. Asked of the gateway's own functions; nothing is resolved or dialled.
 *
 * A target of https is a tunnel first, judged by its host, and then the request inside, judged again.
 */
import type { Explanation, ExplainQuery, ExplainStep } from '../admin/control.ts';
import { parseIp, type IpAddress } from '../core/ip.ts';
import type { Reason } from '../core/reason.ts';
import { Authenticator } from '../egress/authentication.ts';
import { credentialsFor, decide, holds, type Subject, type Verdict } from '../egress/decision.ts';
import { HostRules } from '../egress/host-rules.ts';
import { NetworkGuard, type GuardLevel, type OwnAddresses } from '../egress/network-guard.ts';
import {
  compilePolicy,
  connectPortsRuleId,
  type AclRule,
  type EgressPolicy,
  type RewriteRule,
} from '../egress/policy.ts';
import { wayOf } from '../egress/runtime.ts';
import { hostPort, TargetRefusal, targetOfHost, type Target } from '../egress/target.ts';
import { needsInspection } from '../egress/tunnel-opening.ts';
import type { EgressAction, EgressSettings } from '../model/egress-settings.ts';

export type EgressExplanation = Omit<Explanation, 'listener' | 'steps'>;
type Query = Pick<ExplainQuery, 'host' | 'port' | 'path' | 'method' | 'scheme' | 'client'>;

/** `from` null: a client that may use the proxy. Steps are added to those that are there. */
export function explainEgress(
  settings: EgressSettings,
  query: Query,
  from: IpAddress | null,
  own: OwnAddresses,
  steps: ExplainStep[],
): EgressExplanation | TargetRefusal {
  const target = targetOf(query);
  if (target instanceof TargetRefusal) return target;
  const asked = { target: `${target.scheme}://${hostPort(target.host, target.port)}` };
  const refuse = (reason: Reason, ruleId: string | null, action?: EgressAction): EgressExplanation => {
    const decided = action === undefined ? asked : { ...asked, action };
    return { ...decided, verdict: 'refuse', reason, ruleId, backend: null };
  };
  const denied = explainClient(settings, query.client, from, steps);
  if (denied !== null) return refuse(denied, allowedClientsRuleId);
  const policy = policyOf(settings);
  const judged = explainRequests(settings, policy, target, query, steps);
  const { verdict, reason } = judged;
  if (reason !== null) return refuse(reason, verdict.ruleId, verdict.action);
  const way = wayOf(target, verdict, settings.outgoing.insecure);
  const { host, port, level } = way.destination;
  explainParent(settings, target.host, steps);
  const isDenied = explainGuard(settings, host, port, level, own, steps);
  if (isDenied) return refuse('address-denied', guardRuleId, verdict.action);
  const backend = `${way.scheme}://${hostPort(host, port)}`;
  const { action, ruleId } = verdict;
  return { ...asked, action, verdict: 'route', reason: null, ruleId, backend };
}

const allowedClientsRuleId = 'allowed-clients/-/-';
const authorityRuleId = 'authority/-/-';
const guardRuleId = 'network-guard/-/-';

/** Compiled once: settings are the same object until they are changed, and may hold ten thousand expressions. */
const policies = new WeakMap<EgressSettings, EgressPolicy>();

function policyOf(settings: EgressSettings): EgressPolicy {
  let policy = policies.get(settings);
  if (policy === undefined) policies.set(settings, (policy = compilePolicy(settings)));
  return policy;
}

function targetOf({ host, port, scheme }: Query): Target | TargetRefusal {
  const target = targetOfHost(host, port ?? (scheme === 'https' ? 443 : 80));
  return target instanceof TargetRefusal ? target : { ...target, scheme };
}

function explainClient(
  settings: EgressSettings,
  client: string | null,
  from: IpAddress | null,
  steps: ExplainStep[],
): Reason | null {
  if (client !== null) {
    const isKnown = settings.clients.some(({ name }) => name === client);
    const detail = isKnown ? `the client ${client} has shown who it is` : `nobody is called ${client}`;
    steps.push({ ruleId: allowedClientsRuleId, outcome: isKnown ? 'passed' : 'refused', detail });
    return isKnown ? null : 'proxy-auth-required';
  }
  if (from === null) return null;
  const admission = new Authenticator(settings, new Map()).admit(from, null);
  const isRefused = typeof admission === 'string';
  const detail = isRefused ? 'the address must show who it is' : 'the address need not show who it is';
  steps.push({ ruleId: allowedClientsRuleId, outcome: isRefused ? 'refused' : 'passed', detail });
  return isRefused ? admission : null;
}

interface Judged {
  readonly verdict: Verdict;
  /** Why it is refused; null: it is not. */
  readonly reason: Reason | null;
}

/** The tunnel, and what is asked inside; or the plain request. */
function explainRequests(
  settings: EgressSettings,
  policy: EgressPolicy,
  { scheme, host, port }: Target,
  { client, path, method }: Query,
  steps: ExplainStep[],
): Judged {
  const common = { host, port, client };
  const request = { ...common, method: method || 'GET', path: path ?? '/' };
  if (scheme === 'http') return explainSubject(policy, { ...request, kind: 'request' }, steps);
  const tunnel: Subject = { ...common, kind: 'tunnel', method: null, path: null };
  const opened = explainSubject(policy, tunnel, steps);
  const { verdict } = opened;
  if (opened.reason !== null || verdict.isPassthrough) return opened;
  if (settings.authority === null) {
    const isRefused = needsInspection(policy, tunnel, verdict);
    const detail = isRefused
      ? 'there is no CA to look inside with, and a rule asks what is inside'
      : 'there is no CA to look inside with: what is inside is relayed';
    steps.push({ ruleId: authorityRuleId, outcome: isRefused ? 'refused' : 'passed', detail });
    return { verdict, reason: isRefused ? 'authority-unavailable' : null };
  }
  if (path === null) return opened;
  const inner: Subject = { ...request, kind: 'inner' };
  const judged = explainSubject(policy, inner, steps);
  if (judged.reason === null) {
    for (const { id, settings: rule } of credentialsFor(policy, inner))
      steps.push({ ruleId: id, outcome: 'matched', detail: `sets ${rule.header} from ${rule.secret}` });
  }
  return judged;
}

function explainSubject(policy: EgressPolicy, subject: Subject, steps: ExplainStep[]): Judged {
  const verdict = decide(policy, subject);
  const what = subject.method === null ? 'CONNECT' : `${subject.method} ${subject.path}`;
  const add = (ruleId: string, outcome: ExplainStep['outcome'], detail: string): void => {
    steps.push({ ruleId, outcome, detail: `${what}: ${detail}` });
  };
  const { host } = subject;
  const matches = [
    ...policy.blacklist.matching(host),
    ...policy.passthrough.matching(host),
    ...policy.rewrites.matching(host),
    ...policy.whitelist.matching(host),
  ];
  let isDecided = false;
  for (const rule of matches) {
    const outcome = outcomeOf(rule, policy, subject, verdict, isDecided);
    isDecided ||= rule.id === verdict.ruleId && outcome !== 'passed' && outcome !== 'judged';
    add(rule.id, outcome, describeRule(rule));
  }
  if (verdict.reason === 'port-denied') {
    add(connectPortsRuleId, 'refused', `port ${subject.port} is none that may be connected to`);
  } else if (verdict.ruleId === policy.defaultRuleId) {
    const outcome = verdict.isAllowed ? 'matched' : 'refused';
    add(policy.defaultRuleId, outcome, 'no rule decides');
  }
  if (policy.mode === 'report' && verdict.reports.at(-1)?.ruleId === verdict.ruleId) {
    add(verdict.ruleId, 'passed', 'mode = "report": would have been refused, and is only logged');
  }
  return { verdict, reason: verdict.reason === 'allowed' ? null : verdict.reason };
}

function outcomeOf(
  rule: AclRule | RewriteRule,
  policy: EgressPolicy,
  subject: Subject,
  verdict: Verdict,
  isDecided: boolean,
): ExplainStep['outcome'] {
  const isDenial = 'list' in rule && rule.list === 'blacklist';
  if (!holds(rule, subject, isDenial) || rule.settings.mode === 'report') return 'passed';
  const waits = subject.kind === 'tunnel' && !verdict.isPassthrough && verdict.ruleId !== rule.id;
  if (isDenial && waits && (rule.methods !== null || rule.path !== null)) return 'judged';
  if (rule === verdict.rewrite) return 'matched';
  if (isDecided || rule.id !== verdict.ruleId) return 'shadowed';
  return isDenial && policy.mode === 'enforce' ? 'refused' : 'matched';
}

function describeRule(rule: AclRule | RewriteRule): string {
  const { mode, clients, pathPattern } = rule.settings;
  return [
    ...('list' in rule ? describeEntry(rule) : describeRewrite(rule)),
    ...(pathPattern === null ? [] : [`path ${pathPattern}`]),
    ...(clients.length === 0 ? [] : [`clients ${clients.join(' ')}`]),
    ...(mode === 'report' ? ['only reports'] : []),
  ].join(', ');
}

const meanings = { blacklist: 'refuses', passthrough: 'allows, not decrypted', whitelist: 'allows' } as const;

function describeEntry({ list, settings }: AclRule): string[] {
  return [
    meanings[list],
    ...(settings.methods.length === 0 ? [] : [settings.methods.join(' ')]),
    ...(settings.allowPrivate ? ['private addresses too'] : []),
    ...(settings.allowRaw ? ['any bytes'] : []),
  ];
}

function describeRewrite({ settings }: RewriteRule): string[] {
  const { targetIp, targetHost, targetPort, targetScheme, headers, dropHeaders, insecure } = settings;
  const where = [
    ...(targetScheme === null ? [] : [targetScheme]),
    ...(targetIp === null && targetHost === null ? [] : [targetIp ?? targetHost!]),
    ...(targetPort === null ? [] : [`port ${targetPort}`]),
  ];
  return [
    `rewrites${where.length === 0 ? '' : ` to ${where.join(' ')}`}`,
    ...headers.map(([name]) => `sets ${name}`),
    ...dropHeaders.map((name) => `drops ${name}`),
    ...(insecure ? ['takes any certificate'] : []),
  ];
}

function explainParent({ parents, noProxy }: EgressSettings, host: string, steps: ExplainStep[]): void {
  if (parents.length === 0) return;
  const [direct] = new HostRules(noProxy.map((pattern) => [pattern, pattern])).matching(host);
  if (direct !== undefined) {
    steps.push({ ruleId: `no-proxy/-/${direct}`, outcome: 'matched', detail: 'no parent is asked' });
    return;
  }
  const rules = parents.flatMap((parent) => parent.patterns.map((pattern) => [pattern, parent] as const));
  const [parent] = new HostRules(rules).matching(host);
  if (parent === undefined) return;
  const { kind, host: name, port, trustDns } = parent;
  const detail = `through this proxy${trustDns ? ', which resolves the name' : ''}`;
  steps.push({ ruleId: `parent/-/${kind}://${hostPort(name, port)}`, outcome: 'matched', detail });
}

const levels: Readonly<Record<GuardLevel, string>> = {
  public: 'public addresses only',
  private: 'public and private addresses',
  rewrite: 'whatever address the rewrite leads to',
};

/** Whether a literal is denied. A name is judged once it is resolved. */
function explainGuard(
  settings: EgressSettings,
  host: string,
  port: number,
  level: GuardLevel,
  own: OwnAddresses,
  steps: ExplainStep[],
): boolean {
  const ip = parseIp(host);
  if (ip === undefined) {
    steps.push({
      ruleId: guardRuleId,
      outcome: 'judged',
      detail: `${levels[level]}, once ${host} is resolved`,
    });
    return false;
  }
  const denial = new NetworkGuard(own, settings.deniedNetworks).judge(ip, port, level);
  const detail = denial === null ? `${host} may be dialled: ${levels[level]}` : `${host} is ${denial}`;
  steps.push({ ruleId: guardRuleId, outcome: denial === null ? 'passed' : 'refused', detail });
  return denial !== null;
}
