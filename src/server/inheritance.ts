/**
 * What a process that takes over from another is given: listening sockets by descriptor, and a channel to talk.
 *
 *   predecessor                         successor
 *   starts it, sockets in its stdio  →  opens the database, starts its workers on the sockets
 *                                    ←  `serving`
 *   closes its admin API             →  `go`
 *                                       opens its admin API
 *                                    ←  `ready`, and the channel is closed
 *   drains and ends
 *
 * Until `ready` the predecessor takes everything back when the successor ends; when the predecessor ends first, the
 * channel closes, which stands for every word still to come. So whichever is killed, the other serves.
 */
import { closeSync } from 'node:fs';
import { doorNames, type DoorName } from './doors.ts';
import type { InheritedListener } from './supervisor.ts';

/** Names the descriptors. Not a setting, so it does not look like one. */
export const inheritanceVariable = 'INHERITED_BY_PORTCULLIS';

/** What the variable holds, as JSON. */
export interface Bequest {
  readonly listeners: readonly {
    readonly name: string;
    readonly port: number;
    readonly fds: readonly number[];
  }[];
  readonly doors: Readonly<Partial<Record<DoorName, number>>>;
}

export type SuccessorWord = 'serving' | 'ready';
export type PredecessorWord = 'go';

/** A predecessor that was told `serving` and says nothing is taken for dead. */
const goMsMax = 10_000;

export class Inheritance {
  readonly listeners: ReadonlyMap<string, InheritedListener>;
  readonly doors: ReadonlyMap<DoorName, number>;

  /** Null: this process is nobody's successor. Takes the variable out of `env`, whose children are to know nothing. */
  static take(env: NodeJS.ProcessEnv): Inheritance | null {
    const text = env[inheritanceVariable];
    delete env[inheritanceVariable];
    if (text === undefined || process.send === undefined) return null;
    return new Inheritance(JSON.parse(text) as Bequest);
  }

  private constructor({ listeners, doors }: Bequest) {
    this.listeners = new Map(listeners.map(({ name, port, fds }) => [name, { port, fds }]));
    this.doors = new Map(
      doorNames.flatMap((name) => (doors[name] === undefined ? [] : [[name, doors[name]] as const])),
    );
  }

  /** Closes sockets that this configuration has no use for: nobody would ever accept what arrives there. */
  closeUnused(listenerNames: ReadonlySet<string>, usesDoor: (name: DoorName) => boolean): void {
    for (const [name, { fds }] of this.listeners) if (!listenerNames.has(name)) fds.forEach(closeQuietly);
    for (const [name, fd] of this.doors) if (!usesDoor(name)) closeQuietly(fd);
  }

  /** Every worker serves. Resolves when the predecessor has let go of the admin API's address. */
  async takeOver(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, goMsMax);
    process.once('message', resolve);
    process.once('disconnect', resolve);
    if (process.connected) say('serving');
    else resolve();
    await promise;
    clearTimeout(timer);
    process.off('message', resolve);
    process.off('disconnect', resolve);
  }

  /** Everything serves: the predecessor may go. */
  ready(): void {
    if (!process.connected) return;
    process.send!('ready' satisfies SuccessorWord, () => {
      if (process.connected) process.disconnect?.();
    });
  }
}

function say(word: SuccessorWord): void {
  // A predecessor that is gone is told by `disconnect`.
  process.send!(word, () => {});
}

function closeQuietly(fd: number): void {
  try {
    closeSync(fd);
  } catch {
    // Not open: then nothing arrives there either.
  }
}
