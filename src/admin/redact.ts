/**
 * Settings as they may be shown: whatever is, or may be, a secret is replaced. The configuration holds references to
 * keys and never their values, but operators also write credentials into headers, addresses and fields to come, so
 * what is hidden goes by names, and a new field is hidden too when its name says so.
 */

export const redacted = '[redacted]';

/** Fields that hold a secret itself. `tlsKey` and its like name a file or a variable, and are shown. */
const secretField = /password|passphrase|secret|credential|token/i;
/** Headers whose values identify somebody. */
const secretHeader = /^(authorization|proxy-authorization|cookie|set-cookie)$|auth|key|token|secret|session/i;
/** `user:password@` of a URL. */
const userInfo = /^([a-z][a-z\d+.-]*:\/\/)[^/@\s]*@/i;
const depthMax = 32;

/** A copy of plain data, without its secrets. */
export function redact(value: unknown, depth = 0): unknown {
  if (depth > depthMax) return redacted;
  if (typeof value === 'string') return value.replace(userInfo, `$1${redacted}@`);
  if (Array.isArray(value))
    return isHeaderPair(value) ? [value[0], redacted] : value.map((each) => redact(each, depth + 1));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => {
      const hides =
        (secretField.test(name) && typeof each !== 'boolean' && each !== null) || isSecretHeader(name, each);
      return [name, hides ? redacted : redact(each, depth + 1)];
    }),
  );
}

/** `['authorization', 'Bearer …']`, as header rules hold them. */
function isHeaderPair(value: readonly unknown[]): boolean {
  return (
    value.length === 2 &&
    typeof value[0] === 'string' &&
    typeof value[1] === 'string' &&
    secretHeader.test(value[0])
  );
}

/** Headers as a table; camel case tells a setting of ours from the name of a header. */
function isSecretHeader(name: string, value: unknown): boolean {
  return (
    typeof value === 'string' &&
    /^[a-z]+(-[a-z]+)*$/i.test(name) &&
    name === name.toLowerCase() &&
    secretHeader.test(name)
  );
}
