/**
 * What a debug bundle holds: a table of files, each with what gathers it. A file that can not be had is named in
 * MISSING.txt with the reason, and the others are there all the same: a bundle is wanted when things do not work.
 */

import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import type * as Schemas from '../admin/gen/portcullis/v1/admin_pb.ts';
import type { Environment } from '../config/environment.ts';
import type { Settings, TrafficSettings } from '../model/settings.ts';
import { apiJson } from './api-json.ts';
import type { AdminClient } from './client.ts';
import { fileFacts, machineFacts, serverProcesses } from './debug-machine.ts';
import { redactData, referencedSecrets, TextRedaction } from './debug-redaction.ts';
import { readPage } from './operator-page.ts';
import type { TarEntry } from './tar.ts';
import { version } from './version.ts';

export interface BundleSource {
  /** As the server reads it; null: no `-c`, or an invalid file, whose problems are then `problems`. */
  readonly settings: Settings | null;
  readonly problems: readonly object[];
  /** Null: nothing says where the API is. */
  readonly client: AdminClient | null;
  readonly env: Environment;
  readonly withDatabase: boolean;
}

export interface Bundle extends Disposable {
  readonly entries: readonly TarEntry[];
  readonly missing: readonly { readonly name: string; readonly reason: string }[];
}

export const bundleLimits = {
  /** Of each answer; what takes longer is missing. */
  answerTimeoutMs: 5_000,
  logTailBytes: 2 * 2 ** 20,
  auditEntries: 200,
  /** How long events are watched, and how many are kept. */
  eventsMs: 1_000,
  events: 1_000,
  /** Routes of each listener, and firewall rules of each type. */
  rows: 10_000,
  /** A larger database is not copied just to read the configuration out of it. */
  offlineDatabaseBytes: 256 * 2 ** 20,
};

type Gathered = string | object | null;

/** Null: it does not apply, which is no loss. A reason not to have it is thrown. */
interface Part {
  readonly name: string;
  readonly gather: (source: BundleSource) => Gathered | Promise<Gathered>;
}

const parts: readonly Part[] = [
  { name: 'versions.json', gather: ({ env }) => versions(env) },
  { name: 'machine.json', gather: machineFacts },
  { name: 'processes.json', gather: serverProcesses },
  { name: 'files.json', gather: ({ settings }) => (settings === null ? null : fileFacts(filesOf(settings))) },
  { name: 'settings.json', gather: ({ settings }) => settings?.process ?? null },
  { name: 'problems.json', gather: ({ problems }) => (problems.length === 0 ? null : problems) },
  { name: 'log.txt', gather: ({ settings }) => logTail(settings) },
  { name: 'status.json', gather: status },
  { name: 'config.json', gather: configuration },
  { name: 'routes.txt', gather: routes },
  { name: 'firewall.json', gather: firewall },
  { name: 'audit.json', gather: audit },
  { name: 'events.json', gather: events },
  page('server-info.json', '/server_info'),
  page('ready.txt', '/ready'),
  page('listeners.json', '/listeners'),
  page('clusters.json', '/clusters'),
  page('certificates.json', '/certs'),
  page('metrics.txt', '/stats/prometheus'),
];

/** Gathers everything at once. Dispose of it after its entries were read. */
export async function gatherBundle(source: BundleSource): Promise<Bundle> {
  const missing: { name: string; reason: string }[] = [];
  const redaction = new TextRedaction(referencedSecrets(source.settings, source.env));
  const gathered = await Promise.all(
    parts.map(async ({ name, gather }): Promise<TarEntry | null> => {
      try {
        const found = await gather(source);
        return found === null ? null : { name, content: Buffer.from(redaction.apply(textOf(found))) };
      } catch (error) {
        missing.push({ name, reason: redaction.apply(messageOf(error)) });
        return null;
      }
    }),
  );
  const entries = gathered.filter((entry) => entry !== null);
  const directory = source.withDatabase ? mkdtempSync(join(tmpdir(), 'portcullis-bundle-')) : null;
  if (directory !== null) {
    try {
      entries.push(await database(source, directory));
    } catch (error) {
      missing.push({ name: 'portcullis.db', reason: messageOf(error) });
    }
  }
  missing.sort((a, b) => (a.name < b.name ? -1 : 1));
  const lines = missing.map(({ name, reason }) => `${name}: ${reason}\n`);
  if (lines.length > 0) entries.unshift({ name: 'MISSING.txt', content: Buffer.from(lines.join('')) });
  return {
    entries,
    missing,
    [Symbol.dispose]: () => {
      if (directory !== null) rmSync(directory, { recursive: true, force: true });
    },
  };
}

