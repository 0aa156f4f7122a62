// Tables: Portcullis with 100,000 hostnames and 100,000 blocked networks: how long until it accepts, what one
// connection then costs, and what one look-up costs in the very tables that the data path uses.

import { cpuUsPerUnit, jobOf, type Bench, type Figure, type Sample } from '../figure.ts';
import { HOSTNAMES, freePort } from '../backend.ts';
import { BLOCKED_CIDRS, portcullisConfig, startPortcullis } from '../peers.ts';
import { parseCidr, parseIp, type Cidr } from '../../src/core/ip.ts';
import { CidrTable } from '../../src/model/cidr-table.ts';
import { HostTable } from '../../src/model/host-table.ts';

const LOOKUPS = 1_000_000;
/** Many and in random order, so that they and what they touch outgrow the caches. */
const PROBES = 65_536;
const ENTRIES = 100_000;
const SEED = 0x5eed;

export const tables: Figure = {
  name: 'tables',
  freshProcess: false,
  only: 'portcullis',
  metrics: [
    {
      key: 'startMs',
      label: 'start, 100,000 hostnames + CIDRs',
      unit: 'ms',
      better: 'lower',
      absoluteTarget: 3000,
    },
    { key: 'hostLookupNs', label: 'hostname look-up', unit: 'ns', better: 'lower', absoluteTarget: 1000 },
    { key: 'cidrLookupNs', label: 'CIDR look-up', unit: 'ns', better: 'lower', absoluteTarget: 1000 },
    { key: 'fullTablesCpuUs', label: 'open + exchange + close', unit: 'CPU µs', better: 'lower' },
  ],
  measure: measureTables,
};

async function measureTables(bench: Bench): Promise<Sample> {
  const count = ENTRIES;
  const started = await measureStart(bench, count);
  return { ...started, hostLookupNs: hostLookupNs(count), cidrLookupNs: cidrLookupNs(count) };
}

async function measureStart(bench: Bench, count: number): Promise<Sample> {
  const port = await freePort();
  const { backendPorts } = bench.place;
  const served = HOSTNAMES.map((hostname, i) => [hostname, backendPorts[i]!] as const);
  const others = manyHostnames(count - served.length).map((name) => [name, backendPorts[0]!] as const);
  const config = portcullisConfig(port, [...served, ...others], [...BLOCKED_CIDRS, ...manyCidrs(count)]);
  const running = await startPortcullis(config, port, bench.place);
  const job = jobOf(bench, 'connection', { connections: 64, sources: 60 });
  const result = await bench.load.run(running.target, job);
  await running.stop();
  return { startMs: running.startMs, fullTablesCpuUs: cpuUsPerUnit(result) };
}

function hostLookupNs(count: number): number {
  const names = manyHostnames(count);
  const table = HostTable.from(
    SEED,
    names.map((name, i) => [name, i + 1] as const),
  );
  // Half are found (wildcards through a name below them), half are not; flat strings, as they come off the wire.
  const probes = Array.from({ length: PROBES }, (_, i) => {
    const name = names[scatter(i) % names.length]!.replace('*', 'any');
    return Buffer.from(i % 2 === 0 ? name : `${name}.test`).toString('latin1');
  });
  return timeLookups((i) => table.get(probes[i]!) ?? 0);
}

function cidrLookupNs(count: number): number {
  const cidrs = manyCidrs(count);
  const table = CidrTable.from(cidrs.map((text, i) => [mustParseCidr(text), i + 1] as const));
  // Half are inside a network, half anywhere.
  const probes = Array.from({ length: PROBES }, (_, i) => {
    const mixed = scatter(i);
    const inside = cidrs[mixed % cidrs.length]!.replace('.0/24', `.${mixed >>> 24}`);
    const anywhere = `${mixed >>> 24}.${(mixed >>> 16) & 255}.${(mixed >>> 8) & 255}.${mixed & 255}`;
    return parseIp(i % 2 === 0 ? inside : anywhere)!;
  });
  return timeLookups((i) => table.lookup(probes[i]!) ?? 0);
}

/** The same well-mixed 32 bits for the same index. */
function scatter(index: number): number {
  const mixed = Math.imul(index + 1, 0x9e3779b1);
  return Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b) >>> 0;
}

/** Nanoseconds per call, warmed; the sum of what was found keeps the calls from being optimised away. */
function timeLookups(lookup: (probe: number) => number): number {
  let checksum = 0;
  for (let i = 0; i < LOOKUPS / 4; i++) checksum += lookup(i % PROBES);
  const startedAt = process.hrtime.bigint();
  for (let i = 0; i < LOOKUPS; i++) checksum += lookup(i % PROBES);
  const tookNs = Number(process.hrtime.bigint() - startedAt);
  if (checksum === 0) throw new Error('no look-up found anything');
  return tookNs / LOOKUPS;
}

/** Every hundredth is a wildcard, which `get` reaches only after the exact names. */
function manyHostnames(count: number): string[] {
  return Array.from(
    { length: count },
    (_, i) => `${i % 100 === 0 ? '*.' : ''}host${i}.zone${i % 997}.example`,
  );
}

/** Networks in 128.0.0.0/2, all different and none of them loopback. */
function manyCidrs(count: number): string[] {
  return Array.from({ length: count }, (_, i) => {
    const [a, b, c] = [128 + ((i >> 16) & 63), (i >> 8) & 255, i & 255];
    return `${a}.${b}.${c}.0/24`;
  });
}

function mustParseCidr(text: string): Cidr {
  const parsed = parseCidr(text);
  if (parsed === undefined) throw new Error(`not a network: ${text}`);
  return parsed.cidr;
}
