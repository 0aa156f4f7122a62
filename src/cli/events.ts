/** `portcullis events` follows what happens, `portcullis audit` tells what was changed. */

import type { Timestamp } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import type { AuditEntry, ChangeEvent, ConnectionEvent, WatchEventsResponse } from './client.ts';
import { declare } from './command.ts';
import { formatTime, protoMs } from './display.ts';
import { wholeNumber } from './numbers.ts';
import { addServerOptions, withServer } from './server-address.ts';
import type { ServerFlags } from './server-address.ts';
import type { Shell } from './shell.ts';

interface EventFlags extends ServerFlags {
  readonly json?: true;
  readonly connections?: true;
  readonly changes?: true;
}

interface AuditFlags extends ServerFlags {
  readonly json?: true;
  readonly limit?: number;
}

export function eventCommands(root: Command, shell: Shell): void {
  const events = declare(root, {
    name: 'events',
    summary: 'Follow verdicts on connections and changes of the configuration until Ctrl-C.',
    examples: ['portcullis events --changes -c portcullis.toml'],
  })
    .option('--connections', 'verdicts on connections only')
    .option('--changes', 'changes only')
    .option('--json', 'a JSON object on each line');
  addServerOptions(events).action(
    withServer<EventFlags>(shell, async (client, flags) => {
      const ending = new AbortController();
      const end = (): void => ending.abort();
      process.once('SIGINT', end).once('SIGTERM', end);
      const filter = { connections: flags.connections === true, changes: flags.changes === true };
      try {
        const print =
          flags.json === true
            ? await jsonPrinter(shell)
            : (event: WatchEventsResponse): void => shell.lines(formatEvent(event));
        for await (const event of client.watchEvents(filter, { signal: ending.signal })) print(event);
        shell.note('the server ended');
      } catch (error) {
        if (!ending.signal.aborted) throw error;
      }
    }),
  );

  const audit = declare(root, {
    name: 'audit',
    summary: 'Say who changed what and when, the newest first.',
    examples: ['portcullis audit --limit 20 -c portcullis.toml'],
  })
    .option('-n, --limit <count>', 'so many changes, at most 1000; 100 unless told otherwise', wholeNumber)
    .option('--json', 'an array of entries');
  addServerOptions(audit).action(
    withServer<AuditFlags>(shell, async (client, { limit, json }) => {
      const { entries } = await client.listAuditLog({ limit: limit ?? 0 });
      if (json === true) return printAuditJson(shell, entries);
      if (entries.length === 0) shell.note('no changes yet');
      for (const entry of entries) shell.lines(formatChange(entry));
    }),
  );
}

/** A line, and for a change one for each difference below it. */
export function formatEvent({ event }: WatchEventsResponse): string[] {
  switch (event.case) {
    case 'connection':
      return [formatConnection(event.value)];
    case 'change':
      return formatChange(event.value);
    case 'missed':
      return [`missed ${event.value.count} events: this terminal was too slow`];
    case undefined:
      return [];
  }
}

function formatConnection(event: ConnectionEvent): string {
  const { at, client, listenerAddr, sni, backend, verdict, reason, ruleId, bytesIn, bytesOut, duration } =
    event;
  return [
    timeOf(at),
    verdict,
    reason,
    `${client} → ${listenerAddr}`,
    ...(sni === '' ? [] : [sni]),
    ...(backend === '' ? [] : [`→ ${backend}`]),
    ...(ruleId === '' ? [] : [`by ${ruleId}`]),
    ...(backend === '' ? [] : [`in=${bytesIn} out=${bytesOut}`]),
    `${duration === undefined ? 0 : Math.round(protoMs(duration))}ms`,
  ].join(' ');
}

/** Of one change, this many lines are shown: applying a file may be a hundred thousand. `--json` has them all. */
const changeLinesMax = 20;

function formatChange({ at, version, actor, action, changes }: ChangeEvent | AuditEntry): string[] {
  const shown = changes.slice(0, changes.length > changeLinesMax ? changeLinesMax - 1 : changeLinesMax);
  const left = changes.length - shown.length;
  return [
    `${timeOf(at)} version ${version}: ${action} by ${actor}`,
    ...shown.map((change) => `  ${change}`),
    ...(left === 0 ? [] : [`  … and ${left} more; --json shows them all`]),
  ];
}

function timeOf(at: Timestamp | undefined): string {
  return formatTime(at === undefined ? new Date(0) : new Date(protoMs(at)));
}

async function jsonPrinter(shell: Shell): Promise<(event: WatchEventsResponse) => void> {
  const [{ apiJson }, { WatchEventsResponseSchema }] = await Promise.all([
    import('./api-json.ts'),
    import('../admin/gen/portcullis/v1/admin_pb.ts'),
  ]);
  return (event) => shell.jsonLine(apiJson(WatchEventsResponseSchema, event));
}

async function printAuditJson(shell: Shell, entries: readonly AuditEntry[]): Promise<void> {
  const [{ apiJson }, { AuditEntrySchema }] = await Promise.all([
    import('./api-json.ts'),
    import('../admin/gen/portcullis/v1/admin_pb.ts'),
  ]);
  shell.json(entries.map((entry) => apiJson(AuditEntrySchema, entry)));
}
