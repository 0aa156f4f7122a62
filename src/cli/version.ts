/** The version of this package, from its package.json. */
import { readFileSync } from 'node:fs';

/** `0.1.0` */
export function version(): string {
  // src/cli and dist/cli stand at the same depth.
  const file = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(file) as { version: string }).version;
}
