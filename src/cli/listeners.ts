/** `portcullis listeners`: the addresses that accept connections. */

import type { Command } from 'commander';
import { clientAuthModes, listenerProtocols } from '../model/http-settings.ts';
import { listenerKinds } from '../model/settings.ts';
import type { Listener, ListenerStatus } from './client.ts';
import { choice, collect, declare, declareGroup } from './command.ts';
import { wholeNumber } from './numbers.ts';
import { addServerOptions, withServer } from './server-address.ts';
import type { ServerFlags } from './server-address.ts';
import type { Shell } from './shell.ts';

interface Flags extends ServerFlags {
  readonly json?: true;
  readonly kind?: string;
  readonly proxyProtocol?: true;
  readonly proxyProtocolFrom?: string[];
  readonly maxConnections?: number;
  readonly protocol?: string;
  readonly redirectHttps?: true;
  readonly trustedProxy?: string[];
  readonly defaultBackend?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly clientCa?: string;
  readonly clientAuth?: string;
}

const listenerArgument = ['<listener>', 'as listed, such as :8443'] as const;

export function listenerCommands(root: Command, shell: Shell): void {
  const group = declareGroup(root, 'listeners', 'The addresses that accept connections.');

  const list = declare(group, {
    name: 'list',
    summary: 'List the listeners and what they are doing.',
    examples: ['portcullis listeners list -c portcullis.toml'],
  }).option('--json', 'an array of listeners, each with its status');
  addServerOptions(list).action(
    withServer<Flags>(shell, async (client, { json }) => {
      const [{ listeners }, status] = await Promise.all([client.listListeners({}), client.getStatus({})]);
      const states = new Map(status.listeners.map((each) => [each.addr, each]));
      if (json === true) return printJson(shell, listeners, states);
      shell.table(
        columns,
        listeners.map((each) => row(each, states.get(each.addr))),
        'no listeners',
      );
    }),
  );

  const add = declare(group, {
    name: 'add',
    arguments: [
      ['<listener>', 'the address to bind, which is also its name: :8443, 127.0.0.1:8443, [::1]:8443'],
    ],
    summary: 'Bind an address, such as :8443, in every worker.',
    examples: [
      'portcullis listeners add :8443 --max-connections 10000 -c portcullis.toml',
      'portcullis listeners add :8080 --protocol http -c portcullis.toml',
    ],
  })
    .addOption(choice('--kind <kind>', 'what it does with connections', listenerKinds).default('ingress'))
    .addOption(choice('--protocol <protocol>', 'what clients speak; tls when left out', listenerProtocols))
    .option('--redirect-https', 'answer plain HTTP with a redirect to https')
    .option('--trusted-proxy <cidr>', 'whose X-Forwarded fields are believed; may be repeated', collect)
    .option('--proxy-protocol', 'every connection must begin with a PROXY protocol header')
    .option('--proxy-protocol-from <cidr>', 'a network whose peers may send one; may be repeated', collect)
    .option('--max-connections <count>', 'served at once; 0 is no limit', wholeNumber)
    .option('--default-backend <address>', 'takes what no route matches')
    .option('--tls-cert <file>', 'of egress: certificate of the proxy itself, PEM')
    .option('--tls-key <reference>', 'of egress: its private key, a file or env:NAME')
    .option('--client-ca <file>', 'of egress: what certificates of clients must chain to')
    .addOption(choice('--client-auth <mode>', 'of egress: whether clients show one', clientAuthModes))
    .option('--json', 'the answer of AddListener');
  addServerOptions(add).action(
    withServer<Flags, [string]>(shell, async (client, flags, addr) => {
      const { version } = await client.addListener({ listener: { addr, ...fields(flags) } });
      shell.changed(flags, version, `added listener ${addr}`);
    }),
  );

  const setMax = declare(group, {
    name: 'set-max-connections',
    arguments: [listenerArgument, ['<count>', 'connections; 0 is no limit', wholeNumber]],
    summary: 'Limit the connections served at once; 0 is no limit. Open ones beyond it go on.',
    examples: ['portcullis listeners set-max-connections :8443 5000 -c portcullis.toml'],
  }).option('--json', 'the answer of SetListenerMaxConnections');
  addServerOptions(setMax).action(
    withServer<Flags, [string, number]>(shell, async (client, flags, listenerAddr, maxConnections) => {
      const { version } = await client.setListenerMaxConnections({ listenerAddr, maxConnections });
      const limit = maxConnections === 0 ? 'any number of' : `at most ${maxConnections}`;
      shell.changed(flags, version, `listener ${listenerAddr} serves ${limit} connections`);
    }),
  );

  const remove = declare(group, {
    name: 'remove',
    arguments: [listenerArgument],
    summary: 'Stop accepting, and remove the listener with its routes. Open connections go on.',
    examples: ['portcullis listeners remove :8443 -c portcullis.toml'],
  }).option('--json', 'the answer of RemoveListener');
  addServerOptions(remove).action(
    withServer<Flags, [string]>(shell, async (client, flags, listenerAddr) => {
      const { version } = await client.removeListener({ listenerAddr });
      shell.changed(flags, version, `removed listener ${listenerAddr}`);
    }),
  );
}

