/**
 * What leaves the house in a debug bundle. Stricter than what the pages for operators show: of every header rule only
 * names, of every path only what stands before its query, and no text that is the value of a secret we can read.
 */

import type { Environment } from '../config/environment.ts';
import { redact, redacted } from '../admin/redact.ts';

/** A shorter value would be found everywhere. */
const secretCharactersMin = 4;
const secretsMax = 10_000;
const depthMax = 32;

/** Plain data as it may be shown. */
export function redactData(value: unknown): unknown {
  return hideHeaders(redact(value), false, 0);
}

/** `inHeaders`: below a field such as `requestHeaders`, where each pair of texts is a name and a value. */
function hideHeaders(value: unknown, inHeaders: boolean, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (depth > depthMax) return redacted;
  if (Array.isArray(value)) {
    const isPair = inHeaders && value.length === 2 && value.every((each) => typeof each === 'string');
    return isPair ? [value[0], redacted] : value.map((each) => hideHeaders(each, inHeaders, depth + 1));
  }
  const entries = Object.entries(value).map(([name, each]): [string, unknown] => {
    // As the API has it: { name, value }. As a file has it: a table of names.
    if (inHeaders && typeof each === 'string' && name !== 'name') return [name, redacted];
    const isNames = name === 'remove' || name === 'dropHeaders';
    return [name, isNames ? each : hideHeaders(each, inHeaders || /headers$/i.test(name), depth + 1)];
  });
  return Object.fromEntries(entries);
}

const privateKey = /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)/g;
/** In JSON and in the pretty form; a query may carry tokens. */
const query = /(\b(?:path|target|url)"?[=:] ?"?[^\s"?]*\?)(?:\\.|[^\s"\\])*/g;
const authorization = /\b(basic|bearer) +[\w+/=._~-]{4,}/gi;

/** Text that others wrote: log lines above all. */
export class TextRedaction {
  readonly #secrets: readonly string[];

  constructor(secrets: Iterable<string>) {
    const forms = [...secrets].flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1)]);
    const long = forms.filter((each) => each.length >= secretCharactersMin);
    // The longer first: one may contain the other.
    this.#secrets = [...new Set(long)].toSorted((a, b) => b.length - a.length).slice(0, secretsMax);
  }

  apply(text: string): string {
    let shown = text
      .replaceAll(privateKey, redacted)
      .replaceAll(query, `$1${redacted}`)
      .replaceAll(authorization, `$1 ${redacted}`);
    for (const secret of this.#secrets) shown = shown.replaceAll(secret, redacted);
    return shown;
  }
}

/** The values behind every `env:NAME` in the settings, as far as this process has them. */
export function* referencedSecrets(value: unknown, env: Environment, depth = 0): Generator<string> {
  if (typeof value === 'string') {
    const secret = value.startsWith('env:') ? env[value.slice(4)] : undefined;
    if (secret !== undefined) yield secret;
    return;
  }
  if (typeof value !== 'object' || value === null || depth > depthMax) return;
  for (const each of Object.values(value)) yield* referencedSecrets(each, env, depth + 1);
}
