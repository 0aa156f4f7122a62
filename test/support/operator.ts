/**
 * An operator at a shell: a directory with `portcullis.toml`, the server it starts, and command lines typed there as
 * the documentation prints them.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const programDirectory = join(import.meta.dirname, '../../bin');
/** Compiled once for all the programs that the tests of one run start. */
const compileCache = join(tmpdir(), `portcullis-compile-cache-${process.getuid?.() ?? 0}`);

export interface Typed {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export class Operator implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'portcullis-operator-'));
  readonly #env: Readonly<Record<string, string | undefined>>;
  #server: { readonly child: ChildProcess; readonly ended: Promise<Typed> } | null = null;

  constructor(config: string, env: Readonly<Record<string, string>> = {}) {
    this.write('portcullis.toml', config);
    const inherited = Object.entries(process.env).filter(
      ([name]) => !/^(PORTCULLIS_|NO_COLOR|COLUMNS)/.test(name),
    );
    const path = `${programDirectory}:${process.env['PATH'] ?? ''}`;
    this.#env = { ...Object.fromEntries(inherited), NODE_COMPILE_CACHE: compileCache, ...env, PATH: path };
  }

  file(name: string): string {
    return join(this.directory, name);
  }

  write(name: string, text: string | Uint8Array): void {
    writeFileSync(this.file(name), text);
  }

  /** Starts the server by the command line that the help prints; resolves when it is ready. */
  async serve(line = 'exec portcullis serve -c portcullis.toml'): Promise<void> {
    const typing = this.typing(line);
    this.#server = typing;
    await typing.says(/"msg":"ready"/);
  }

  /** Null when none was started. */
  async stop(): Promise<number | null> {
    const server = this.#server;
    this.#server = null;
    server?.child.kill('SIGTERM');
    return (await server?.ended)?.code ?? null;
  }

  /** Runs a line to its end. */
  async type(line: string): Promise<Typed> {
    return this.typing(line).ended;
  }

  /** As `type`, and expects it to succeed; answers standard output. */
  async run(line: string): Promise<string> {
    const { code, stdout, stderr } = await this.type(line);
    assert.equal(code, 0, `${line}\n${stdout}${stderr}`);
    return stdout;
  }

  typing(line: string): {
    readonly child: ChildProcess;
    readonly ended: Promise<Typed>;
    says(pattern: RegExp): Promise<void>;
  } {
    const child = spawn('bash', ['-c', line], {
      cwd: this.directory,
      env: this.#env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    running.add(child);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const ended = new Promise<Typed>((resolve) => {
      child.on('close', (code) => {
        running.delete(child);
        resolve({ code, stdout, stderr });
      });
    });
    const says = async (pattern: RegExp): Promise<void> => {
      const early = ended.then(() => Promise.reject(new Error(`ended early: ${line}\n${stdout}${stderr}`)));
      early.catch(() => undefined);
      while (!pattern.test(stdout)) {
        await Promise.race([early, new Promise((resolve) => child.stdout.once('data', resolve))]);
      }
    };
    return { child, ended, says };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
