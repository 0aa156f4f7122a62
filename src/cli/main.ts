/** The `portcullis` command: where the process meets the commands. */

import { CommanderError } from 'commander';
import { exitCodes } from './exit-codes.ts';
import { toFailure } from './failure.ts';
import { buildProgram } from './program.ts';
import { Shell } from './shell.ts';

// Whoever reads our output may stop, `portcullis audit | head`, which is no fault.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(exitCodes.ok);
});

const shell = new Shell(process.stdout, process.stderr, process.env);
try {
  await buildProgram(shell).parseAsync();
} catch (error) {
  shell.exitCode = exitCodeOf(error);
}
process.exitCode = shell.exitCode;

function exitCodeOf(error: unknown): Shell['exitCode'] {
  // Commander has printed what was wrong, or the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  const failure = toFailure(error);
  if (failure === null) throw error;
  shell.error(failure.message);
  return failure.exitCode;
}
