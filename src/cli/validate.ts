/** `portcullis validate`: says everything that is wrong with a configuration, and starts nothing. */

import { loadSettings } from '../config/load.ts';
import { inspectEgress } from '../server/egress-inspection.ts';
import { formatProblem, plain } from '../config/problem.ts';
import type { Problem } from '../config/problem.ts';
import type { Environment } from '../config/environment.ts';
import type { EgressSettings } from '../model/egress-settings.ts';
import type { Settings } from '../model/settings.ts';
import { exitCodes } from './exit-codes.ts';
import type { ExitCode } from './exit-codes.ts';
import { counted } from './display.ts';
import { isColoured } from './shell.ts';
import type { Output } from './shell.ts';

export interface ValidateOptions {
  readonly config: string;
  /** Problems as a JSON array on stdout, empty when there are none. */
  readonly json: boolean;
  readonly env: Environment;
  readonly stdout: Output;
  readonly stderr: Output;
}

export function validateCommand({ config, json, env, stdout, stderr }: ValidateOptions): ExitCode {
  const { settings, problems } = loadSettings(config, env, { inspectEgress: inspectEgress(env) });
  if (json) stdout.write(`${JSON.stringify(problems, null, 2)}\n`);
  else printProblems(problems, stderr, env);
  const file = plain(config, 4096);
  if (settings === undefined) {
    if (!json) stderr.write(`${file}: ${countProblems(problems)}\n`);
    return exitCodes.configuration;
  }
  if (!json) stdout.write(`${file}: ok (${countSettings(settings)})\n`);
  return exitCodes.ok;
}

/** One line for each problem, in colour only on a terminal whose owner did not ask otherwise (no-color.org). */
export function printProblems(problems: readonly Problem[], output: Output, env: Environment): void {
  const hasColour = isColoured(output, env);
  if (problems.length > 0) {
    output.write(problems.map((problem) => `${formatProblem(problem, hasColour)}\n`).join(''));
  }
}

function countProblems(problems: readonly Problem[]): string {
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  const warnings = problems.length - errors;
  return counted(errors, 'error') + (warnings === 0 ? '' : `, ${counted(warnings, 'warning')}`);
}

function countSettings({ traffic: { listeners, firewall, egress } }: Settings): string {
  const routes = listeners.reduce((sum, listener) => sum + listener.routes.length, 0);
  const rules = firewall.blockedIps.length + firewall.blockedCidrs.length + firewall.blockedCountries.length;
  return [
    counted(listeners.length, 'listener'),
    counted(routes, 'route'),
    counted(rules, 'firewall rule'),
    ...(egress === null ? [] : [counted(countEgress(egress), 'egress rule')]),
  ].join(', ');
}

function countEgress({ whitelist, blacklist, passthrough, rewrites }: EgressSettings): number {
  return whitelist.length + blacklist.length + passthrough.length + rewrites.length;
}
