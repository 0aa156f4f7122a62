/**
 * A machine on which Portcullis is installed as the systemd unit has it, inside a directory: the commands of a page run
 * there as they are printed, with paths below the directory in the place of the system's, and small scripts in the
 * place of systemctl, journalctl and, where it is missing, grpcurl.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lacks } from './tools.ts';

export interface Ran {
  readonly code: number | null;
  /** Standard output and standard error, as they came. */
  readonly output: string;
}

const systemPaths = /\/(?:etc|run|var\/lib|var\/log|var\/backups)\/portcullis/g;
const programDirectory = join(import.meta.dirname, '../../bin');
const compileCache = join(tmpdir(), `portcullis-compile-cache-${process.getuid?.() ?? 0}`);
/** No command of a page takes longer on the slowest machine. */
const patienceMs = 60_000;

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export class Installation implements AsyncDisposable {
  readonly root = mkdtempSync(join(tmpdir(), 'portcullis-installed-'));
  readonly #left: { readonly child: ChildProcess; readonly ended: Promise<never> }[] = [];
  readonly #replacements: readonly (readonly [from: string | RegExp, to: string])[];

  /** `replacements` are for what a page prints and a test can not have: fixed ports, above all. */
  constructor(replacements: readonly (readonly [from: string | RegExp, to: string])[]) {
    this.#replacements = replacements;
    for (const name of ['etc', 'run', 'var/lib', 'var/log', 'var/backups'])
      mkdirSync(join(this.root, name, 'portcullis'), { recursive: true });
    mkdirSync(join(this.root, 'bin'));
    mkdirSync(join(this.root, 'home'));
    this.#standIn('systemctl', systemctl(this.root, this.translate('127.0.0.1:9901')));
    this.#standIn('journalctl', `tail -n 50 ${this.root}/journal\n`);
    if (lacks('grpcurl') !== false) this.#standIn('grpcurl', grpcurl);
  }

  /** Where a path of the page is: `/etc/portcullis/portcullis.toml`. */
  path(systemPath: string): string {
    return join(this.root, systemPath);
  }

  write(systemPath: string, content: string | Uint8Array): void {
    writeFileSync(this.path(systemPath), typeof content === 'string' ? this.translate(content) : content);
  }

  /** Text of a page for this machine. */
  translate(text: string): string {
    let own = text.replaceAll(systemPaths, (path) => `${this.root}${path}`);
    for (const [from, to] of this.#replacements) own = own.replaceAll(from, to);
    return own;
  }

  /** Commands as printed, in one shell that stops at the first that fails. */
  async run(code: string, { interruptAfter }: { interruptAfter?: RegExp } = {}): Promise<Ran> {
    const child = this.#spawn(code, patienceMs);
    let output = '';
    let isInterrupted = false;
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
        if (isInterrupted || interruptAfter?.test(output) !== true) return;
        isInterrupted = true;
        process.kill(-child.pid!, 'SIGINT');
      });
    }
    const status = await new Promise<number | null>((resolve) => child.on('close', resolve));
    return { code: status, output };
  }

  /** Commands that go on until the end, as in a terminal of their own; resolves when they have printed `ready`. */
  async leave(code: string, ready: RegExp): Promise<void> {
    const child = this.#spawn(code, 0);
    let output = '';
    const said = Promise.withResolvers<void>();
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
        if (ready.test(output)) said.resolve();
      });
    }
    const ended = new Promise<never>((_resolve, reject) => {
      child.on('close', () => reject(new Error(`ended early: ${code}\n${output}`)));
    });
    ended.catch(() => undefined);
    this.#left.push({ child, ended });
    await Promise.race([said.promise, ended]);
  }

  #spawn(code: string, timeout: number): ChildProcess {
    const child = spawn('bash', ['-e', '-c', this.translate(code)], {
      cwd: join(this.root, 'home'),
      // A group of its own, so that Ctrl-C reaches what it started, as on a terminal.
      detached: true,
      timeout,
      env: {
        PATH: `${join(this.root, 'bin')}:${programDirectory}:${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`,
        HOME: join(this.root, 'home'),
        LANG: 'C.UTF-8',
        NODE_COMPILE_CACHE: compileCache,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    running.add(child);
    child.on('close', () => running.delete(child));
    return child;
  }

  /** As `run`, and expects success. */
  async succeed(code: string): Promise<string> {
    const { code: status, output } = await this.run(code);
    assert.equal(status, 0, `${code}\n${output}`);
    return output;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { child, ended } of this.#left) {
      if (child.exitCode === null) process.kill(-child.pid!, 'SIGINT');
      await ended.catch(() => undefined);
    }
    await this.run('systemctl stop portcullis');
    for (const pid of this.#started()) if (isOurs(pid, this.root)) process.kill(pid, 'SIGKILL');
    rmSync(this.root, { recursive: true, force: true });
  }

  #started(): number[] {
    const path = join(this.root, 'started');
    return existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n').map(Number) : [];
  }

  #standIn(name: string, script: string): void {
    const path = join(this.root, 'bin', name);
    writeFileSync(path, `#!/bin/bash\nset -eu\n${script}`);
    chmodSync(path, 0o755);
  }
}

/** The number of a process that ended may be another's by now. */
function isOurs(pid: number, root: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(root);
  } catch {
    return false;
  }
}

/** One service. Its process is asked for, since an upgrade changes it. */
function systemctl(root: string, operatorAddress: string): string {
  return `
root=${root}
ask() { curl -s --max-time 5 "http://${operatorAddress}$1"; }
pid() { ask /server_info | sed -n 's/^ *"pid": \\([0-9]*\\),$/\\1/p' || true; }
start() {
  setsid portcullis serve -c $root/etc/portcullis/portcullis.toml </dev/null >>$root/journal 2>&1 &
  local process=$!
  echo $process >>$root/started
  until [ "$(ask /readyz)" = live ]; do
    kill -0 $process 2>/dev/null || { echo "Job for portcullis.service failed." >&2; exit 1; }
    sleep 0.05
  done
}
stop() {
  local process=$(pid)
  [ -n "$process" ] || return 0
  kill -TERM $process
  while kill -0 $process 2>/dev/null; do sleep 0.05; done
}
case $1 in
start) start ;;
stop) stop ;;
restart) stop; start ;;
reload) kill -HUP "$(pid)" ;;
kill) kill "-$3" "$(pid)" ;;
is-active) if [ -n "$(pid)" ]; then echo active; else echo inactive; exit 3; fi ;;
status)
  process=$(pid)
  [ -n "$process" ] || { echo "     Active: failed (Result: exit-code)"; exit 3; }
  echo "     Active: active (running)"
  echo "   Main PID: $process (node)" ;;
show) pid ;;
*) echo "systemctl: $1 is not played here" >&2; exit 1 ;;
esac
`;
}

/** The API answers JSON as well, so curl can do what grpcurl does. */
const grpcurl = `
data='{}'
while :; do
  case $1 in
  -plaintext) shift ;;
  -unix) shift ;;
  -d) data=$2; shift 2 ;;
  *) break ;;
  esac
done
curl -sS --fail-with-body --unix-socket "$1" -H 'content-type: application/json' -d "$data" "http://localhost/$2"
echo
`;