function fields(flags: Flags): object {
  const { kind, proxyProtocol, proxyProtocolFrom, maxConnections, defaultBackend } = flags;
  return {
    protocol: flags.protocol ?? '',
    redirectHttps: flags.redirectHttps === true,
    trustedProxies: flags.trustedProxy ?? [],
    kind: kind ?? '',
    proxyProtocol: proxyProtocol === true,
    proxyProtocolFrom: proxyProtocolFrom ?? [],
    maxConnections: maxConnections ?? 0,
    defaultBackend: defaultBackend ?? '',
    tlsCert: flags.tlsCert ?? '',
    tlsKey: flags.tlsKey ?? '',
    clientCa: flags.clientCa ?? '',
    clientAuth: flags.clientAuth ?? '',
  };
}

const columns = [
  { title: 'LISTENER' },
  { title: 'KIND', isOptional: true },
  { title: 'PROTOCOL', isOptional: true },
  { title: 'ROUTES', align: 'right' },
  { title: 'ACTIVE', align: 'right' },
  { title: 'MAX', align: 'right', isOptional: true },
  { title: 'ACCEPTED', align: 'right' },
  { title: 'REFUSED', align: 'right' },
  { title: 'DEFAULT', isOptional: true },
  { title: 'PROXY FROM', isOptional: true },
] as const;

function row(listener: Listener, status: ListenerStatus | undefined): string[] {
  const { addr, maxConnections, defaultBackend, proxyProtocol, proxyProtocolFrom } = listener;
  const count = (value: bigint | number | undefined): string => String(value ?? 0);
  return [
    addr.endsWith(':0') && status !== undefined ? `${addr} (${status.boundPort})` : addr,
    listener.kind === 'ingress' ? '' : listener.kind,
    listener.kind === 'egress' || listener.protocol === 'tls'
      ? ''
      : `${listener.protocol}${listener.redirectHttps ? ', redirected' : ''}`,
    count(status?.routeCount),
    count(status?.activeConnections),
    maxConnections === 0 ? '' : count(maxConnections),
    count(status?.accepted),
    count(status?.refused),
    defaultBackend,
    proxyProtocol ? proxyProtocolFrom.join(', ') || 'anyone' : '',
  ];
}

async function printJson(
  shell: Shell,
  listeners: readonly Listener[],
  states: ReadonlyMap<string, ListenerStatus>,
): Promise<void> {
  const [{ apiJson }, { ListenerSchema, ListenerStatusSchema }] = await Promise.all([
    import('./api-json.ts'),
    import('../admin/gen/portcullis/v1/admin_pb.ts'),
  ]);
  const values = listeners.map((listener) => {
    const { routes: _, ...row } = apiJson(ListenerSchema, listener) as Record<string, unknown>;
    const status = states.get(listener.addr);
    return { ...row, status: status === undefined ? null : apiJson(ListenerStatusSchema, status) };
  });
  shell.json(values);
}
