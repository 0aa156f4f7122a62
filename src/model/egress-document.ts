/**
 * The egress settings as a document that somebody else kept: read as strictly as a file, because a database can be
 * damaged or edited. A field that is left out has its default, so that documents of earlier versions stay readable;
 * one that nobody knows is refused.
 */
import { parseCidr } from '../core/ip.ts';
import { LinearRegex } from '../core/linear-regex.ts';
import {
  aclEntriesMax,
  aclRuleDefaults,
  defaultPolicies,
  egressDefaults,
  rewriteDefaults,
  rewritesMax,
  ruleModes,
  type AclRuleSettings,
  type CredentialSettings,
  type EgressClientSettings,
  type EgressSettings,
  type OutgoingTlsSettings,
  type ParentProxySettings,
  type RewriteSettings,
} from './egress-settings.ts';
import { compilePathRegex, formatTargetPattern, parseTargetPattern, PatternFault } from './target-pattern.ts';

/** Where the document is at fault: `whitelist[3].pattern is no canonical pattern`. Holds nothing of its content. */
export class DocumentFault extends Error {
  constructor(path: string, fault: string) {
    super(`${path === '' ? 'the document' : path} ${fault}`);
    this.name = 'DocumentFault';
  }
}

/** Of lists other than the entries: clients of a rule, parents, networks. */
export const egressListMax = 10_000;

/** Throws DocumentFault. */
export function readEgressDocument(document: unknown): EgressSettings {
  return settings(document, '');
}

/** Reads a value at a path, or throws. */
type Shape<T> = (value: unknown, path: string) => T;

/** What a record holds: the shape of each field, and what it is when it is left out. */
type Fields<T> = {
  readonly [Name in keyof T]: readonly [Shape<T[Name]>] | readonly [Shape<T[Name]>, T[Name]];
};

function record<T extends object>(fields: Fields<T>): Shape<T> {
  const names = Object.keys(fields) as (keyof T & string)[];
  return (value, path) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new DocumentFault(path, 'is no object');
    for (const name of Object.keys(value))
      if (!Object.hasOwn(fields, name)) throw new DocumentFault(path, 'has a field that nobody knows');
    const read: Partial<T> = {};
    for (const name of names) {
      const [shape, fallback] = fields[name];
      const at = path === '' ? name : `${path}.${name}`;
      if (Object.hasOwn(value, name)) read[name] = shape((value as T)[name], at);
      else if (fallback !== undefined) read[name] = fallback;
      else throw new DocumentFault(at, 'is missing');
    }
    return read as T;
  };
}

function listOf<T>(shape: Shape<T>, countMax: number): Shape<readonly T[]> {
  return (value, path) => {
    if (!Array.isArray(value)) throw new DocumentFault(path, 'is no list');
    if (value.length > countMax) throw new DocumentFault(path, `has more than ${countMax} elements`);
    return value.map((item: unknown, index) => shape(item, `${path}[${index}]`));
  };
}

function nullable<T>(shape: Shape<T>): Shape<T | null> {
  return (value, path) => (value === null ? null : shape(value, path));
}

function oneOf<const T extends string>(words: readonly T[]): Shape<T> {
  return (value, path) => {
    const word = words.find((each) => each === value);
    if (word === undefined) throw new DocumentFault(path, `is none of ${words.join(', ')}`);
    return word;
  };
}

/** A line of text that passes the test. */
function textThat(what: string, isRight: (text: string) => boolean): Shape<string> {
  return (value, path) => {
    // eslint-disable-next-line no-control-regex
    const isLine = typeof value === 'string' && value.length <= 4096 && !/[\0-\x08\x0a-\x1f\x7f]/.test(value);
    if (!isLine || !isRight(value)) throw new DocumentFault(path, `is no ${what}`);
    return value;
  };
}

const flag: Shape<boolean> = (value, path) => {
  if (typeof value !== 'boolean') throw new DocumentFault(path, 'is neither true nor false');
  return value;
};

const port: Shape<number> = (value, path) => {
  const isPort = Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 65_535;
  if (!isPort) throw new DocumentFault(path, 'is no port');
  return value as number;
};

