/** The whole tree of commands. What each does stands in a file for each group. */

import { Command } from 'commander';
import { backupCommands } from './backup.ts';
import { declare } from './command.ts';
import { completionCommands } from './completion.ts';
import { configCommands } from './config.ts';
import { debugCommands } from './debug.ts';
import { eventCommands } from './events.ts';
import { explainCommands } from './explain.ts';
import { firewallCommands } from './firewall.ts';
import { gencertCommands } from './gencert.ts';
import { learnCommands } from './learn.ts';
import { listenerCommands } from './listeners.ts';
import { policyCommands } from './policies.ts';
import { routeCommands } from './routes.ts';
import type { Shell } from './shell.ts';
import { statusCommands } from './status.ts';
import { trustCommands } from './trust.ts';
import { version } from './version.ts';

export function buildProgram(shell: Shell): Command {
  const root = new Command('portcullis')
    .description('One gate for network traffic in both directions.')
    .version(version(), '-V, --version')
    .helpCommand(false)
    .configureHelp({ subcommandTerm: termOf })
    .configureOutput({
      writeOut: (text) => void shell.stdout.write(text),
      writeErr: (text) => void shell.stderr.write(text),
      outputError: (text) => shell.error(usageSentence(text)),
    })
    .exitOverride();
  serveCommands(root, shell);
  upgradeCommands(root, shell);
  statusCommands(root, shell);
  listenerCommands(root, shell);
  routeCommands(root, shell);
  policyCommands(root, shell);
  firewallCommands(root, shell);
  configCommands(root, shell);
  backupCommands(root, shell);
  eventCommands(root, shell);
  explainCommands(root, shell);
  learnCommands(root, shell);
  debugCommands(root, shell);
  gencertCommands(root, shell);
  trustCommands(root, shell);
  versionCommands(root, shell);
  completionCommands(root, shell);
  return root;
}

const configHelp = 'configuration, TOML or YAML; left out: $CONFIG_PATH, or else config.yaml';

/** Containers name their file in the environment, or put it where it is looked for. */
function configFile(flag: string | undefined, env: Shell['env']): string {
  return flag ?? (env['CONFIG_PATH'] || 'config.yaml');
}

/** Commands load what they need when they run: a whole server is not needed to print a help page. */
function serveCommands(root: Command, shell: Shell): void {
  declare(root, {
    name: 'serve',
    summary: 'Serve the listeners of a configuration until SIGTERM or SIGINT, then drain.',
    details:
      'SIGHUP reads the GeoIP database, certificates and process settings again;\n' +
      'SIGUSR2 opens the file of the log again.',
    examples: ['portcullis serve -c portcullis.toml'],
  })
    .option('-c, --config <file>', configHelp)
    .action(async ({ config }: { config?: string }) => {
      const { serveCommand } = await import('./serve.ts');
      shell.exitCode = await serveCommand({ config: configFile(config, shell.env), env: shell.env });
    });

  declare(root, {
    name: 'validate',
    summary: 'Say everything that is wrong with a configuration, each with its place.',
    examples: ['portcullis validate -c portcullis.toml'],
  })
    .option('-c, --config <file>', configHelp)
    .option('--json', 'problems as a JSON array on standard output', false)
    .action(async ({ config, json }: { config?: string; json: boolean }) => {
      const { validateCommand } = await import('./validate.ts');
      const { stdout, stderr, env } = shell;
      const file = configFile(config, env);
      shell.exitCode = validateCommand({ config: file, json, env, stdout, stderr });
    });
}

function upgradeCommands(root: Command, shell: Shell): void {
  declare(root, {
    name: 'upgrade',
    summary: 'Have the installed version take over from the running one.',
    details:
      'Needs [admin] http_addr. The new process takes the listening sockets over and\n' +
      'says that it serves; the old one finishes what it has begun and ends. No\n' +
      'connection is lost. When the new one does not come to serve, nothing changes.',
    examples: ['portcullis upgrade -c portcullis.toml'],
  })
    .requiredOption('-c, --config <file>', 'configuration of the running server')
    .action(async ({ config }: { config: string }) => {
      const { upgradeCommand } = await import('./upgrade.ts');
      shell.exitCode = await upgradeCommand(config, shell);
    });
}

function versionCommands(root: Command, shell: Shell): void {
  declare(root, {
    name: 'version',
    summary: 'Print the version.',
    examples: ['portcullis version'],
  })
    .option('--json', 'as JSON')
    .action(({ json }: { json?: true }) => {
      if (json === true) shell.json({ version: version() });
      else shell.line(`portcullis v${version()}`);
    });
}

/** Name and arguments: that there are flags goes without saying. */
function termOf(command: Command): string {
  const args = command.registeredArguments.map((each) =>
    each.required ? `<${each.name()}>` : `[${each.name()}]`,
  );
  return [command.name(), ...args].join(' ');
}

/** Commander's `error: unknown option '--x'` and its guess, on one line. */
function usageSentence(text: string): string {
  const sentence = text
    .trim()
    .replace(/^error: /, '')
    .replaceAll(/\.?\n/g, ' ');
  return `${sentence.replace(/\.$/, '')}; see --help`;
}