function textOf(found: string | object): string {
  return typeof found === 'string' ? found : `${JSON.stringify(redactData(found), null, 2)}\n`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Names of variables say what overrides the file; their values may be secrets. */
function versions(env: Environment): object {
  return {
    portcullis: version(),
    node: process.version,
    gathered_at: new Date().toISOString(),
    variables: Object.keys(env).filter((name) =>
      /^(PORTCULLIS_|PROXY_|CONFIG_PATH$|NODE_OPTIONS$)/.test(name),
    ),
  };
}

function filesOf({ process: { database, operate, admin }, traffic }: Settings): (string | null)[] {
  const companions = database.path === null ? [] : [`${database.path}-wal`, `${database.path}.lock`];
  return [
    database.path,
    ...companions,
    operate.logFile,
    traffic.firewall.geoipDatabase,
    admin.tlsCert,
    admin.clientCa,
  ];
}

/** From its first whole line on. */
function logTail(settings: Settings | null): string {
  if (settings === null) throw new Error('no configuration says where the log is: give -c FILE');
  const path = settings.process.operate.logFile;
  if (path === null)
    throw new Error('the log goes to standard output; under systemd: journalctl -u portcullis');
  // Opening a pipe would wait for whoever writes it.
  if (!statSync(path).isFile()) throw new Error(`${path} is no plain file`);
  const file = openSync(path, 'r');
  try {
    const { size } = fstatSync(file);
    const bytes = Buffer.alloc(Math.min(size, bundleLimits.logTailBytes));
    const text = bytes.subarray(0, readSync(file, bytes, 0, bytes.length, size - bytes.length)).toString();
    return bytes.length < size ? text.slice(text.indexOf('\n') + 1) : text;
  } finally {
    closeSync(file);
  }
}

function page(name: string, path: string): Part {
  return {
    name,
    async gather({ settings }) {
      const address = settings?.process.operate.adminHttp ?? null;
      if (address === null) throw new Error('no [admin] http_addr is known');
      const text = await readPage(address, path, bundleLimits.answerTimeoutMs);
      return name.endsWith('.json') ? (JSON.parse(text) as object) : text;
    },
  };
}

function api({ client }: BundleSource): AdminClient {
  if (client === null) throw new Error('nothing says where the API is: -c FILE, or --addr ADDRESS');
  return client;
}

const call = { timeoutMs: bundleLimits.answerTimeoutMs };

async function status(source: BundleSource): Promise<object> {
  const { GetStatusResponseSchema } = await schemas();
  return inApiForm(GetStatusResponseSchema, await api(source).getStatus({}, call));
}

async function firewall(source: BundleSource): Promise<object> {
  const { GetFirewallRulesResponseSchema } = await schemas();
  return cutRows(inApiForm(GetFirewallRulesResponseSchema, await api(source).getFirewallRules({}, call)));
}

async function audit(source: BundleSource): Promise<object> {
  const { AuditEntrySchema } = await schemas();
  const { entries } = await api(source).listAuditLog({ limit: bundleLimits.auditEntries }, call);
  return entries.map((entry) => cutRows(inApiForm(AuditEntrySchema, entry)));
}

/** What happens while the bundle is made. */
async function events(source: BundleSource): Promise<object> {
  const { WatchEventsResponseSchema } = await schemas();
  const seen: object[] = [];
  const ending = new AbortController();
  const timer = setTimeout(() => ending.abort(), bundleLimits.eventsMs);
  try {
    for await (const event of api(source).watchEvents({}, { signal: ending.signal })) {
      seen.push(cutRows(inApiForm(WatchEventsResponseSchema, event)));
      if (seen.length === bundleLimits.events) break;
    }
  } catch (error) {
    if (!ending.signal.aborted) throw error;
  } finally {
    clearTimeout(timer);
  }
  return seen;
}

async function configuration(source: BundleSource): Promise<object> {
  const { traffic, ...where } = await present(source);
  return { ...where, ...(cutRows(traffic) as object) };
}

/** One line for each route: what a reader looks for first. */
async function routes(source: BundleSource): Promise<string> {
  const { formatEndpoint } = await import('../model/endpoint.ts');
  const { traffic } = await present(source);
  const lines = traffic.listeners.flatMap(({ name, routes: all }) => [
    `${name}: ${all.length} routes`,
    ...all
      .slice(0, bundleLimits.rows)
      .map(
        ({ hostname, pathPrefix, mode, backend }) =>
          `  ${hostname}${pathPrefix} ${mode} → ${formatEndpoint(backend)}`,
      ),
  ]);
  return `${lines.join('\n')}\n`;
}

interface Present {
  readonly from: string;
  readonly version: number | null;
  readonly traffic: TrafficSettings;
}

/** The server's own word, else what the database holds, else what the file would seed. */
async function present(source: BundleSource): Promise<Present> {
  const { settings, client } = source;
  try {
    const { trafficOf } = await import('./traffic-message.ts');
    const answer = await api(source).getConfig({}, call);
    return { from: 'server', version: Number(answer.version), traffic: trafficOf(answer.config!) };
  } catch (error) {
    const path = settings?.process.database.path ?? null;
    if (settings === null || (client !== null && !isUnreachable(error))) throw error;
    if (path === null) return { from: 'file', version: null, traffic: settings.traffic };
    return { from: 'database', ...(await storedIn(path)) };
  }
}

function isUnreachable(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'unreachable';
}

/** Read from a copy: a newer program would bring the database itself up to date, and this command changes nothing. */
async function storedIn(path: string): Promise<{ version: number; traffic: TrafficSettings }> {
  const { size } = statSync(path);
  if (size > bundleLimits.offlineDatabaseBytes)
    throw new Error(`the database has ${size} bytes; see --with-database`);
  const [{ snapshotOffline }, { loadOffline }] = await Promise.all([
    import('../store/backup.ts'),
    import('./offline.ts'),
  ]);
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-bundle-'));
  try {
    const copy = snapshotOffline(path, join(directory, 'portcullis.db'));
    const { version: stored, traffic } = await loadOffline(copy.path);
    return { version: stored, traffic };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Copied while it is served or not: the copy is consistent either way, and checked. */
async function database({ settings }: BundleSource, directory: string): Promise<TarEntry> {
  const path = settings?.process.database.path ?? null;
  if (path === null) throw new Error('no [database] path is known: -c FILE says it');
  const { snapshotOffline } = await import('../store/backup.ts');
  const { path: copy, bytes } = snapshotOffline(path, join(directory, 'portcullis.db'));
  return { name: 'portcullis.db', content: { path: copy, bytes } };
}

/** Of every list in it at most so many; how many were left out is said in their place. */
function cutRows(value: unknown): object {
  return cut(value) as object;
}

function cut(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (!Array.isArray(value))
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, cut(each)]));
  const shown = value.slice(0, bundleLimits.rows).map(cut);
  return shown.length === value.length ? shown : [...shown, `${value.length - shown.length} more`];
}

function schemas(): Promise<typeof Schemas> {
  return import('../admin/gen/portcullis/v1/admin_pb.ts');
}

/** As the API's own JSON has it. */
function inApiForm<D extends DescMessage>(schema: D, message: MessageShape<D>): object {
  return apiJson(schema, message) as object;
}
