/**
 * The decision: what becomes of a request or a tunnel. The one place that decides it; the data path and `explain`
 * both ask here.
 *
 *   passthrough ∩ blacklist → refuse; blacklist → refuse; rewrite; whitelist → allow; default policy
 *
 * A tunnel is judged by its host alone: rules on methods and paths wait for the requests inside, each of which is
 * judged again. What can not wait, a rule on requests that nobody will see because the host passes through, refuses.
 */
import type { EgressAction } from '../model/egress-settings.ts';
import {
  connectPortsRuleId,
  type AclRule,
  type Conditions,
  type CredentialRule,
  type EgressPolicy,
  type RewriteRule,
} from './policy.ts';
import { matchesPath } from './path-forms.ts';

/** What is judged. */
export interface Subject {
  /** Canonical. */
  readonly host: string;
  readonly port: number;
  /** `request`: a plain one. `inner`: inside a tunnel that was judged before. */
  readonly kind: 'tunnel' | 'request' | 'inner';
  /** Null for a tunnel. */
  readonly method: string | null;
  /** With its query; null for a tunnel. */
  readonly path: string | null;
  /** The name of the authenticated client. */
  readonly client: string | null;
}

/** What a rule in report mode would have done. */
export interface Report {
  readonly action: EgressAction;
  readonly ruleId: string;
}

export interface Verdict {
  readonly action: EgressAction;
  readonly isAllowed: boolean;
  /** The rule that decided. */
  readonly ruleId: string;
  /** The pattern of the rule, for the metric's label; null when the default decided. */
  readonly pattern: string | null;
  readonly reason: 'allowed' | 'host-blacklisted' | 'host-blocked' | 'port-denied';
  readonly rewrite: RewriteRule | null;
  /** Its bytes are relayed, not read. Tunnels only. */
  readonly isPassthrough: boolean;
  readonly allowPrivate: boolean;
  readonly allowRaw: boolean;
  readonly reports: readonly Report[];
}

export function decide(policy: EgressPolicy, subject: Subject): Verdict {
  const verdict = decideByRules(policy, subject);
  if (!verdict.isAllowed) return policy.mode === 'report' ? reportOnly(verdict) : verdict;
  return verdict.reason === 'allowed' && !isPortAllowed(policy, subject) ? refusePort(verdict) : verdict;
}

/** The credentials to set on a request, in file order. */
export function credentialsFor(policy: EgressPolicy, subject: Subject): readonly CredentialRule[] {
  const rules = policy.credentials.matching(subject.host);
  return rules.length === 0 ? rules : rules.filter((rule) => holds(rule, subject));
}

function decideByRules(policy: EgressPolicy, subject: Subject): Verdict {
  const reports: Report[] = [];
  const { host } = subject;
  const passthrough = firstAcl(policy.passthrough.matching(host), subject, 'PASSTHROUGH', reports);
  const denied = firstDenial(policy, subject, passthrough !== null, reports);
  if (denied !== null) return byRule(denied, 'BLACK-LISTED', false, reports);
  const rewrite = firstRewrite(policy, subject, reports);
  if (passthrough !== null) {
    return {
      ...byRule(passthrough, 'PASSTHROUGH', true, reports),
      rewrite,
      isPassthrough: subject.kind === 'tunnel',
    };
  }
  if (rewrite !== null) return byRewrite(rewrite, policy, subject, reports);
  const allowed = firstAcl(policy.whitelist.matching(host), subject, 'WHITE-LISTED', reports);
  return allowed === null ? byDefault(policy, reports) : byRule(allowed, 'WHITE-LISTED', true, reports);
}

function firstAcl(
  rules: readonly AclRule[],
  subject: Subject,
  action: EgressAction,
  reports: Report[],
): AclRule | null {
  for (const rule of rules) {
    if (!holds(rule, subject, action === 'BLACK-LISTED')) continue;
    if (rule.settings.mode === 'enforce') return rule;
    reports.push({ action, ruleId: rule.id });
  }
  return null;
}

/** A rule on methods or paths says nothing of a tunnel, unless the tunnel is the last thing that is judged. */
function firstDenial(
  policy: EgressPolicy,
  subject: Subject,
  passesThrough: boolean,
  reports: Report[],
): AclRule | null {
  const rules = policy.blacklist.matching(subject.host);
  if (rules.length === 0) return null;
  const waits = subject.kind === 'tunnel' && !passesThrough;
  const judged = waits ? rules.filter(({ methods, path }) => methods === null && path === null) : rules;
  return firstAcl(judged, subject, 'BLACK-LISTED', reports);
}

