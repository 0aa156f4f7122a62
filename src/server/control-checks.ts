/** How a call is refused: by the problems of its input, or by a limit. */
import { ControlError } from '../admin/control.ts';
import type { RowReading } from '../config/rows.ts';

/** The value, or INVALID_ARGUMENT with every error and the field of the first. */
export function checked<T>(reading: RowReading<T>, prefix: string): T {
  const { value } = reading;
  if (value !== undefined) return value;
  const problems = reading.problems.filter(({ severity }) => severity === 'error');
  const problem = problems[0];
  const path = [prefix, problem?.path ?? ''].filter((part) => part !== '').join('.');
  const message = problems.map((each) => each.message).join('; ');
  throw new ControlError('invalid-argument', message === '' ? 'not understood' : message, path);
}

export function refuseOver(count: number, max: number, what: string): void {
  if (count >= max)
    throw new ControlError('failed-precondition', `there are ${max} ${what}, and no more may be`);
}
