/** Settings as tests write them: patterns, and what differs from the defaults. */
import {
  aclRuleDefaults,
  egressDefaults,
  rewriteDefaults,
  type AclRuleSettings,
  type EgressSettings,
  type RewriteSettings,
} from '../../model/egress-settings.ts';

export type AclEntry = string | (Partial<AclRuleSettings> & Pick<AclRuleSettings, 'pattern'>);
export type RewriteEntry = Partial<RewriteSettings> & Pick<RewriteSettings, 'pattern'>;

export interface WrittenSettings extends Partial<
  Omit<EgressSettings, 'whitelist' | 'blacklist' | 'passthrough' | 'rewrites'>
> {
  readonly whitelist?: readonly AclEntry[];
  readonly blacklist?: readonly AclEntry[];
  readonly passthrough?: readonly AclEntry[];
  readonly rewrites?: readonly RewriteEntry[];
}

export function egressSettings(written: WrittenSettings = {}): EgressSettings {
  const { whitelist = [], blacklist = [], passthrough = [], rewrites = [], ...rest } = written;
  return {
    ...egressDefaults,
    ...rest,
    whitelist: whitelist.map(aclRule),
    blacklist: blacklist.map(aclRule),
    passthrough: passthrough.map(aclRule),
    rewrites: rewrites.map((entry) => ({ ...rewriteDefaults, ...entry })),
  };
}

function aclRule(entry: AclEntry): AclRuleSettings {
  return { ...aclRuleDefaults, ...(typeof entry === 'string' ? { pattern: entry } : entry) };
}
