/**
 * Where the server is: `--addr`, or `[admin]` of the configuration that `-c` names, or PORTCULLIS_ADMIN_GRPC_ADDR; the
 * flags of every command that asks a server, and the client they make.
 */

import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { AdminSettings, Settings } from '../model/settings.ts';
import type { AdminClient, ClientOptions, ClientTls } from './client.ts';
import { counted } from './display.ts';
import { exitCodes } from './exit-codes.ts';
import { CommandFailure } from './failure.ts';
import type { Shell } from './shell.ts';

export interface ServerFlags {
  readonly config?: string;
  readonly addr?: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly insecureLoopback?: boolean;
}

export const addressVariable = 'PORTCULLIS_ADMIN_GRPC_ADDR';
const insecureVariable = 'PORTCULLIS_ADMIN_INSECURE_LOOPBACK';

export const serverOptionsGroup = 'Which server:';

export function addServerOptions(command: Command): Command {
  const meaning = 'find the server by [admin] of this file';
  return addAddressOptions(command.optionsGroup(serverOptionsGroup).option('-c, --config <file>', meaning));
}

/** Of a command to which `-c` means more than the way to the server. */
export function addAddressOptions(command: Command): Command {
  return command
    .optionsGroup(serverOptionsGroup)
    .option('--addr <address>', `unix:/path or host:port; also ${addressVariable}`)
    .option('--ca <file>', 'trust these certificates (PEM) instead of the system’s')
    .option('--cert <file>', 'show this client certificate (PEM)')
    .option('--key <file>', 'its private key (PEM)')
    .option('--insecure-loopback', 'no TLS, on a loopback address');
}

/** An action that asks a server: `run` gets a client, the flags, and the command's arguments. */
export function withServer<Flags extends ServerFlags, Arguments extends unknown[] = []>(
  shell: Shell,
  run: (client: AdminClient, flags: Flags, ...args: Arguments) => Promise<void>,
): (...action: unknown[]) => Promise<void> {
  return async (...action) => {
    // Commander passes the arguments, then the flags, then the command.
    const flags = action.at(-2) as Flags;
    using client = await openClient(shell, flags);
    await run(client, flags, ...(action.slice(0, -2) as Arguments));
  };
}

export async function openClient(shell: Shell, flags: ServerFlags): Promise<AdminClient> {
  const options = await clientOptions(shell, flags);
  if (options === null) {
    const message =
      flags.config === undefined
        ? `say where the server is: -c FILE, --addr ADDRESS, or the variable ${addressVariable}`
        : `${flags.config} has no [admin] grpc_addr, so its server can not be asked: set it, or give --addr`;
    throw new CommandFailure(exitCodes.usage, message);
  }
  const { AdminError, connectClient } = await import('./client.ts');
  try {
    return connectClient(options);
  } catch (error) {
    if (!(error instanceof AdminError)) throw error;
    throw new CommandFailure(exitCodes.usage, error.message, { cause: error });
  }
}

/**
 * Asks the server, or where none runs, the database that the file names. An address of its own means that server and
 * no other.
 */
export async function serverOrDatabase<T>(
  shell: Shell,
  flags: ServerFlags,
  online: (client: AdminClient) => Promise<T>,
  offline: (database: string) => Promise<T>,
): Promise<T> {
  const isAddressed = flags.addr !== undefined || flags.config === undefined;
  const database = isAddressed ? null : (await readSettings(flags.config, shell)).process.database.path;
  const hasServer = (await clientOptions(shell, flags)) !== null;
  if (database === null || hasServer) {
    try {
      using client = await openClient(shell, flags);
      return await online(client);
    } catch (error) {
      const isUnreachable =
        error instanceof Error &&
        error.name === 'AdminError' &&
        'code' in error &&
        error.code === 'unreachable';
      if (database === null || !isUnreachable) throw error;
      shell.note(`${error.message}; using the database ${database}`);
    }
  }
  return offline(database);
}

/** Null: nothing says where. */
export async function clientOptions(shell: Shell, flags: ServerFlags): Promise<ClientOptions | null> {
  if (flags.addr !== undefined) return fromText(flags.addr, flags, flags.insecureLoopback === true);
  if (flags.config !== undefined) {
    const { process } = await readSettings(flags.config, shell);
    return fromSettings(process.admin, flags);
  }
  const address = shell.env[addressVariable] ?? '';
  if (address === '') return null;
  return fromText(address, flags, flags.insecureLoopback === true || shell.env[insecureVariable] === 'true');
}

/** A configuration file as `serve` would read it; its errors go to standard error. */
export async function readSettings(file: string, shell: Shell): Promise<Settings> {
  const [{ loadSettings }, { formatProblem }] = await Promise.all([
    import('../config/load.ts'),
    import('../config/problem.ts'),
  ]);
  const { settings, problems } = loadSettings(file, shell.env);
  if (settings !== undefined) return settings;
  const errors = problems.filter(({ severity }) => severity === 'error');
  for (const problem of errors) shell.problem(formatProblem(problem, shell.hasColour));
  throw new CommandFailure(exitCodes.configuration, `${file} has ${counted(errors.length, 'error')}`);
}

function fromText(text: string, flags: ServerFlags, isInsecure: boolean): ClientOptions {
  if (text.startsWith('unix:')) return { address: `unix:${resolve(text.slice(5))}` };
  // As a listener's address is written, `:9443` is every address of this machine.
  const address = text.startsWith(':') ? `localhost${text}` : text;
  return isInsecure ? { address, insecureLoopback: true } : { address, tls: tlsOf(flags, null) };
}

function fromSettings(admin: AdminSettings, flags: ServerFlags): ClientOptions | null {
  const { address, tlsCert, insecureLoopback } = admin;
  if (address === null) return null;
  if (address.kind === 'unix') return { address: `unix:${address.path}` };
  if (address.port === 0) {
    throw new CommandFailure(
      exitCodes.usage,
      'grpc_addr has port 0: its log says which port it took; give --addr',
    );
  }
  const text = `${reachableHost(address.host)}:${address.port}`;
  const isBare = tlsCert === null && insecureLoopback;
  return isBare ? { address: text, insecureLoopback: true } : { address: text, tls: tlsOf(flags, tlsCert) };
}

/** Who binds every address is reached on loopback. */
function reachableHost(host: string): string {
  if (host === '' || host === '0.0.0.0') return 'localhost';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}

/** `known` is the server's own certificate file, when this machine has it: then it is trusted as it is. */
function tlsOf({ ca, cert, key }: ServerFlags, known: string | null): ClientTls {
  if ((cert === undefined) !== (key === undefined)) {
    throw new CommandFailure(exitCodes.usage, 'a client certificate needs both --cert and --key');
  }
  return {
    ...(cert === undefined || key === undefined ? {} : { cert: readPem(cert), key: readPem(key) }),
    ...(ca !== undefined ? { ca: readPem(ca) } : known === null ? {} : pinned(readPem(known))),
  };
}

/** Exactly this certificate, whatever name it is for. */
function pinned(pem: string): ClientTls {
  const { fingerprint256 } = new X509Certificate(pem);
  return {
    ca: pem,
    allowPartialTrustChain: true,
    checkServerIdentity: (_name, shown) =>
      shown.fingerprint256 === fingerprint256 ? undefined : new Error('another certificate than tls_cert'),
  };
}

function readPem(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    throw new CommandFailure(exitCodes.failed, `${file} can not be read (${code})`, { cause: error });
  }
}
