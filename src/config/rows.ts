/**
 * Reads one row, or the whole traffic configuration, that came through the admin API instead of a file: plain objects
 * with the file's key names, the same schema, the same checks, the same sentences. What holds between a row and those
 * that are there already (a hostname twice, what the listener speaks, a country without a database) is not seen here.
 */

import type { FirewallRule } from '../model/change.ts';
import type { EgressSettings } from '../model/egress-settings.ts';
import type {
  ListenerSettings,
  PolicySettings,
  RateLimitSettings,
  RouteSettings,
  TrafficSettings,
} from '../model/settings.ts';
import type { CheckContext } from './check-context.ts';
import { checkTraffic, readChecked } from './checks.ts';
import type { Surroundings } from './checks.ts';
import { checkEgressAlone } from './egress-checks.ts';
import type { Environment } from './environment.ts';
import { checkBlocksAll } from './firewall-checks.ts';
import type { Directory } from './kinds.ts';
import { checkListener } from './listener-checks.ts';
import { formatPath, problemsMax, sentence } from './problem.ts';
import type { Finding, Problem } from './problem.ts';
import { checkPolicy } from './policy-values.ts';
import { checkRoute } from './route-checks.ts';
import { isTable } from './reader.ts';
import { firewallRuleFields, firewallRuleTypes, schema } from './schema.ts';
import type { Fields, ReadFields } from './schema.ts';
import { toEgress } from './settings-egress.ts';
import { toFirewallRule, toListener, toPolicy, toRateLimit, toRoute, toTraffic } from './settings.ts';

/** As of a file, without a place in it. `path` is within the row, `routes[0].hostname`; empty for the row itself. */
export type RowProblem = Pick<
  Problem,
  'severity' | 'code' | 'path' | 'expected' | 'found' | 'suggestion' | 'message'
>;

export interface RowReading<T> {
  /** undefined when there was an error. */
  readonly value: T | undefined;
  /** At most `problemsMax`, errors first. */
  readonly problems: readonly RowProblem[];
}

const { listeners, firewall, egress } = schema;
const { routes } = listeners.fields;
const { policies } = routes.fields;

/** With `directory` null relative paths are refused. `environment` is where `env:NAME` finds its secret. */
export function readListener(
  raw: unknown,
  directory: Directory,
  environment: Environment = process.env,
): RowReading<ListenerSettings> {
  const check = (values: ReadFields<typeof listeners.fields>, context: CheckContext): void =>
    checkListener(values, [], context);
  return readRow(listeners.fields, raw, { directory, environment }, check, toListener);
}

export function readRoute(
  raw: unknown,
  directory: Directory,
  environment: Environment = process.env,
): RowReading<RouteSettings> {
  const check = (values: ReadFields<typeof routes.fields>, context: CheckContext): void =>
    checkRoute(values, [], context, undefined);
  return readRow(routes.fields, raw, { directory, environment }, check, toRoute);
}

export function readPolicy(raw: unknown): RowReading<PolicySettings> {
  const check = (values: ReadFields<typeof policies.fields>, { report }: CheckContext): void =>
    checkPolicy(values, [], report);
  return readRow(policies.fields, raw, nowhere, check, toPolicy);
}

/** `{ type, value }`, the value in any spelling that the list of its type takes. */
export function readFirewallRule(raw: unknown): RowReading<FirewallRule> {
  const type = isTable(raw) ? firewallRuleTypes.find((each) => each === raw['type']) : undefined;
  const fields = firewallRuleFields(type);
  const check = ({ value }: ReadFields<typeof fields>, { report }: CheckContext): void => {
    if (type === 'cidr') checkBlocksAll(value, ['value'], report);
  };
  return readRow(fields, raw, nowhere, check, toFirewallRule);
}

/** `{ rate_limit, rate_window }`; null without a `rate_limit`. */
export function readRateLimit(raw: unknown): RowReading<RateLimitSettings | null> {
  const { rate_limit, rate_window } = firewall.fields;
  return readRow({ rate_limit, rate_window }, raw, nowhere, () => undefined, toRateLimit);
}

/** `{ listeners, firewall, egress }`: the part of a file that a database owns. */
export function readTraffic(
  raw: unknown,
  directory: Directory,
  environment: Environment = process.env,
): RowReading<TrafficSettings> {
  return readRow({ firewall, listeners, egress }, raw, { directory, environment }, checkTraffic, toTraffic);
}

/** What `[egress]` holds, for itself: whether a listener goes by it is not seen. */
export function readEgress(
  raw: unknown,
  directory: Directory,
  environment: Environment = process.env,
): RowReading<EgressSettings> {
  const row = readRow(
    { egress },
    { egress: raw ?? {} },
    { directory, environment },
    ({ egress: values }, context) => checkEgressAlone(values, context),
    ({ egress: values }) => toEgress(values)!,
  );
  return row;
}

/** Of rows in which nothing is a path or a secret. */
const nowhere: Surroundings = { directory: null, environment: {} };

function readRow<const F extends Fields, T>(
  fields: F,
  raw: unknown,
  surroundings: Surroundings,
  check: (values: ReadFields<F>, context: CheckContext) => void,
  convert: (values: ReadFields<F>) => T,
): RowReading<T> {
  // The reader takes nothing for a table that is left out, which no row is.
  const { values, findings } = readChecked(fields, raw ?? null, surroundings, check);
  const errors = findings.filter(({ severity }) => severity === 'error');
  const warnings = findings.filter(({ severity }) => severity === 'warning');
  return {
    value: errors.length > 0 ? undefined : convert(values),
    problems: [...errors, ...warnings].slice(0, problemsMax).map(toProblem),
  };
}

function toProblem(finding: Finding): RowProblem {
  const { severity, code, expected, found, suggestion } = finding;
  const path = formatPath(finding.path);
  return { severity, code, path, expected, found, suggestion, message: sentence(finding) };
}
