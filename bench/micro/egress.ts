/**
 * Micro-benchmark of the egress decision: ns of CPU for each, among many ACL and rewrite entries, exact and wildcard in
 * turn, each host asked for the first time, so that nothing is remembered of it. The target is 5 µs at 10,000.
 * `scripts/node bench/micro/egress.ts [entries]`. The checksum shows that the work was done.
 */
import { decide, type Subject } from '../../src/egress/decision.ts';
import { compilePolicy } from '../../src/egress/policy.ts';
import { egressSettings } from '../../src/egress/testing/settings.ts';

interface DecisionTimes {
  readonly compileMs: number;
  /** CPU of a decision, by what the host is to the rules. */
  readonly nanoseconds: Readonly<Record<'exact' | 'wildcard' | 'rewritten' | 'unknown', number>>;
  readonly checksum: number;
}

if (import.meta.main) {
  const entries = Number(process.argv[2] ?? 10_000);
  measureDecisions(entries); // compiles the code
  const { compileMs, nanoseconds, checksum } = measureDecisions(entries);
  console.log(`compilePolicy, ${entries} of each list: ${compileMs.toFixed(1)} ms`);
  for (const [what, each] of Object.entries(nanoseconds))
    console.log(`decide, ${what}: ${each.toFixed(0)} ns`);
  console.log(`checksum ${checksum}`);
}

/** With `entries` of each: blacklist, whitelist, passthrough and rewrites. */
export function measureDecisions(entries: number): DecisionTimes {
  const startMs = performance.now();
  const policy = compilePolicy(
    egressSettings({
      blacklist: patterns(entries, 'bad'),
      whitelist: patterns(entries, 'good'),
      passthrough: patterns(entries, 'pinned'),
      rewrites: patterns(entries, 'moved').map((pattern) => ({ pattern, targetIp: '10.0.0.1' })),
    }),
  );
  const compileMs = performance.now() - startMs;
  let checksum = 0;
  const perDecision = (hosts: readonly string[]): number => {
    const subjects = hosts.map(subjectOf);
    const began = cpuMicroseconds();
    for (const subject of subjects) checksum += decide(policy, subject).isAllowed ? 1 : 0;
    return ((cpuMicroseconds() - began) * 1000) / subjects.length;
  };
  const halves = Array.from({ length: entries >> 1 }, (_, index) => index * 2);
  const nanoseconds = {
    exact: perDecision(halves.map((index) => hostOf(index, 'good'))),
    wildcard: perDecision(halves.map((index) => `a.b.${hostOf(index + 1, 'good')}`)),
    rewritten: perDecision(halves.map((index) => `a.${hostOf(index + 1, 'moved')}`)),
    unknown: perDecision(halves.map((index) => `a.${hostOf(index, 'nobody')}`)),
  };
  return { compileMs, nanoseconds, checksum };
}

/** Of this thread: what else the machine does is not in it. */
function cpuMicroseconds(): number {
  const { user, system } = process.threadCpuUsage();
  return user + system;
}

/** Exact and wildcard in turn. */
function patterns(count: number, kind: string): string[] {
  return Array.from({ length: count }, (_, index) => `${index % 2 === 0 ? '' : '*.'}${hostOf(index, kind)}`);
}

function hostOf(index: number, kind: string): string {
  return `host-${index}.tenant-${index % 97}.${kind}.example`;
}

/** The host is one flat string, as a parser makes it. */
function subjectOf(name: string): Subject {
  const host = Buffer.from(name, 'latin1').toString('latin1');
  return { host, port: 443, kind: 'tunnel', method: null, path: null, client: null };
}
