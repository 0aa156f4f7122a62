/** The policies of a route as filters, in the order they are judged: the first that refuses answers. */
import type { FilterFactory } from '../http/filter.ts';
import type { ParsedPolicy } from '../model/policy-value.ts';
import { allowMethods } from './allow-methods/allow-methods.ts';
import { blockUserAgent } from './block-user-agent/block-user-agent.ts';
import { maxBody } from './max-body/max-body.ts';
import { rateLimit, type RequestRates } from './rate-limit/rate-limit.ts';
import { requireHeader } from './require-header/require-header.ts';

export interface PolicyFilterContext {
  /** This worker's view of the shared table of a rate limit: there is one before the policy is published. */
  ratesOf(ruleId: string): RequestRates;
  nowMs(): number;
}

export function policyFilter(
  ruleId: string,
  policy: ParsedPolicy,
  context: PolicyFilterContext,
): FilterFactory {
  switch (policy.type) {
    case 'block_user_agent':
      return blockUserAgent({ ruleId, text: policy.text });
    case 'require_header':
      return requireHeader({ ruleId, name: policy.name });
    case 'allow_methods':
      return allowMethods({ ruleId, methods: policy.methods });
    case 'max_body':
      return maxBody({ ruleId, bytesMax: policy.bytesMax });
    case 'rate_limit':
      return rateLimit({
        ruleId,
        header: policy.header,
        rates: context.ratesOf(ruleId),
        nowMs: () => context.nowMs(),
      });
  }
}
