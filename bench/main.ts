// `npm run bench`: measures Portcullis, HAProxy and nginx in turn on this machine and prints absolute figures and
// ratios. Everything it starts it ends, on success, failure and Ctrl-C. What the figures mean: README.md.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Backend } from './backend.ts';
import { EFFORTS, type Bench, type Figure } from './figure.ts';
import { bodies } from './figures/bodies.ts';
import { bulk } from './figures/bulk.ts';
import { connection } from './figures/connection.ts';
import { egressFigures } from './figures/egress.ts';
import { exchange } from './figures/exchange.ts';
import { features } from './figures/features.ts';
import { grpc } from './figures/grpc.ts';
import { requestFigures } from './figures/http.ts';
import { idle } from './figures/idle.ts';
import { latency } from './figures/latency.ts';
import { tables } from './figures/tables.ts';
import { EGRESS_PEERS } from './egress-peers.ts';
import { HttpLoad } from './http-load.ts';
import { HTTP_PEERS } from './http-peers.ts';
import { compileGenerator, Load } from './load.ts';
import { chooseCores, installMissing, machineFacts, pinSelf, type Tool } from './machine.ts';
import { PEERS, startPeer, type Peer, type PeerName, type RunningPeer } from './peers.ts';
import { Processes } from './processes.ts';
import * as report from './report.ts';

const FIGURES: readonly Figure[] = [
  ...[bulk, exchange, connection, latency, idle, tables],
  ...[...requestFigures, bodies, grpc, features],
  ...egressFigures,
];
const ALL_PEERS: readonly Peer[] = [...PEERS, ...HTTP_PEERS, ...EGRESS_PEERS];
const PEER_NAMES = [...new Set(ALL_PEERS.map(({ name }) => name))].filter((name) => name !== 'portcullis');
const ROUNDS_MAX = 50;
const SECONDS_MAX = 60;

const USAGE = `npm run bench -- [options]
  --quick          tiny: one short round, every byte compared
  --only LIST      of ${FIGURES.map((figure) => figure.name).join(', ')}; egress: all of its own
  --peers LIST     of ${PEER_NAMES.join(', ')}, none; Portcullis is always measured, unless
  --no-portcullis  only the peers
  --rounds N       rounds (default 3)
  --seconds N      length of each window (default 3)
  --json FILE      where the results are kept (default bench/results/DATE.json)
  --keep           leave the proxies' configurations and logs in the temporary directory`;

interface Options {
  quick: boolean;
  figures: Figure[];
  peers: ReadonlySet<PeerName>;
  rounds: number | undefined;
  seconds: number | undefined;
  jsonFile: string;
  keep: boolean;
}

const processes = new Processes();
process.on('exit', () => processes.killAllNow());
try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  say(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}

async function main(args: string[]): Promise<number> {
  const options = readOptions(args);
  if (options === undefined) {
    say(USAGE);
    return 2;
  }
  const missing = installMissing(neededTools(options), say);
  if (missing.includes('gcc') || missing.includes('openssl')) return 1;
  const peers = new Set([...options.peers].filter((name) => !missing.includes(name as Tool)));
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-bench-'));
  const cleanUp = async (): Promise<void> => {
    await processes.endAll();
    if (!options.keep) rmSync(directory, { recursive: true, force: true });
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void cleanUp().finally(() => process.exit(130)));
  }
  try {
    return await measureAll(options, peers, directory);
  } finally {
    await cleanUp();
    if (options.keep) say(`configurations and logs: ${directory}`);
  }
}

async function measureAll(
  options: Options,
  peers: ReadonlySet<PeerName>,
  directory: string,
): Promise<number> {
  const cores = chooseCores();
  pinSelf(cores.load);
  const facts = machineFacts();
  say(
    `${facts.cpu}, Linux ${facts.kernel}, Node ${facts.node}, HAProxy ${facts.haproxy}, nginx ${facts.nginx}, Caddy ${facts.caddy}, Squid ${facts.squid}, mitmproxy ${facts.mitmproxy}`,
  );
  const generator = compileGenerator(directory);
  const backend = await Backend.start(generator, cores, processes);
  const effort = { ...(options.quick ? EFFORTS.quick : EFFORTS.full) };
  const bench: Bench = {
    load: new Load(generator, directory, backend, cores, processes),
    http: options.figures.some(isHttp)
      ? await HttpLoad.start(generator, directory, cores, processes)
      : undefined,
    effort: {
      ...effort,
      rounds: options.rounds ?? effort.rounds,
      seconds: options.seconds ?? effort.seconds,
    },
    place: { directory, core: cores.proxy, backendPorts: backend.ports, processes },
  };
  const rounds: report.Rounds = new Map();
  const failures: string[] = [];
  for (const figure of options.figures) await measureFigure(figure, bench, peers, rounds, failures);
  report.addDifferences(options.figures, rounds);
  const ratios = report.ratioRows(options.figures, rounds, bench.effort.judged);
  const kinds: readonly ((figure: Figure) => boolean)[] = [
    (figure) => !isHttp(figure),
    (figure) => isHttp(figure) && !isEgress(figure),
    isEgress,
  ];
  const layers = kinds.map((isKind) => options.figures.filter(isKind));
  for (const figures of layers) {
    if (figures.length > 0) say(`\n${report.absoluteTable(figures, rounds)}`);
  }
  say(`\n${report.headroomTable(options.figures, rounds)}`);
  if (ratios.length > 0) say(`\n${report.ratioTable(ratios)}`);
  if (!bench.effort.judged) say('a quick run shows that the bench works; it is too short for PASS or MISS');
  report.writeResults(options.jsonFile, facts, rounds, ratios);
  say(`\nkept in ${options.jsonFile}`);
  for (const failure of failures) say(`not measured: ${failure}`);
  return failures.length > 0 ? 1 : 0;
}

