/**
 * The real program through upgrades: the first process is started here, each next one by the one before. All of them
 * write to one pipe, and the last that said `ready` is the one that serves.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { program, type LogLine, type Sockets } from './portcullis.ts';

const patienceMs = 20_000;

export class Generations implements AsyncDisposable {
  readonly lines: LogLine[] = [];
  readonly directory = mkdtempSync(join(tmpdir(), 'portcullis-upgrade-'));
  /** Of the admin API. */
  readonly socket = join(this.directory, 'admin.sock');
  readonly #file = join(this.directory, 'portcullis.toml');
  readonly #child: ChildProcess;
  #unread = '';

  /** `traffic` is the configuration beside the admin HTTP address and, unless told otherwise, a database. */
  static async start(
    traffic: string,
    options: { sockets?: Sockets; workers?: number; hasDatabase?: boolean; shutdownTimeout?: string } = {},
  ): Promise<Generations> {
    const generations = new Generations(traffic, options);
    await generations.serving(1);
    return generations;
  }

  private constructor(
    traffic: string,
    {
      sockets = 'fast',
      workers = 2,
      hasDatabase = true,
      shutdownTimeout = '20s',
    }: Parameters<typeof Generations.start>[1] & object,
  ) {
    const database = hasDatabase ? `[database]\npath = "${this.directory}/a.db"\n` : '';
    const server = `[server]\nworkers = ${workers}\nsockets = "${sockets}"\nshutdown_timeout = "${shutdownTimeout}"\n`;
    const admin = `[admin]\nhttp_addr = "127.0.0.1:0"\ngrpc_addr = "unix:${this.socket}"\n`;
    writeFileSync(this.#file, `${server}${database}${admin}${traffic}`);
    this.#child = spawn(program, ['serve', '-c', this.#file], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => this.#receive(text));
  }

  /** Of each process that served, the present one last. */
  get pids(): readonly number[] {
    return this.lines.filter(({ msg }) => msg === 'ready').map(({ pid }) => pid as number);
  }

  get pid(): number {
    return this.pids.at(-1)!;
  }

  get port(): number {
    return this.lines.findLast(({ msg }) => msg === 'listening')!['port'] as number;
  }

  /** Of the pages for operators. */
  url(path: string): string {
    const { address } = this.lines.findLast(({ msg }) => msg === 'admin HTTP listening')! as LogLine & {
      address: string;
    };
    return `http://${address}${path}`;
  }

  /** Runs a command of the program with the same configuration. */
  command(
    name: string,
  ): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
    const child = spawn(program, [name, '-c', this.#file], { stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })));
  }

  has(message: string): boolean {
    return this.lines.some(({ msg }) => msg === message);
  }

  /** Changes the file that the next process reads. */
  configure(change: (text: string) => string): void {
    writeFileSync(this.#file, change(readFileSync(this.#file, 'utf8')));
  }

  /** The process that `pid` has started, as soon as it is there. */
  async child(pid: number): Promise<number> {
    let child = 0;
    await this.until('a process to be started', () => {
      child = Number.parseInt(readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1'), 10);
      return child > 0;
    });
    return child;
  }

  /** On a connection of its own: it goes to whichever process accepts now. */
  post(path: string): Promise<{ readonly status: number; readonly body: string }> {
    return new Promise((resolve, reject) => {
      const options = { method: 'POST', agent: false, headers: { 'x-portcullis': '1' } } as const;
      const call = request(this.url(path), options, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => (body += text));
        response.on('end', () => resolve({ status: response.statusCode!, body }));
        response.on('error', reject);
      });
      call.on('error', reject);
      call.end();
    });
  }

  /** Asks for the next process and resolves once it serves. */
  async upgrade(): Promise<void> {
    const { length } = this.pids;
    const { status, body } = await this.post('/upgrade');
    assert.equal(status, 200, body);
    await this.serving(length + 1);
  }

  /** Resolves when so many processes have come to serve. */
  async serving(count: number): Promise<void> {
    await this.until(`${count} processes to have served`, () => this.pids.length >= count);
  }

  async gone(pid: number): Promise<void> {
    await this.until(`process ${pid} to end`, () => !isAlive(pid));
  }

  async until(what: string, isReached: () => boolean | Promise<boolean>): Promise<void> {
    const deadline = performance.now() + patienceMs;
    while (!(await isReached())) {
      assert.ok(
        performance.now() < deadline,
        `waited for ${what} in vain\n${this.lines
          .filter((l) => l.msg !== 'connection')
          .map((line) => JSON.stringify(line))
          .join('\n')}`,
      );
      await delay(10);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pid of this.pids) if (isAlive(pid)) process.kill(pid, 'SIGTERM');
    for (const pid of this.pids) await this.gone(pid);
    this.#child.stdout!.destroy();
    rmSync(this.directory, { recursive: true, force: true });
  }

  #receive(text: string): void {
    const parts = (this.#unread + text).split('\n');
    this.#unread = parts.pop()!;
    for (const part of parts) if (part.startsWith('{')) this.lines.push(JSON.parse(part) as LogLine);
  }
}

/** One whose parent has not looked yet is dead all the same. */
function isAlive(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}
