/** The faults that the gate injects, as a table: what each hits, how long it lasts, and which failures it explains. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'node:tls';
import { Random } from '../fuzz/mutation.ts';
import type { Churn } from './churn.ts';
import type { Failure, Ledger } from './ledger.ts';
import type { Link } from './link.ts';
import { ingressKinds } from './traffic.ts';
import { certificateHost, listenerAddr, responseTimeoutMs, workers, type World } from './world.ts';

/** What a fault works with. */
interface Scene {
  readonly world: World;
  readonly churn: Churn;
  readonly random: Random;
  readonly lengthMs: number;
}

interface FaultKind {
  readonly name: string;
  /** What it is drawn from, and what clients need of it: `link http1`, `host h1.soak.example`, `admin`, `*`. */
  readonly targets: readonly string[];
  /** Shortest and longest. */
  readonly lengthMs: readonly [min: number, max: number];
  readonly explains: readonly Failure[];
  /** Resolves when it is over. */
  inject(scene: Scene, target: string): Promise<void>;
}

/** One fault of a plan: everything about it is drawn before the run begins. */
export interface PlannedFault {
  readonly kind: FaultKind;
  readonly target: string;
  readonly atMs: number;
  readonly lengthMs: number;
  readonly seed: number;
}

const plainLinks = ['link http1', 'link grpc'];
const protectedLinks = ['link stream', 'link https', 'link h2'];
const links = [...plainLinks, ...protectedLinks];
const cut: readonly Failure[] = ['unavailable', 'broken'];
const instant = [0, 0] as const;
const replacementTimeoutMs = 20_000;
const rotationTimeoutMs = 8_000;

export const faultKinds: readonly FaultKind[] = [
  {
    name: 'backend dies',
    ...{ targets: links, lengthMs: [300, 1_200], explains: cut },
    inject: (scene, target) =>
      onLink(
        scene,
        target,
        (link) => link.die(),
        (link) => link.revive(),
      ),
  },
  {
    name: 'backend resets',
    ...{ targets: links, lengthMs: instant, explains: cut },
    inject: (scene, target) =>
      onLink(
        scene,
        target,
        (link) => link.reset(),
        () => undefined,
      ),
  },
  {
    // Shorter than any deadline: what stands still goes on, and nobody fails.
    name: 'backend stalls',
    ...{ targets: links, lengthMs: [200, 1_000], explains: [] },
    inject: (scene, target) =>
      onLink(
        scene,
        target,
        (link) => link.stall(),
        (link) => link.resume(),
      ),
  },
  {
    name: 'backend hangs',
    ...{ targets: links, lengthMs: [responseTimeoutMs + 500, responseTimeoutMs + 1_500], explains: cut },
    inject: (scene, target) =>
      onLink(
        scene,
        target,
        (link) => link.stall(),
        (link) => link.resume(),
      ),
  },
  {
    // Nothing notices a changed bit but who checks digests: the clients here do.
    name: 'plain backend corrupts',
    ...{ targets: plainLinks, lengthMs: [200, 700] },
    explains: ['damaged', 'wrong', 'unrouted', 'timeout', ...cut],
    inject: corrupt,
  },
  {
    // TLS notices: no client may see damage.
    name: 'protected backend corrupts',
    ...{ targets: protectedLinks, lengthMs: [200, 700], explains: ['timeout', ...cut], inject: corrupt },
  },
  {
    name: 'worker dies',
    ...{ targets: ['*'], lengthMs: instant, explains: ['broken'] },
    inject: killWorker,
  },
  {
    name: 'worker freezes',
    ...{ targets: ['*'], lengthMs: [200, 800], explains: [] },
    async inject({ world, random, lengthMs }) {
      world.probe.order({ kind: 'freeze', thread: `portcullis-${random.below(workers)}`, forMs: lengthMs });
      await delay(lengthMs);
    },
  },
  {
    name: 'route removed',
    ...{ targets: ingressKinds.map(({ host }) => `host ${host}`), lengthMs: [200, 800] },
    explains: ['unrouted', 'broken'],
    inject: removeRoute,
  },
  {
    name: 'database locked',
    ...{ targets: ['admin'], lengthMs: [500, 5_000], explains: ['unavailable'] },
    async inject({ world, lengthMs }) {
      using database = new DatabaseSync(world.database, { timeout: 1_000 });
      database.exec('BEGIN IMMEDIATE');
      await delay(lengthMs);
      database.exec('ROLLBACK');
    },
  },
  {
    name: 'certificate rotated',
    ...{ targets: ['certificates'], lengthMs: instant, explains: [], inject: rotateCertificate },
  },
];