function firstRewrite(policy: EgressPolicy, subject: Subject, reports: Report[]): RewriteRule | null {
  for (const rule of policy.rewrites.matching(subject.host)) {
    if (!holds(rule, subject)) continue;
    if (rule.settings.mode === 'enforce') return rule;
    reports.push({ action: 'REWRITTEN', ruleId: rule.id });
  }
  return null;
}

/** A tunnel has neither method nor path yet; what a rule says of them is asked of each request inside. */
export function holds({ methods, path, clients }: Conditions, subject: Subject, refuses = false): boolean {
  if (clients !== null && (subject.client === null || !clients.has(subject.client))) return false;
  if (subject.method !== null && methods !== null && !methods.has(subject.method)) return false;
  return subject.path === null || path === null || matchesPath(path, subject.path, refuses);
}

function byRule(
  rule: AclRule,
  action: EgressAction,
  isAllowed: boolean,
  reports: readonly Report[],
): Verdict {
  const { pattern, allowPrivate, allowRaw } = rule.settings;
  return {
    action,
    isAllowed,
    ruleId: rule.id,
    pattern,
    reason: isAllowed ? 'allowed' : 'host-blacklisted',
    rewrite: null,
    isPassthrough: false,
    allowPrivate,
    allowRaw,
    reports,
  };
}

/** Where a rewrite leaves the host as it is, what the whitelist says of private addresses still holds. */
function byRewrite(
  rewrite: RewriteRule,
  policy: EgressPolicy,
  subject: Subject,
  reports: readonly Report[],
): Verdict {
  const listed = policy.whitelist.matching(subject.host);
  const allowPrivate = listed.some((rule) => rule.settings.allowPrivate && isInForce(rule, subject));
  const { pattern } = rewrite.settings;
  return {
    action: 'REWRITTEN',
    isAllowed: true,
    ruleId: rewrite.id,
    pattern,
    reason: 'allowed',
    rewrite,
    isPassthrough: false,
    allowPrivate,
    allowRaw: false,
    reports,
  };
}

function byDefault(policy: EgressPolicy, reports: readonly Report[]): Verdict {
  const isAllowed = policy.defaultPolicy === 'ALLOW';
  return {
    action: isAllowed ? 'ALLOWED-BY-DEFAULT' : 'BLOCKED',
    isAllowed,
    ruleId: policy.defaultRuleId,
    pattern: null,
    reason: isAllowed ? 'allowed' : 'host-blocked',
    rewrite: null,
    isPassthrough: false,
    allowPrivate: false,
    allowRaw: false,
    reports,
  };
}

function reportOnly(verdict: Verdict): Verdict {
  const report = { action: verdict.action, ruleId: verdict.ruleId };
  return {
    ...verdict,
    action: 'ALLOWED-BY-DEFAULT',
    isAllowed: true,
    reason: 'allowed',
    allowPrivate: false,
    allowRaw: false,
    reports: [...verdict.reports, report],
  };
}

function refusePort(verdict: Verdict): Verdict {
  return {
    ...verdict,
    action: 'BLOCKED',
    isAllowed: false,
    ruleId: connectPortsRuleId,
    reason: 'port-denied',
  };
}

/** Below these stand the services of a machine: mail servers take commands from whoever writes lines to them. */
const plainPortMin = 1024;

/** Tunnels go to the ports of the listener; plain requests to those of HTTP and unprivileged ones. Each rule may add. */
function isPortAllowed(policy: EgressPolicy, subject: Subject): boolean {
  const { port, kind } = subject;
  if (kind === 'inner') return true;
  if (kind === 'request' && (port === 80 || port === 443 || port >= plainPortMin)) return true;
  if (kind === 'tunnel' && policy.connectPorts.has(port)) return true;
  const { host } = subject;
  return [policy.passthrough, policy.whitelist, policy.rewrites].some((rules) =>
    rules.matching(host).some((rule) => rule.settings.ports.includes(port) && isInForce(rule, subject)),
  );
}

function isInForce(rule: AclRule | RewriteRule, subject: Subject): boolean {
  return rule.settings.mode === 'enforce' && holds(rule, subject);
}
