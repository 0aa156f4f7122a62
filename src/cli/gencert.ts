/** `portcullis gencert`: certificate authorities for MITM, and certificates for clients of the proxy. */

import type { X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import { parseHostPattern } from '../core/hostname.ts';
import { formatCidr, parseCidr } from '../core/ip.ts';
import { certificatesOf, pemOf, type NameConstraints } from '../egress/pki/certificate.ts';
import {
  generateAuthority,
  generateClient,
  issuerOf,
  keyAlgorithms,
  type Issued,
  type KeyAlgorithm,
} from '../egress/pki/generate.ts';
import { writeKeystore } from '../egress/pki/pkcs12.ts';
import { readSecret, SecretError } from '../egress/secret.ts';
import { choice, collect, declare } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { CommandFailure } from './failure.ts';
import { wholeNumber } from './numbers.ts';
import type { Shell } from './shell.ts';

const types = ['root', 'intermediate', 'client'] as const;
type CertificateType = (typeof types)[number];

interface Flags {
  readonly type: CertificateType;
  readonly out: string;
  readonly name?: string;
  readonly cn?: string;
  readonly org?: string;
  readonly country?: string;
  readonly days?: number;
  readonly algorithm: KeyAlgorithm;
  readonly pathlen?: number;
  readonly permit?: readonly string[];
  readonly exclude?: readonly string[];
  readonly issuerCert?: string;
  readonly issuerKey?: string;
  readonly password?: string;
  readonly force?: true;
  readonly json?: true;
}

/** What each type is unless flags say otherwise. */
const defaults = {
  root: { name: 'ca', cn: 'Portcullis CA', days: 3650 },
  intermediate: { name: 'intermediate', cn: 'Portcullis Intermediate CA', days: 1825 },
  client: { name: 'client', cn: 'client', days: 365 },
} as const satisfies Record<CertificateType, object>;

const daysMax = 36_500;

export function gencertCommands(root: Command, shell: Shell): void {
  declare(root, {
    name: 'gencert',
    summary: 'Make a certificate authority for MITM, or a certificate that a client shows to the proxy.',
    details:
      'Writes NAME.crt and NAME.key (mode 0600); below an issuer also NAME-chain.crt; for a client NAME.pem, which ' +
      'holds all of it. With --password also NAME.p12 (certificate and key), and for a CA NAME-truststore.p12, which ' +
      'Java reads.',
    examples: [
      'portcullis gencert --out certs',
      'portcullis gencert --out certs --type intermediate --issuer-cert certs/ca.crt --issuer-key certs/ca.key ' +
        '--permit example.com',
    ],
  })
    .addOption(choice('--type <type>', 'what to make', types).default('root'))
    .option('--out <directory>', 'where the files go; made when it is not there', '.')
    .option('--name <name>', 'how the files are called; ca, intermediate or client when left out')
    .option('--cn <name>', 'common name, at most 63 characters')
    .option('--org <name>', 'organization')
    .option('--country <code>', 'country, two letters', country)
    .option('--days <days>', 'how long it is valid; never longer than its issuer', days)
    .addOption(choice('--algorithm <algorithm>', 'kind of key', keyAlgorithms).default('ecdsa-p256'))
    .option('--pathlen <number>', 'how many CAs may stand below this one', wholeNumber)
    .option(
      '--permit <name>',
      'only names below this one, or addresses of this network; may be repeated',
      collect,
    )
    .option(
      '--exclude <name>',
      'no names below this one, nor addresses of this network; may be repeated',
      collect,
    )
    .option('--issuer-cert <file>', 'certificate of the CA that signs, its chain after it')
    .option('--issuer-key <file>', 'key of the CA that signs')
    .option('--password <secret>', 'also write keystores, with the password in this file or env:NAME')
    .option('--force', 'overwrite files that are there')
    .option('--json', 'the files that were written, as JSON')
    .action((flags: Flags) => run(shell, flags));
}

function run(shell: Shell, flags: Flags): void {
  const chain = flags.issuerCert === undefined ? [] : readChain(flags.issuerCert);
  const issued = generate(flags, issuer(flags));
  const files = filesOf(flags, issued, chain, password(shell, flags));
  const paths = write(files, flags);
  const fingerprint = issued.certificate.fingerprint256;
  if (flags.json === true) return shell.json({ files: paths, fingerprint });
  for (const path of paths) shell.line(path);
  shell.note(`SHA-256 ${fingerprint}, valid until ${issued.certificate.validTo}`);
}

function generate(flags: Flags, issuer: Issued | null): Issued {
  const { type, algorithm } = flags;
  const standard = defaults[type];
  const commonName = flags.cn ?? standard.cn;
  if (commonName === '' || commonName.length > 63) throw usage('--cn takes 1 to 63 characters');
  const name = { commonName, organization: flags.org ?? null, country: flags.country ?? null };
  const validityDays = flags.days ?? standard.days;
  const constraints = constraintsOf(flags);
  if (type === 'client') {
    if (flags.pathlen !== undefined || constraints !== null)
      throw usage('--pathlen, --permit and --exclude are for CAs');
    return generateClient({ name, algorithm, validityDays, issuer: issuer! }, Date.now());
  }
  const pathLength = flags.pathlen ?? (type === 'intermediate' ? 0 : null);
  return generateAuthority({ name, algorithm, validityDays, pathLength, constraints, issuer }, Date.now());
}

function issuer({ type, issuerCert, issuerKey }: Flags): Issued | null {
  if (type === 'root') {
    if (issuerCert !== undefined || issuerKey !== undefined)
      throw usage('a root signs itself: --issuer-cert is for others');
    return null;
  }
  if (issuerCert === undefined || issuerKey === undefined)
    throw usage(`--type ${type} needs --issuer-cert and --issuer-key`);
  try {
    const found = issuerOf(readFileSync(issuerCert, 'latin1'), readSecret(issuerKey, {}, { isKey: true }));
    if (found !== undefined) return found;
  } catch (error) {
    throw new CommandFailure(exitCodes.failed, `the issuer does not load: ${messageOf(error)}`, {
      cause: error,
    });
  }
  throw new CommandFailure(
    exitCodes.failed,
    `${issuerCert} and ${issuerKey} are not the certificate and key of a CA`,
  );
}

function readChain(path: string): readonly X509Certificate[] {
  try {
    return certificatesOf(readFileSync(path, 'latin1'));
  } catch (error) {
    throw new CommandFailure(exitCodes.failed, `${path} does not load: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function constraintsOf({ permit = [], exclude = [] }: Flags): NameConstraints | null {
  if (permit.length === 0 && exclude.length === 0) return null;
  return { permitted: permit.map(subtree), excluded: exclude.map(subtree) };
}

/** A network, or a name with all below it. */
function subtree(text: string): string {
  const network = parseCidr(text);
  if (network !== undefined) return formatCidr(network.cidr);
  const pattern = parseHostPattern(text.replace(/^\*?\./, ''));
  if (pattern.kind !== 'exact')
    throw usage(`expected a name such as example.com or a network, found ${text}`);
  return pattern.name;
}

interface NewFile {
  readonly name: string;
  readonly content: string | Buffer;
  readonly isSecret: boolean;
}

function filesOf(
  flags: Flags,
  { certificate, key }: Issued,
  above: readonly X509Certificate[],
  secret: string | null,
): NewFile[] {
  const name = flags.name ?? defaults[flags.type].name;
  const pem = pemOf(certificate.raw);
  const chain = pem + above.map(({ raw }) => pemOf(raw)).join('');
  const keyPem = key.export({ format: 'pem', type: 'pkcs8' });
  const files: NewFile[] = [
    { name: `${name}.crt`, content: pem, isSecret: false },
    { name: `${name}.key`, content: keyPem, isSecret: true },
  ];
  if (above.length > 0) files.push({ name: `${name}-chain.crt`, content: chain, isSecret: false });
  if (flags.type === 'client') files.push({ name: `${name}.pem`, content: keyPem + chain, isSecret: true });
  if (secret === null) return files;
  const all = [certificate, ...above];
  files.push({
    name: `${name}.p12`,
    content: writeKeystore({ key, certificates: all, alias: name }, secret),
    isSecret: true,
  });
  if (flags.type === 'client') return files;
  const anchors = { key: null, certificates: [certificate], alias: name };
  files.push({ name: `${name}-truststore.p12`, content: writeKeystore(anchors, secret), isSecret: false });
  return files;
}

function password(shell: Shell, { password: reference }: Flags): string | null {
  if (reference === undefined) return null;
  try {
    return readSecret(reference, shell.env);
  } catch (error) {
    if (!(error instanceof SecretError)) throw error;
    throw new CommandFailure(exitCodes.failed, error.message, { cause: error });
  }
}

/** None is written when one is in the way. */
function write(files: readonly NewFile[], { out, force }: Flags): string[] {
  const paths = files.map(({ name }) => join(out, name));
  const taken = force === true ? undefined : paths.find((path) => existsSync(path));
  if (taken !== undefined)
    throw new CommandFailure(exitCodes.exists, `${taken} is there already; --force overwrites it`);
  try {
    mkdirSync(out, { recursive: true });
    for (const [index, { content, isSecret }] of files.entries()) {
      writeNew(paths[index]!, content, isSecret ? 0o600 : 0o644);
    }
  } catch (error) {
    throw new CommandFailure(exitCodes.failed, messageOf(error), { cause: error });
  }
  return paths;
}

/** A file that is overwritten keeps its mode, and a key must not keep one that others may read. */
function writeNew(path: string, content: string | Buffer, mode: number): void {
  rmSync(path, { force: true });
  writeFileSync(path, content, { mode, flag: 'wx' });
}

function country(text: string): string {
  if (!/^[A-Za-z]{2}$/.test(text)) throw new InvalidArgumentError('Expected two letters.');
  return text.toUpperCase();
}

function days(text: string): number {
  const value = wholeNumber(text);
  if (value < 1 || value > daysMax) throw new InvalidArgumentError(`Expected 1 to ${daysMax}.`);
  return value;
}

function usage(message: string): CommandFailure {
  return new CommandFailure(exitCodes.usage, message);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
