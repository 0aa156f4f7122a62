/** Fields as curl's users write them: `name: value`. */
import { exitCodes } from './exit-codes.ts';
import { CommandFailure } from './failure.ts';

export function parseHeader(text: string): { name: string; value: string } {
  const colon = text.indexOf(':');
  if (colon < 1) throw new CommandFailure(exitCodes.usage, `expected "NAME: VALUE", found ${text}`);
  return { name: text.slice(0, colon).trim(), value: text.slice(colon + 1).trim() };
}