/** Interleaves: direct, A, B, C, direct, A, B, C … so that a slow minute of the machine falls on everyone. */
async function measureFigure(
  figure: Figure,
  bench: Bench,
  peers: ReadonlySet<PeerName>,
  rounds: report.Rounds,
  failures: string[],
): Promise<void> {
  const running = new Map<Peer, RunningPeer>();
  const dropped = new Set<Peer>();
  const start = figure.http?.start ?? ((peer: Peer) => startPeer(peer, bench.place));
  const applicable = (figure.http?.peers ?? PEERS).filter(
    ({ name }) => peers.has(name) && (figure.only === undefined || name === figure.only),
  );
  for (let round = 0; round < bench.effort.rounds; round++) {
    say(`${figure.name}, round ${round + 1} of ${bench.effort.rounds}`);
    if (figure.measureDirect) report.addSample(rounds, report.DIRECT, await figure.measureDirect(bench));
    for (const peer of applicable) {
      if (dropped.has(peer)) continue;
      try {
        const proxy = running.get(peer) ?? (await start(peer, bench));
        running.set(peer, proxy);
        report.addSample(rounds, peer.label, await figure.measure(bench, proxy.target, peer));
      } catch (error) {
        dropped.add(peer);
        failures.push(
          `${figure.name} on ${peer.label}: ${error instanceof Error ? error.message : String(error)}`,
        );
      }
      if (figure.freshProcess || dropped.has(peer)) {
        await running.get(peer)?.stop();
        running.delete(peer);
      }
    }
  }
  await Promise.all([...running.values()].map((proxy) => proxy.stop()));
}

function readOptions(args: string[]): Options | undefined {
  try {
    const { values } = parseArgs({
      args,
      options: {
        quick: { type: 'boolean', default: false },
        only: { type: 'string', default: FIGURES.map((figure) => figure.name).join(',') },
        peers: { type: 'string', default: PEER_NAMES.join(',') },
        'no-portcullis': { type: 'boolean', default: false },
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        json: { type: 'string', default: defaultJsonFile() },
        keep: { type: 'boolean', default: false },
      },
    });
    const names = values.only.split(',');
    const figures = FIGURES.filter((figure) => names.some((name) => isMeant(figure, name)));
    const peerNames = values.peers.split(',').filter((name) => name !== 'none');
    const areKnown = names.every((name) => FIGURES.some((figure) => isMeant(figure, name)));
    if (!areKnown || !peerNames.every(isPeerName)) return undefined;
    return {
      quick: values.quick,
      figures,
      peers: new Set<PeerName>([...peerNames, ...(values['no-portcullis'] ? [] : ['portcullis' as const])]),
      rounds: boundedNumber(values.rounds, ROUNDS_MAX),
      seconds: boundedNumber(values.seconds, SECONDS_MAX),
      jsonFile: values.json,
      keep: values.keep,
    };
  } catch {
    return undefined;
  }
}

function boundedNumber(text: string | undefined, max: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!(value > 0 && value <= max)) throw new RangeError(`${text} is not between 0 and ${max}`);
  return value;
}

function isPeerName(name: string): name is PeerName {
  return ALL_PEERS.some((peer) => peer.name === name);
}

function isEgress(figure: Figure): boolean {
  return egressFigures.includes(figure);
}

/** `egress` stands for all figures of egress. */
function isMeant(figure: Figure, name: string): boolean {
  return figure.name === name || (name === 'egress' && isEgress(figure));
}

function isHttp(figure: Figure): boolean {
  return figure.http !== undefined;
}

/** Compilers, and the peers that are programs of their own and have a part in a figure. */
function neededTools({ figures, peers }: Options): Tool[] {
  const involved = new Set(
    figures.flatMap((figure) => (figure.http?.peers ?? PEERS).map(({ name }) => name)),
  );
  const programs = (['haproxy', 'nginx', 'caddy', 'squid', 'mitmproxy'] as const).filter(
    (name) => involved.has(name) && peers.has(name),
  );
  return [...programs, 'gcc', ...(figures.some(isHttp) ? (['openssl'] as const) : [])];
}

function defaultJsonFile(): string {
  const stamp = new Date().toISOString().slice(0, 19).replaceAll(':', '-');
  return join(import.meta.dirname, 'results', `${stamp}.json`);
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
