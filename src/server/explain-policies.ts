/** What the policies of a route would say of a request, as far as the question tells what it carries. */
import type { ExplainQuery, ExplainStep } from '../admin/control.ts';
import type { Reason } from '../core/reason.ts';
import { formatPolicy, type ParsedPolicy } from '../model/policy-value.ts';
import type { Policy, Route } from '../model/snapshot.ts';

type Request = Pick<ExplainQuery, 'method' | 'headers'>;

/** In the order they are judged, up to the first that refuses; answers that one. */
export function explainPolicies(
  { policies }: Route,
  request: Request,
  steps: ExplainStep[],
): { reason: Reason; ruleId: string } | null {
  for (const { ruleId, rule } of policies) {
    const outcome = judge(rule, request);
    steps.push({ ruleId, outcome, detail: `${rule.type} ${formatPolicy(rule)}` });
    if (outcome === 'refused') return { reason: reasonOf[rule.type], ruleId };
  }
  return null;
}

function judge(rule: Policy['rule'], { method, headers }: Request): ExplainStep['outcome'] {
  switch (rule.type) {
    case 'block_user_agent':
      if (headers === null) return 'judged';
      return valuesOf(headers, 'user-agent').some((value) => value.includes(rule.text))
        ? 'refused'
        : 'passed';
    case 'require_header':
      if (headers === null) return 'judged';
      return valuesOf(headers, rule.name).length === 0 ? 'refused' : 'passed';
    case 'allow_methods':
      if (method === '') return 'judged';
      return rule.methods.includes(method) ? 'passed' : 'refused';
    case 'max_body':
    case 'rate_limit':
      return 'judged';
  }
}

function valuesOf(headers: NonNullable<Request['headers']>, name: string): string[] {
  return headers.filter((field) => field.name.toLowerCase() === name).map(({ value }) => value);
}

const reasonOf = {
  block_user_agent: 'user-agent-blocked',
  require_header: 'header-missing',
  allow_methods: 'method-refused',
  max_body: 'body-oversized',
  rate_limit: 'request-rate-limited',
} as const satisfies Record<ParsedPolicy['type'], Reason>;
