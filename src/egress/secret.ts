/**
 * Secrets by reference: a file, `env:NAME`, or `text:` and the secret itself, which only the YAML form of egress makes
 * of what stands in its file. No message holds one.
 */
import { readFileSync, statSync } from 'node:fs';
import type { SecretReference } from '../model/settings.ts';

export type SecretEnvironment = Readonly<Record<string, string | undefined>>;

export class SecretError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SecretError';
  }
}

const secretBytesMax = 2 ** 20;

/** The secret, without the line end that editors add. With `isKey` a file that others may read is refused. */
export function readSecret(
  reference: SecretReference,
  environment: SecretEnvironment,
  { isKey = false }: { readonly isKey?: boolean } = {},
): string {
  if (reference.startsWith('env:')) {
    const value = environment[reference.slice(4)] ?? '';
    if (value === '') throw new SecretError(`${reference} is not set`);
    return value;
  }
  if (reference.startsWith('text:')) return reference.slice(5);
  try {
    const { mode, size } = statSync(reference);
    if (isKey && (mode & 0o007) !== 0) {
      throw new SecretError(`${reference} may be read by every user of this machine; chmod 600 it`);
    }
    if (size > secretBytesMax) throw new SecretError(`${reference} is larger than ${secretBytesMax} bytes`);
    return readFileSync(reference, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    if (error instanceof SecretError) throw error;
    throw new SecretError(`${reference} can not be read`, { cause: error });
  }
}
