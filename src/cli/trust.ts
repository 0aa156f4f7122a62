/**
 * `portcullis trust`: makes programs trust the CA. Most read a variable that names a bundle, and the bundle takes the
 * place of their own: so it holds the system's roots too.
 */

import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { certificatesOf, pemOf } from '../egress/pki/certificate.ts';
import { writeKeystore } from '../egress/pki/pkcs12.ts';
import { systemRoots } from '../net/tls-trust.ts';
import { declare } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { CommandFailure } from './failure.ts';
import type { Shell } from './shell.ts';

interface Flags {
  readonly ca: string;
  readonly out?: string;
  readonly truststore?: string;
  readonly proxy?: string;
  readonly install?: true;
  readonly json?: true;
}

/** Java's own default, which no secret is kept by: a truststore holds none. */
const truststorePassword = 'changeit';

export function trustCommands(root: Command, shell: Shell): void {
  declare(root, {
    name: 'trust',
    summary: 'Print or write the bundle of the CA and the system roots, and how programs are told to use it.',
    details:
      'Without --out the bundle is printed. With it, the lines of the environment are, for curl, Python, Node.js, Java, ' +
      'Go, git and what reads OpenSSL’s variables.',
    examples: [
      'portcullis trust --ca certs/ca.crt --out certs/bundle.pem',
      'portcullis trust --ca certs/ca.crt --out bundle.pem --truststore trust.p12 --proxy http://localhost:8080',
    ],
  })
    .requiredOption('--ca <file>', 'certificate of the CA, PEM')
    .option('--out <file>', 'write the bundle here')
    .option('--truststore <file>', `also write it for Java, PKCS#12 with the password ${truststorePassword}`)
    .option('--proxy <url>', 'also print the lines that make programs use the proxy')
    .option('--install', 'trust it on this whole machine; as root')
    .option('--json', 'the environment as JSON')
    .action((flags: Flags) => run(shell, flags));
}

function run(shell: Shell, flags: Flags): void {
  const authorities = readAuthorities(flags.ca);
  const bundle = bundleOf(authorities);
  if (flags.install === true) shell.note(install(authorities));
  if (flags.out !== undefined) writeText(flags.out, bundle.map(({ raw }) => pemOf(raw)).join(''));
  if (flags.truststore !== undefined) {
    const keystore = { key: null, certificates: bundle, alias: 'portcullis' };
    writeText(flags.truststore, writeKeystore(keystore, truststorePassword));
  }
  const environment = environmentOf(flags);
  if (flags.json === true) return shell.json(Object.fromEntries(environment));
  if (flags.out === undefined && flags.install !== true && flags.truststore === undefined) {
    return shell.lines(
      bundle
        .map(({ raw }) => pemOf(raw).trimEnd())
        .join('\n')
        .split('\n'),
    );
  }
  shell.lines(environment.map(([name, value]) => `export ${name}=${shellQuote(value)}`));
}

function readAuthorities(path: string): X509Certificate[] {
  let authorities: X509Certificate[];
  try {
    authorities = certificatesOf(readFileSync(path, 'latin1'));
  } catch (error) {
    throw new CommandFailure(exitCodes.failed, `${path} does not load: ${messageOf(error)}`, {
      cause: error,
    });
  }
  if (authorities.length === 0)
    throw new CommandFailure(exitCodes.failed, `${path} holds no certificate in PEM`);
  if (!authorities.every(({ ca }) => ca))
    throw new CommandFailure(exitCodes.failed, `${path} holds a certificate that is no CA's`);
  return authorities;
}

/** The CA first: some programs read no further than they must. */
function bundleOf(authorities: readonly X509Certificate[]): X509Certificate[] {
  const roots = systemRoots().flatMap((pem) => load(pem));
  const ours = new Set(authorities.map(({ fingerprint256 }) => fingerprint256));
  return [...authorities, ...roots.filter(({ fingerprint256 }) => !ours.has(fingerprint256))];
}

/** A root of the system that does not load is nobody's loss. */
function load(pem: string): X509Certificate[] {
  try {
    return [new X509Certificate(pem)];
  } catch {
    return [];
  }
}

/** The variables that replace a program's own roots, each with the bundle; Node.js adds to its own. */
function environmentOf({ ca, out, truststore, proxy }: Flags): (readonly [name: string, value: string])[] {
  const lines: (readonly [string, string])[] = [];
  if (out !== undefined) {
    const bundle = resolve(out);
    // OpenSSL, curl, Python's ssl and Go; requests; pip; curl; git; AWS; Cargo; Deno.
    for (const name of [
      'SSL_CERT_FILE',
      'REQUESTS_CA_BUNDLE',
      'PIP_CERT',
      'CURL_CA_BUNDLE',
      'GIT_SSL_CAINFO',
    ]) {
      lines.push([name, bundle]);
    }
    for (const name of ['AWS_CA_BUNDLE', 'CARGO_HTTP_CAINFO', 'DENO_CERT']) lines.push([name, bundle]);
  }
  lines.push(['NODE_EXTRA_CA_CERTS', resolve(ca)]);
  if (truststore !== undefined) lines.push(['JAVA_TOOL_OPTIONS', javaOptions(resolve(truststore), proxy)]);
  if (proxy === undefined) return lines;
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'http_proxy', 'https_proxy']) lines.push([name, proxy]);
  lines.push(['NO_PROXY', 'localhost,127.0.0.1,::1'], ['NODE_USE_ENV_PROXY', '1']);
  return lines;
}

function javaOptions(truststore: string, proxy: string | undefined): string {
  const options = [
    `-Djavax.net.ssl.trustStore=${truststore}`,
    `-Djavax.net.ssl.trustStorePassword=${truststorePassword}`,
    '-Djavax.net.ssl.trustStoreType=PKCS12',
  ];
  const url = proxy === undefined ? null : URL.parse(proxy);
  if (url !== null) {
    for (const scheme of ['http', 'https']) {
      options.push(`-D${scheme}.proxyHost=${url.hostname}`, `-D${scheme}.proxyPort=${url.port || '80'}`);
    }
  }
  return options.join(' ');
}

/** How the families of distributions take an anchor. */
const stores = [
  { directory: '/usr/local/share/ca-certificates', command: 'update-ca-certificates' },
  { directory: '/etc/pki/ca-trust/source/anchors', command: 'update-ca-trust' },
  { directory: '/etc/ca-certificates/trust-source/anchors', command: 'update-ca-trust' },
] as const;

function install(authorities: readonly X509Certificate[]): string {
  const store = stores.find(({ directory }) => existsSync(directory));
  if (store === undefined)
    throw new CommandFailure(exitCodes.failed, 'this system keeps its roots in a place that is not known');
  for (const { fingerprint256, raw } of authorities) {
    const name = `portcullis-${fingerprint256.replaceAll(':', '').slice(0, 16).toLowerCase()}.crt`;
    writeText(join(store.directory, name), pemOf(raw));
  }
  const { status, error, stderr } = spawnSync(store.command, { encoding: 'utf8' });
  if (status === 0) return `installed in ${store.directory}`;
  throw new CommandFailure(exitCodes.failed, `${store.command} failed: ${error?.message ?? stderr.trim()}`);
}

function writeText(path: string, content: string | Buffer): void {
  try {
    writeFileSync(path, content);
  } catch (error) {
    throw new CommandFailure(exitCodes.failed, messageOf(error), { cause: error });
  }
}

function shellQuote(text: string): string {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
