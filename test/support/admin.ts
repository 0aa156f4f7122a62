/** The running program under control: a place for its database and admin socket, and a gRPC client of its API. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code, ConnectError, createClient, type Client } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { FirewallRuleType, ProxyAdminService } from '../../src/admin/gen/portcullis/v1/admin_pb.ts';
import { Portcullis, type StartOptions } from './portcullis.ts';

export type AdminClient = Client<typeof ProxyAdminService>;

/** Of the API on a Unix socket; `close` ends its connection. */
export function connectAdmin(socket: string): { readonly admin: AdminClient; readonly close: () => void } {
  const baseUrl = 'http://localhost';
  const sessionManager = new Http2SessionManager(baseUrl, {}, { createConnection: () => connect(socket) });
  const admin = createClient(ProxyAdminService, createGrpcTransport({ baseUrl, sessionManager }));
  return { admin, close: () => sessionManager.abort() };
}

/** A directory that several runs of the program share, one after the other. */
export class Home implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'portcullis-home-'));
  readonly socket = join(this.path, 'admin.sock');
  /** In a directory of its own, so that a test may mount something there. */
  readonly databaseDirectory = mkdtempSync(join(this.path, 'database-'));
  readonly database = join(this.databaseDirectory, 'a.db');

  /** A whole configuration file: the admin API, the database unless told otherwise, and `traffic`. */
  config(traffic: string, hasDatabase = true): string {
    const database = hasDatabase ? `[database]\npath = "${this.database}"\n` : '';
    return `${database}[admin]\ngrpc_addr = "unix:${this.socket}"\n${traffic}`;
  }

  async start(traffic: string, options: StartOptions & { hasDatabase?: boolean } = {}): Promise<Controlled> {
    const { hasDatabase, ...rest } = options;
    return new Controlled(await Portcullis.start(this.config(traffic, hasDatabase), rest), this.socket);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

export class Controlled implements AsyncDisposable {
  readonly portcullis: Portcullis;
  readonly admin: AdminClient;
  readonly #close: () => void;

  constructor(portcullis: Portcullis, socket: string) {
    this.portcullis = portcullis;
    const { admin, close } = connectAdmin(socket);
    this.admin = admin;
    this.#close = close;
  }

  /** As a power cut would, without a word to anybody. */
  async kill(): Promise<void> {
    this.portcullis.kill('SIGKILL');
    await this.portcullis.exited;
    this.#close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#close();
    await this.portcullis[Symbol.asyncDispose]();
  }
}

/** The error that a call ends with, its code as a word: `FailedPrecondition`. */
export async function refusal(call: Promise<unknown>): Promise<{ code: string; message: string }> {
  const error: unknown = await call.then(
    (answer) => assert.fail(`expected a refusal, got ${JSON.stringify(answer, bigintText)}`),
    (reason: unknown) => reason,
  );
  if (!(error instanceof ConnectError)) throw error;
  return { code: Code[error.code], message: error.rawMessage };
}

export function ipRule(value: string): { type: FirewallRuleType; value: string } {
  return { type: FirewallRuleType.IP, value };
}

export function cidrRule(value: string): { type: FirewallRuleType; value: string } {
  return { type: FirewallRuleType.CIDR, value };
}

/** The long form of a proof in `npm run soak`, a short one in `npm test`. */
export function soakOr<T>(long: T, short: T): T {
  return process.env['RUN_SOAK'] === undefined ? short : long;
}

function bigintText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
