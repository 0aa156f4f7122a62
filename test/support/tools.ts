/** Programs of the system that tests use as real peers. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';

const path = `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`;

/** For `skip`: false when the program is there, else how to get it. */
export function lacks(tool: string): string | false {
  const found = spawnSync('sh', ['-c', 'command -v "$0"', tool], { env: { PATH: path }, stdio: 'ignore' });
  return found.status === 0 ? false : `${tool} is missing: as root, apt-get install ${tool}`;
}

export interface ToolResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end. */
export async function run(command: string, args: readonly string[], input = ''): Promise<ToolResult> {
  const child = spawn(command, args, { env: { ...process.env, PATH: path } });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('latin1').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('latin1').on('data', (text: string) => (stderr += text));
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, stdout, stderr };
}

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** A program that serves until it is disposed of. */
export class Daemon implements AsyncDisposable {
  readonly process: ChildProcess;
  output = '';
  /** Resolves when it has. */
  readonly ended: Promise<unknown>;
  #onOutput: () => void = () => undefined;

  static start(command: string, args: readonly string[]): Daemon {
    return new Daemon(spawn(command, args, { env: { ...process.env, PATH: path } }));
  }

  private constructor(child: ChildProcess) {
    this.process = child;
    this.ended = new Promise((resolve) => child.on('close', resolve));
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding('latin1').on('data', (text: string) => {
        this.output += text;
        this.#onOutput();
      });
    }
    running.add(child);
    child.on('close', () => running.delete(child));
  }

  /** Resolves when its output matches. */
  async says(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.output)) {
      const next = Promise.withResolvers<void>();
      this.#onOutput = next.resolve;
      const ended = this.ended.then(() => Promise.reject(new Error(`ended early:\n${this.output}`)));
      await Promise.race([next.promise, ended]);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill('SIGKILL');
    await this.ended;
  }
}

const certificates = join(import.meta.dirname, '../../examples/quick-start/certs');
export const caFile = join(certificates, 'ca.pem');

/**
 * `openssl s_server` that answers every line with the line reversed, on a port of its own choosing.
 * `identity` names the certificate: app or api of the example.
 */
export async function startTlsBackend(
  identity: 'app' | 'api',
  where: readonly string[],
  args: readonly string[] = ['-rev'],
): Promise<{ daemon: Daemon; port: number }> {
  const pem = (kind: string): string => join(certificates, `${identity}.${kind}`);
  const daemon = Daemon.start('openssl', [
    ...['s_server', ...where, '-cert', pem('pem'), '-key', pem('key')],
    ...['-naccept', '1000', ...args],
  ]);
  await daemon.says(/ACCEPT/);
  return { daemon, port: Number(/ACCEPT .*:(\d+)\s/.exec(daemon.output)?.[1] ?? 0) };
}
