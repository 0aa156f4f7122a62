/** The `portcullis` command: commands and their flags. What they do stands in a file each. */
import { Command, CommanderError } from 'commander';
import { exitCodes, type ExitCode } from './exit-codes.ts';
import { serveCommand } from './serve.ts';
import { validateCommand } from './validate.ts';
import { version } from './version.ts';

function program(finish: (code: ExitCode) => void): Command {
  const root = new Command('portcullis')
    .description('One gate for network traffic in both directions.')
    .version(version(), '-V, --version')
    .exitOverride()
    .showHelpAfterError('Run with --help to see what is possible.');

  root
    .command('serve')
    .description('Serve the listeners of a configuration until SIGTERM or SIGINT, then drain.')
    .requiredOption('-c, --config <file>', 'configuration, TOML or YAML')
    .addHelpText('after', '\nExample:\n  portcullis serve -c examples/sni-routing/portcullis.toml')
    .action(async ({ config }: { config: string }) =>
      finish(await serveCommand({ config, env: process.env })),
    );

  root
    .command('validate')
    .description('Say everything that is wrong with a configuration, each with its place.')
    .requiredOption('-c, --config <file>', 'configuration, TOML or YAML')
    .option('--json', 'problems as a JSON array on standard output', false)
    .addHelpText('after', '\nExample:\n  portcullis validate -c examples/sni-routing/portcullis.toml')
    .action(({ config, json }: { config: string; json: boolean }) => {
      const { stdout, stderr, env } = process;
      finish(validateCommand({ config, json, env, stdout, stderr }));
    });

  root
    .command('version')
    .description('Print the version.')
    .action(() => void process.stdout.write(`portcullis v${version()}\n`));

  return root;
}

try {
  await program((code) => (process.exitCode = code)).parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  // Commander has printed what was wrong, or the help that was asked for.
  process.exitCode = error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
}
