/**
 * The real program as a child process: started with a configuration, watched through its log, ended in order.
 *
 * Listeners take port 0 (`127.0.0.1:0`, `127.0.0.2:0`, `[::1]:0`: the address is the listener's name, so each may
 * stand once); `port` tells what they got.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Both ways of driving sockets pass the same tests. */
export const allSockets = ['fast', 'public'] as const;
export type Sockets = (typeof allSockets)[number];

export const program = join(import.meta.dirname, '../../bin/portcullis');

/** A line of the log. Fields beyond these differ from message to message. */
export interface LogLine {
  readonly level: string;
  readonly time: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** The line that tells how a connection ended, as docs/reference describes it. */
export interface ConnectionLine extends LogLine {
  readonly id: string;
  readonly client: string;
  readonly peer?: string;
  readonly listener: string;
  readonly sni: string | null;
  readonly route: string | null;
  readonly backend: string | null;
  readonly bytes_in: number;
  readonly bytes_out: number;
  readonly duration_ms: number;
  readonly verdict: string;
  readonly reason: string;
  readonly rule?: string;
  readonly detail?: string;
}

export interface StartOptions {
  readonly sockets?: Sockets;
  /** Settings of [server], by name; two workers and a short shutdown_timeout unless told otherwise. */
  readonly server?: Readonly<Record<string, string | number>>;
  readonly env?: Readonly<Record<string, string>>;
  /** A command that becomes the program which its last arguments name, `unshare --mount`. */
  readonly wrapper?: readonly string[];
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Nothing a test waits for takes longer on the slowest machine. */
const patienceMs = 30_000;

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export class Portcullis implements AsyncDisposable {
  readonly lines: LogLine[] = [];
  /** Standard output as it came, with journal priorities if there are any. */
  stdout = '';
  stderr = '';
  readonly exited: Promise<Exit>;
  /** What it was started with; SIGHUP reads it again. */
  readonly configFile: string;
  readonly #child: ChildProcess;
  readonly #directory: string;
  readonly #watchers = new Set<() => void>();
  #unread = '';
  #exit: Exit | undefined;

  /** Resolves once it serves. Throws with its output when it ends instead. */
  static async start(config: string, options: StartOptions = {}): Promise<Portcullis> {
    const portcullis = Portcullis.launch(config, options);
    await portcullis.line((line) => line.msg === 'ready');
    if (options.sockets !== undefined) {
      assert.equal(portcullis.lines.find(({ msg }) => msg === 'ready')!['sockets'], options.sockets);
    }
    return portcullis;
  }

  /** Without waiting: for starts that fail. */
  static launch(config: string, options: StartOptions = {}): Portcullis {
    return new Portcullis(config, options);
  }

  private constructor(config: string, { sockets, server = {}, env = {}, wrapper = [] }: StartOptions) {
    this.#directory = mkdtempSync(join(tmpdir(), 'portcullis-test-'));
    this.configFile = join(this.#directory, 'portcullis.toml');
    writeFileSync(this.configFile, config);
    const [command, ...args] = [...wrapper, program, 'serve', '-c', this.configFile];
    this.#child = spawn(command!, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        ...serverVariables({ workers: 2, shutdown_timeout: '5s', ...server }, sockets),
        ...env,
      },
    });
    running.add(this.#child);
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => this.#receive(text));
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.exited = new Promise((resolve) => {
      this.#child.on('close', (code, signal) => {
        running.delete(this.#child);
        this.#exit = { code, signal };
        rmSync(this.#directory, { recursive: true, force: true });
        resolve(this.#exit);
        this.#notify();
      });
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** The port of a listener, the first unless named: `127.0.0.1:0`. */
  port(listener?: string): number {
    const line = this.lines.find(
      (each) => each.msg === 'listening' && (listener === undefined || each['listener'] === listener),
    );
    assert.ok(line, `no listener ${listener ?? ''} in the log`);
    return line['port'] as number;
  }

  get connections(): readonly ConnectionLine[] {
    return this.lines.filter(({ msg }) => msg === 'connection') as ConnectionLine[];
  }

  /** The first line that matches, from the start of the log on; waits for it. */
  async line<L extends LogLine = LogLine>(matches: (line: LogLine) => boolean): Promise<L> {
    let seen = 0;
    let found: LogLine | undefined;
    await this.until('a line of the log', () => {
      while (found === undefined && seen < this.lines.length) {
        const line = this.lines[seen++]!;
        if (matches(line)) found = line;
      }
      return found !== undefined;
    });
    return found as L;
  }

  /**
   * The line of the connection that came from this client, `127.0.0.1:4711`. Where there are several listeners name
   * one: the system gives the same port to connections that go to different addresses.
   */
  async connection(client: string, listener?: string): Promise<ConnectionLine> {
    return this.line<ConnectionLine>((line) => {
      const isListener = listener === undefined || line['listener'] === listener;
      return line.msg === 'connection' && line['client'] === client && isListener;
    });
  }

  /** Waits for something that the log brings about. */
  async until(what: string, isReached: () => boolean): Promise<void> {
    const deadline = performance.now() + patienceMs;
    while (!isReached()) {
      const leftMs = deadline - performance.now();
      if (this.#exit !== undefined || leftMs <= 0) {
        const state = this.#exit === undefined ? 'still running' : JSON.stringify(this.#exit);
        assert.fail(`waited for ${what} in vain (${state})\n${this.stdout.slice(-1500)}${this.stderr}`);
      }
      await this.#change(leftMs);
    }
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** SIGTERM, and a drain that ends with exit code 0. */
  async stop(): Promise<void> {
    this.kill('SIGTERM');
    assert.deepEqual(await this.exited, { code: 0, signal: null }, this.stdout.slice(-1500) + this.stderr);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#exit === undefined) await this.stop();
  }

  /** Resident memory of the whole process. */
  residentBytes(): number {
    const status = readFileSync(`/proc/${this.pid}/status`, 'latin1');
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)![1]) * 1024;
  }

  #receive(text: string): void {
    this.stdout += text;
    const parts = (this.#unread + text).split('\n');
    this.#unread = parts.pop()!;
    for (const part of parts) {
      const json = part.replace(/^<\d>/, '');
      if (json.startsWith('{')) this.lines.push(JSON.parse(json) as LogLine);
    }
    this.#notify();
  }

  #notify(): void {
    for (const watcher of this.#watchers) watcher();
  }

  #change(withinMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#watchers.delete(done);
        resolve();
      };
      const timer = setTimeout(done, withinMs);
      this.#watchers.add(done);
    });
  }
}

function serverVariables(
  server: Readonly<Record<string, string | number>>,
  sockets: Sockets | undefined,
): Record<string, string> {
  const settings = sockets === undefined ? server : { ...server, sockets };
  return Object.fromEntries(
    Object.entries(settings).map(([name, value]) => [
      `PORTCULLIS_SERVER_${name.toUpperCase()}`,
      String(value),
    ]),
  );
}
