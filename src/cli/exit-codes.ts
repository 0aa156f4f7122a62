/** What a command's exit code means. Stable: scripts and service managers act on them. */

export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  configuration: 3,
  unreachable: 4,
  refused: 5,
  notFound: 6,
  exists: 7,
  changed: 8,
  different: 9,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

export const exitMeanings = {
  ok: 'Done. `serve` drained and ended as asked; `validate` found no error (warnings are allowed).',
  failed:
    'The command was understood and could not be carried out: an address is in use, a file cannot be written, the ' +
    'database is in use.',
  usage: 'The command line was not understood: an unknown command or flag, a missing argument.',
  configuration:
    'The configuration is invalid. Every problem is on standard error, or with `validate --json` on standard output.',
  unreachable: 'No server answers at the address, or TLS with it failed.',
  refused: 'The server refused a value: it names the field and what it expected.',
  notFound: 'What the command names does not exist.',
  exists: 'What the command adds exists already.',
  changed: 'The configuration is not at the version that `--if-version` names.',
  different: '`config diff --exit-code` found differences.',
} as const satisfies Record<keyof typeof exitCodes, string>;
