/** The rules of egress, compiled from their settings: what `decide` looks at. Immutable; a reload makes a new one. */
import { assert } from '../core/errors.ts';
import { LinearRegex } from '../core/linear-regex.ts';
import type {
  AclList,
  AclRuleSettings,
  CredentialSettings,
  DefaultPolicy,
  EgressSettings,
  RewriteSettings,
  RuleMode,
} from '../model/egress-settings.ts';
import { compilePathRegex } from '../model/target-pattern.ts';
import { HostRules } from './host-rules.ts';

/** What a rule asks of a request beside its host. */
export interface Conditions {
  readonly methods: ReadonlySet<string> | null;
  readonly path: LinearRegex | null;
  readonly clients: ReadonlySet<string> | null;
}

export interface AclRule extends Conditions {
  readonly id: string;
  readonly list: AclList;
  readonly settings: AclRuleSettings;
}

export interface RewriteRule extends Conditions {
  readonly id: string;
  readonly settings: RewriteSettings;
}

export interface CredentialRule extends Conditions {
  readonly id: string;
  readonly settings: CredentialSettings;
}

export interface EgressPolicy {
  readonly defaultPolicy: DefaultPolicy;
  readonly defaultRuleId: string;
  readonly mode: RuleMode;
  readonly whitelist: HostRules<AclRule>;
  readonly blacklist: HostRules<AclRule>;
  readonly passthrough: HostRules<AclRule>;
  readonly rewrites: HostRules<RewriteRule>;
  readonly credentials: HostRules<CredentialRule>;
  readonly connectPorts: ReadonlySet<number>;
}

export const connectPortsRuleId = 'connect-ports/-/-';

export function compilePolicy(settings: EgressSettings): EgressPolicy {
  return {
    defaultPolicy: settings.defaultPolicy,
    defaultRuleId: `default-policy/-/${settings.defaultPolicy}`,
    mode: settings.mode,
    whitelist: compileList('whitelist', settings.whitelist),
    blacklist: compileList('blacklist', settings.blacklist),
    passthrough: compileList('passthrough', settings.passthrough),
    rewrites: new HostRules(settings.rewrites.map((rule) => [rule.pattern, compileRewrite(rule)])),
    credentials: new HostRules(settings.credentials.map((rule) => [rule.pattern, compileCredential(rule)])),
    connectPorts: new Set(settings.connectPorts),
  };
}

/** `whitelist/-/*.example.com`, and what else the rule asks for: `blacklist/-/example.com DELETE ^/v1`. */
export function aclRuleId(list: AclList, rule: AclRuleSettings): string {
  return `${list}/-/${keyOf(rule.pattern, rule.methods, rule.pathPattern)}`;
}

function compileList(list: AclList, rules: readonly AclRuleSettings[]): HostRules<AclRule> {
  return new HostRules(rules.map((rule) => [rule.pattern, compileRule(list, rule)]));
}

function compileRule(list: AclList, settings: AclRuleSettings): AclRule {
  return { id: aclRuleId(list, settings), list, settings, ...conditionsOf(settings) };
}

function compileRewrite(settings: RewriteSettings): RewriteRule {
  const id = `rewrite/-/${keyOf(settings.pattern, [], settings.pathPattern)}`;
  return { id, settings, ...conditionsOf(settings) };
}

function compileCredential(settings: CredentialSettings): CredentialRule {
  const id = `credential/-/${keyOf(settings.pattern, [], settings.pathPattern)} ${settings.header}`;
  return { id, settings, ...conditionsOf(settings) };
}

function keyOf(pattern: string, methods: readonly string[], path: string | null): string {
  return [pattern, methods.join(), path ?? ''].filter((part) => part !== '').join(' ');
}

interface WrittenConditions {
  readonly methods?: readonly string[];
  readonly pathPattern: string | null;
  readonly clients: readonly string[];
}

function conditionsOf({ methods = [], pathPattern, clients }: WrittenConditions): Conditions {
  const path = pathPattern === null ? null : compilePathRegex(pathPattern);
  assert(path === null || path instanceof LinearRegex, 'a path pattern of the settings does not compile');
  return {
    methods: methods.length === 0 ? null : new Set(methods),
    path,
    clients: clients.length === 0 ? null : new Set(clients),
  };
}
