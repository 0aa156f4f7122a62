/** What a command's exit code means. Stable: scripts and service managers act on them. */

export const exitCodes = { ok: 0, failed: 1, usage: 2, configuration: 3 } as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

export const exitMeanings = {
  ok: 'Done. `serve` drained and ended as asked; `validate` found no error (warnings are allowed).',
  failed:
    'The command was understood and could not be carried out: an address is in use, a file cannot be written.',
  usage: 'The command line was not understood: an unknown command or flag, a missing argument.',
  configuration:
    'The configuration is invalid. Every problem is on standard error, or with `--json` on standard output.',
} as const satisfies Record<keyof typeof exitCodes, string>;
