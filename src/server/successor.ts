/**
 * The process that is to take over from this one, seen from here: started with our listening sockets in its stdio,
 * heard over its channel, killed when it does not come to serve in time. See inheritance.ts for the conversation.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { fstatSync } from 'node:fs';
import type { DoorName } from './doors.ts';
import {
  inheritanceVariable,
  type Bequest,
  type PredecessorWord,
  type SuccessorWord,
} from './inheritance.ts';
import type { ListeningSocket } from './messages.ts';

export interface SuccessorOptions {
  /** The command and its arguments. */
  readonly command: string;
  readonly args: readonly string[];
  /** Of each worker. */
  readonly sockets: readonly (readonly ListeningSocket[])[];
  readonly ports: ReadonlyMap<string, number>;
  readonly doors: ReadonlyMap<DoorName, number>;
  /** How long it may take until it serves. */
  readonly startMsMax: number;
}

/** stdin, stdout, stderr, and the channel. */
const firstInheritedFd = 4;

export class Successor {
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #words = new Set<SuccessorWord>();
  readonly #timer: NodeJS.Timeout;
  #failure: string | null = null;
  #onChange: () => void = () => {};

  constructor({ command, args, sockets, ports, doors, startMsMax }: SuccessorOptions) {
    const { bequest, fds } = bequeath(sockets, ports, doors);
    this.#child = spawn(command, args, {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', ...fds],
      env: { ...process.env, [inheritanceVariable]: JSON.stringify(bequest) },
    });
    this.#exited = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        this.#fail(`it ended with ${signal ?? `code ${code}`} before it was ready; its log says why`);
        resolve();
      });
      this.#child.once('error', (error) => {
        this.#fail(`it could not be started: ${error.message}`);
        resolve();
      });
    });
    this.#child.on('message', (word: SuccessorWord) => {
      this.#words.add(word);
      this.#onChange();
    });
    this.#timer = setTimeout(() => {
      this.#fail(`it did not come to serve within ${Math.round(startMsMax / 1_000)} s`);
    }, startMsMax);
  }

  get pid(): number | null {
    return this.#child.pid ?? null;
  }

  /** Rejects with why when the successor fails before it has said so. */
  async heard(word: SuccessorWord): Promise<void> {
    while (!this.#words.has(word)) {
      if (this.#failure !== null) throw new Error(this.#failure);
      await new Promise<void>((resolve) => (this.#onChange = resolve));
    }
  }

  /** Our admin API has let go of its address. */
  go(): void {
    this.#child.send('go' satisfies PredecessorWord, () => {});
  }

  /** It is on its own from now on. */
  release(): void {
    clearTimeout(this.#timer);
    this.#child.unref();
    if (this.#child.connected) this.#child.disconnect();
  }

  /** Ends it for certain. Resolves when it is gone, and with it what it held. */
  async kill(): Promise<void> {
    clearTimeout(this.#timer);
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  #fail(reason: string): void {
    this.#failure ??= reason;
    this.#onChange();
  }
}

/** Numbers our descriptors as the successor will see them. */
function bequeath(
  sockets: readonly (readonly ListeningSocket[])[],
  ports: ReadonlyMap<string, number>,
  doors: ReadonlyMap<DoorName, number>,
): { readonly bequest: Bequest; readonly fds: readonly number[] } {
  const fds: number[] = [];
  const pass = (fd: number): number => firstInheritedFd + fds.push(fd) - 1;
  const byListener = new Map<string, number[]>();
  for (const { listener, fd, inode } of sockets.flat()) {
    // The worker may have died a moment ago, and its number be another file's.
    if (inodeOf(fd) !== inode) continue;
    const own = byListener.get(listener) ?? [];
    own.push(pass(fd));
    byListener.set(listener, own);
  }
  const listeners = Array.from(byListener, ([name, own]) => ({ name, port: ports.get(name) ?? 0, fds: own }));
  const passedDoors: Partial<Record<DoorName, number>> = {};
  for (const [name, fd] of doors) passedDoors[name] = pass(fd);
  return { bequest: { listeners, doors: passedDoors }, fds };
}

function inodeOf(fd: number): number | undefined {
  try {
    return fstatSync(fd).ino;
  } catch {
    return undefined;
  }
}