const line = textThat('line of text', () => true);
const name = textThat('name', (text) => text !== '');
const path = textThat('absolute path', (text) => text.startsWith('/'));
const header = textThat('header name', (text) => /^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(text));
const method = textThat('method', (text) => /^[A-Z0-9!#$%&'*+.^_`|~-]+$/.test(text));
const secret = textThat('reference to a secret', (text) => /^(\/|env:[A-Za-z_])/.test(text));
const cidr = textThat('canonical network', (text) => parseCidr(text)?.hostBitsSet === false);
const passwordHash = textThat('password hash', (text) => text.startsWith('scrypt$'));
const pathPattern = textThat('path expression', (text) => compilePathRegex(text) instanceof LinearRegex);
const pattern = textThat('canonical pattern', (text) => {
  const parsed = parseTargetPattern(text);
  return !(parsed instanceof PatternFault) && formatTargetPattern(parsed) === text;
});

const names = listOf(name, egressListMax);
const patterns = listOf(pattern, egressListMax);
const cidrs = listOf(cidr, egressListMax);
const ports = listOf(port, 65_535);
const mode = oneOf(ruleModes);

const field: Shape<readonly [string, string]> = (value, at) => {
  if (!Array.isArray(value) || value.length !== 2) throw new DocumentFault(at, 'is no name with its value');
  return [header(value[0], at), line(value[1], at)];
};

const acl = record<AclRuleSettings>({
  pattern: [pattern],
  mode: [mode, aclRuleDefaults.mode],
  methods: [listOf(method, egressListMax), []],
  pathPattern: [nullable(pathPattern), null],
  clients: [names, []],
  ports: [ports, []],
  allowPrivate: [flag, false],
  allowRaw: [flag, false],
});

const rewrite = record<RewriteSettings>({
  pattern: [pattern],
  mode: [mode, rewriteDefaults.mode],
  clients: [names, []],
  ports: [ports, []],
  pathPattern: [nullable(pathPattern), null],
  targetIp: [nullable(name), null],
  targetHost: [nullable(name), null],
  targetPort: [nullable(port), null],
  targetScheme: [nullable(oneOf(['http', 'https'])), null],
  headers: [listOf(field, egressListMax), []],
  dropHeaders: [listOf(header, egressListMax), []],
  insecure: [flag, false],
});

const credential = record<CredentialSettings>({
  pattern: [pattern],
  pathPattern: [nullable(pathPattern), null],
  clients: [names, []],
  header: [header],
  prefix: [line, ''],
  secret: [secret],
});

const client = record<EgressClientSettings>({
  name: [name],
  password: [nullable(passwordHash), null],
  secret: [nullable(secret), null],
  subject: [nullable(name), null],
});

const parent = record<ParentProxySettings>({
  patterns: [patterns],
  kind: [oneOf(['http', 'socks5'])],
  host: [name],
  port: [port],
  username: [nullable(line), null],
  password: [nullable(secret), null],
  trustDns: [flag, false],
});

const outgoing = record<OutgoingTlsSettings>({
  caBundle: [nullable(path), null],
  ca: [nullable(path), null],
  truststore: [nullable(path), null],
  truststorePassword: [nullable(secret), null],
  crl: [nullable(path), null],
  insecure: [flag, false],
});

const pem = record({ kind: [oneOf(['pem'])], cert: [path], key: [secret] });
const keystore = record({ kind: [oneOf(['keystore'])], path: [path], password: [nullable(secret), null] });

const authority: Shape<NonNullable<EgressSettings['authority']>> = (value, at) => {
  const isKeystore =
    typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'keystore';
  return isKeystore ? keystore(value, at) : pem(value, at);
};

const aclList = listOf(acl, aclEntriesMax);

const settings = record<EgressSettings>({
  defaultPolicy: [oneOf(defaultPolicies), egressDefaults.defaultPolicy],
  mode: [mode, egressDefaults.mode],
  whitelist: [aclList, []],
  blacklist: [aclList, []],
  passthrough: [aclList, []],
  rewrites: [listOf(rewrite, rewritesMax), []],
  credentials: [listOf(credential, egressListMax), []],
  clients: [listOf(client, egressListMax), []],
  allowedClients: [cidrs, egressDefaults.allowedClients],
  connectPorts: [ports, egressDefaults.connectPorts],
  deniedNetworks: [cidrs, []],
  parents: [listOf(parent, egressListMax), []],
  noProxy: [patterns, []],
  authority: [nullable(authority), null],
  outgoing: [outgoing, egressDefaults.outgoing],
  blockedLog: [nullable(path), null],
});