/**
 * Rounds in which each kind comes once, in an order of its own, a fault about each `everyMs`. Two faults never hold
 * one target at the same time. Nothing but the seed decides.
 */
export function planFaults(seed: number, durationMs: number, everyMs: number): PlannedFault[] {
  const random = new Random(seed);
  const plan: PlannedFault[] = [];
  const freeAtMs = new Map<string, number>();
  let round: FaultKind[] = [];
  for (let atMs = 0; atMs < durationMs; atMs += everyMs / 2 + random.below(everyMs)) {
    if (round.length === 0) round = shuffle(faultKinds, random);
    const kind = round.pop()!;
    const [min, max] = kind.lengthMs;
    const lengthMs = min + random.below(max - min + 1);
    if (atMs + lengthMs > durationMs) continue;
    const free = kind.targets.filter((target) => (freeAtMs.get(target) ?? 0) <= atMs);
    if (free.length === 0) {
      round.unshift(kind);
      continue;
    }
    const target = free[random.below(free.length)]!;
    // What it needs to be over, and some room for its aftermath.
    freeAtMs.set(target, atMs + lengthMs + 1_000);
    plan.push({ kind, target, atMs, lengthMs, seed: random.below(2 ** 31) });
  }
  return plan;
}

/** Injects one, on the record from before its first effect to after its last. */
export async function inject(fault: PlannedFault, world: World, churn: Churn, ledger: Ledger): Promise<void> {
  const { kind, target, lengthMs, seed } = fault;
  const entry = ledger.begin(kind.name, target, kind.explains);
  try {
    await kind.inject({ world, churn, lengthMs, random: new Random(seed) }, target);
  } finally {
    ledger.end(entry);
  }
}

async function onLink(
  { world, lengthMs }: Scene,
  target: string,
  begin: (link: Link) => void,
  end: (link: Link) => unknown,
): Promise<void> {
  const link = world.links.get(target.slice('link '.length))!;
  begin(link);
  await delay(lengthMs);
  await end(link);
}

function corrupt(scene: Scene, target: string): Promise<void> {
  return onLink(
    scene,
    target,
    (link) => link.bend(scene.random),
    (link) => link.straighten(),
  );
}

async function killWorker({ world, random }: Scene): Promise<void> {
  const before = world.watch.replacedCount;
  const how = random.below(2) === 0 ? 'exit' : 'throw';
  world.probe.order({ kind: 'crash', thread: `portcullis-${random.below(workers)}`, how });
  const deadline = performance.now() + replacementTimeoutMs;
  while (world.watch.replacedCount === before) {
    assert.ok(performance.now() < deadline, 'a dead worker was not replaced');
    await delay(20);
    world.watch.read();
  }
}

async function removeRoute({ world: { admin }, churn, lengthMs }: Scene, target: string): Promise<void> {
  const hostname = target.slice('host '.length);
  const { routes } = await admin.listRoutes({ listenerAddr });
  const route = routes.find((each) => each.hostname === hostname)!;
  await churn.call(() => admin.removeRoute({ listenerAddr, hostname }));
  await delay(lengthMs);
  await churn.call(() => admin.addRoute({ listenerAddr, route }));
}

/** New files are shown to new clients before long. */
async function rotateCertificate({ world }: Scene): Promise<void> {
  const name = world.rotate();
  const deadline = performance.now() + rotationTimeoutMs;
  while ((await shownName(world)) !== name) {
    assert.ok(performance.now() < deadline, `the certificate ${name} is not shown`);
    await delay(200);
  }
}

/** Null when a worker died under the question. */
async function shownName({ port, authority }: World): Promise<string | null> {
  const socket = connect({ host: '127.0.0.1', port, servername: certificateHost, ca: authority.cert });
  try {
    await once(socket, 'secureConnect');
    return String(socket.getPeerCertificate().subject.CN);
  } catch {
    return null;
  } finally {
    socket.on('error', () => undefined);
    socket.destroy();
  }
}

function shuffle<T>(items: readonly T[], random: Random): T[] {
  const shuffled = [...items];
  for (let last = shuffled.length - 1; last > 0; last--) {
    const other = random.below(last + 1);
    [shuffled[last], shuffled[other]] = [shuffled[other]!, shuffled[last]!];
  }
  return shuffled;
}
