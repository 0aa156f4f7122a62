/** `portcullis explain`: which rules a connection would meet, in order, and what the verdict would be. */

import type { Command } from 'commander';
import { isReason, reasons } from '../core/reason.ts';
import { collect, declare } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { CommandFailure } from './failure.ts';
import { parseHeader } from './header-flags.ts';
import { parseHostPort } from './numbers.ts';
import { addServerOptions, openClient } from './server-address.ts';
import type { ServerFlags } from './server-address.ts';
import type { Shell } from './shell.ts';

interface Flags extends ServerFlags {
  readonly json?: true;
  readonly offline?: true;
  readonly from?: string;
  readonly alpn?: readonly string[];
  readonly listener?: string;
  readonly method?: string;
  readonly header?: readonly string[];
  readonly client?: string;
}

/** As the API's Explanation has it. */
export interface Explained {
  readonly listenerAddr: string;
  readonly steps: readonly { readonly ruleId: string; readonly outcome: string; readonly detail: string }[];
  readonly verdict: string;
  readonly reason: string;
  readonly ruleId: string;
  readonly backend: string;
  /** Empty but on egress listeners. */
  readonly target: string;
  readonly action: string;
}

export interface ExplainedQuery {
  readonly host: string;
  /** 0: whatever the port. */
  readonly port: number;
  readonly listenerAddr: string;
  readonly from: string;
  readonly alpn: string[];
  /** Empty: of the connection alone. */
  readonly path: string;
  readonly method: string;
  readonly headers: { name: string; value: string }[];
  readonly scheme: string;
  readonly client: string;
}

export function explainCommands(root: Command, shell: Shell): void {
  const explain = declare(root, {
    name: 'explain',
    arguments: [
      ['<target>', 'HOST[:PORT][/PATH] or a URL: the name a client would ask for; :443 for no name at all'],
    ],
    summary: 'Say which rules a connection or a request would meet, in order, and what the verdict would be.',
    details:
      'Nothing is connected, counted or changed. On an egress listener the target is what a client of the proxy asks ' +
      'for: https unless a URL says http, GET unless --method says otherwise.',
    examples: [
      'portcullis explain app.example.com --from 192.0.2.1 -c portcullis.toml',
      'portcullis explain app.example.com --offline -c portcullis.toml',
      'portcullis explain app.example.com/api --method POST -c portcullis.toml',
      'portcullis explain https://api.example.com/v1 --offline -c egress.toml',
    ],
  })
    .option('--from <address>', 'the address of the client; a stranger that no rule names when left out')
    .option('--alpn <protocol>', 'a protocol that the client offers, such as h2; may be repeated', collect)
    .option('--listener <listener>', 'on this listener only')
    .option('--method <method>', 'of the request, such as POST; any when left out')
    .option('--header <name: value>', 'a field of the request; may be repeated; any when left out', collect)
    .option('--client <name>', 'of egress: the client, by the name it has shown')
    .option('--offline', 'ask the file that -c names, not a server')
    .option('--json', 'an array of explanations');
  addServerOptions(explain).action(async (text: string, flags: Flags) => {
    const query = queryOf(text, flags);
    const explanations = await (flags.offline === true
      ? askFile(shell, query, flags)
      : askServer(shell, query, flags));
    if (flags.json === true) return shell.json(explanations);
    explanations.forEach((each, index) => {
      if (index > 0) shell.line();
      printExplanation(shell, text, flags, each);
    });
  });
}

function queryOf(text: string, flags: Flags): ExplainedQuery {
  const { from = '', alpn = [], listener = '', method = '', header = [] } = flags;
  const target = /^(?:(https?):\/\/)?([^/?#]*)([^#]*)/i.exec(text)!;
  const parsed = parseHostPort(target[2]!);
  if (parsed === undefined) {
    throw new CommandFailure(exitCodes.usage, `expected HOST[:PORT][/PATH], :PORT or a URL, found ${text}`);
  }
  const path = target[3]!.startsWith('?') ? `/${target[3]}` : target[3]!;
  const port = parsed.port ?? portOf(target[1], listener);
  return {
    host: parsed.host,
    port,
    listenerAddr: listener,
    from,
    alpn: [...alpn],
    path: path === '' && target[1] !== undefined ? '/' : path,
    method,
    headers: header.map(parseHeader),
    scheme: target[1]?.toLowerCase() ?? '',
    client: flags.client ?? '',
  };
}

/** A URL without a port means that of its scheme, unless a listener is named. 0: whatever the port. */
function portOf(scheme: string | undefined, listener: string): number {
  if (scheme === undefined || listener !== '') return 0;
  return scheme.toLowerCase() === 'https' ? 443 : 80;
}

async function askServer(shell: Shell, query: ExplainedQuery, flags: Flags): Promise<Explained[]> {
  using client = await openClient(shell, flags);
  const { explanations } = await client.explain(query);
  return explanations.map((each) => {
    const { listenerAddr, verdict, reason, ruleId, backend, target, action } = each;
    const steps = each.steps.map(({ ruleId, outcome, detail }) => ({ ruleId, outcome, detail }));
    return { listenerAddr, steps, verdict, reason, ruleId, backend, target, action };
  });
}

async function askFile(shell: Shell, query: ExplainedQuery, flags: Flags): Promise<Explained[]> {
  if (flags.config === undefined) {
    throw new CommandFailure(exitCodes.usage, '--offline needs -c FILE, the configuration to ask');
  }
  const { explainOffline } = await import('./explain-offline.ts');
  return explainOffline(shell, flags.config, query);
}

function printExplanation(shell: Shell, asked: string, { from }: Flags, explained: Explained): void {
  const { listenerAddr, steps, target } = explained;
  shell.line(`${target || asked}${from === undefined ? '' : ` from ${from}`} on listener ${listenerAddr}`);
  const rows = steps.map(({ outcome, ruleId, detail }) => [outcome, ruleId, detail]);
  if (rows.length > 0) shell.table([{ title: 'OUTCOME' }, { title: 'RULE' }, { title: 'DETAIL' }], rows, '');
  shell.line(`verdict: ${verdictOf(explained)}`);
}

function verdictOf({ verdict, reason, ruleId, backend, action }: Explained): string {
  const by = `${ruleId === '' ? '' : ` by ${ruleId}`}${action === '' ? '' : `, ${action}`}`;
  if (verdict === 'route') return `routed to ${backend}${by}`;
  const meaning = isReason(reason) ? `: ${reasons[reason].meaning}` : '';
  return `refused${by}, ${reason}${meaning}`;
}
