/** Why a command could not do what it was asked: one plain sentence with what to do, and an exit code. */

import type { AdminError, AdminErrorCode } from './admin-error.ts';
import { exitCodes } from './exit-codes.ts';
import type { ExitCode } from './exit-codes.ts';

export class CommandFailure extends Error {
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CommandFailure';
    this.exitCode = exitCode;
  }
}

/** What was thrown, for the operator; null when it is a fault of ours, which deserves its stack. */
export function toFailure(error: unknown): CommandFailure | null {
  if (error instanceof CommandFailure) return error;
  if (!(error instanceof Error)) return null;
  // By name, so that a command that needs neither client nor database does not load them.
  if (error.name === 'AdminError') return fromAdminError(error as AdminError);
  if (error.name === 'StoreError' || error.name === 'ExplainError' || 'syscall' in error) {
    return new CommandFailure(exitCodes.failed, error.message, { cause: error });
  }
  return null;
}

const codes: Partial<Record<AdminErrorCode, ExitCode>> = {
  unreachable: exitCodes.unreachable,
  untrusted: exitCodes.unreachable,
  'permission-denied': exitCodes.unreachable,
  disconnected: exitCodes.unreachable,
  'invalid-argument': exitCodes.refused,
  'not-found': exitCodes.notFound,
  'already-exists': exitCodes.exists,
  aborted: exitCodes.changed,
};

/** What an operator can do about it. */
const advice: Partial<Record<AdminErrorCode, string>> = {
  unreachable: ': is it running? start it with portcullis serve -c FILE',
  untrusted: '; see --ca, --cert and --key',
  'permission-denied': '; run this as the user that the server runs as',
  'timed-out': '; whether it was carried out, portcullis audit can tell',
  internal: '; the log of the server says more',
};

function fromAdminError(error: AdminError): CommandFailure {
  const { code, message } = error;
  const text = `${message}${advice[code] ?? ''}`;
  return new CommandFailure(codes[code] ?? exitCodes.failed, text, { cause: error });
}
