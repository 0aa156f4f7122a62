/** An admin server on a fake control for one test, and where its clients find it. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AdminSettings } from '../../model/settings.ts';
import { createLogger } from '../../telemetry/logger.ts';
import { adminLimits } from '../limits.ts';
import type { AdminLimits } from '../limits.ts';
import { AdminServer } from '../server.ts';
import { FakeControl } from './fake-control.ts';

export const loopback: AdminSettings = {
  address: { kind: 'tcp', host: '127.0.0.1', port: 0 },
  tlsCert: null,
  tlsKey: null,
  clientCa: null,
  insecureLoopback: true,
};

export class Fixture implements AsyncDisposable {
  readonly control: FakeControl;
  readonly server: AdminServer;
  readonly logLines: readonly string[];

  static async start(
    settings: AdminSettings = loopback,
    limits: Partial<AdminLimits> = {},
  ): Promise<Fixture> {
    const control = new FakeControl();
    const lines: string[] = [];
    const logger = createLogger({ level: 'debug', output: { write: (line) => void lines.push(line) } });
    const server = await AdminServer.start(settings, control, logger, { ...adminLimits, ...limits });
    return new Fixture(control, server, lines);
  }

  private constructor(control: FakeControl, server: AdminServer, logLines: readonly string[]) {
    this.control = control;
    this.server = server;
    this.logLines = logLines;
  }

  get port(): number {
    return Number(this.server.address.slice(this.server.address.lastIndexOf(':') + 1));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close(0);
  }
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}

/** A directory that lives as long as the test. */
export class TemporaryDirectory implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'portcullis-admin-'));

  file(name: string): string {
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** A certificate authority made with openssl, and what it signs. */
export class Authority {
  readonly #directory: TemporaryDirectory;
  readonly certificate: string;
  readonly #key: string;

  constructor(directory: TemporaryDirectory, name: string) {
    this.#directory = directory;
    this.certificate = directory.file(`${name}.crt`);
    this.#key = directory.file(`${name}.key`);
    const subject = ['-subj', `/CN=${name}`, '-keyout', this.#key, '-out', this.certificate];
    openssl('req', '-x509', ...newKey, '-days', '2', ...subject);
  }

  /** Negative `days`: expired already. */
  issue(name: string, subject: string, days = 2): { cert: string; key: string } {
    const cert = this.#directory.file(`${name}.crt`);
    const key = this.#directory.file(`${name}.key`);
    const request = this.#directory.file(`${name}.csr`);
    const extensions = this.#directory.file(`${name}.ext`);
    writeFileSync(extensions, 'subjectAltName=DNS:localhost,DNS:admin.example.com,IP:127.0.0.1\n');
    openssl('req', ...newKey, '-subj', subject, '-keyout', key, '-out', request);
    const signer = ['-CA', this.certificate, '-CAkey', this.#key, '-CAcreateserial', '-extfile', extensions];
    openssl('x509', '-req', '-in', request, ...signer, '-days', String(days), '-out', cert);
    return { cert, key };
  }
}

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
