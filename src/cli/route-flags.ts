/** The flags that describe a route, and the fields of the API that they stand for. */

import type { Command } from 'commander';
import { backendProtocols, clientAuthModes, tlsVersions } from '../model/http-settings.ts';
import type { Route } from './client.ts';
import { choice, collect } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { CommandFailure } from './failure.ts';
import { parseHeader } from './header-flags.ts';

export interface RouteFieldFlags {
  readonly backend?: string;
  readonly mode?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly clientCa?: string;
  readonly clientAuth?: string;
  readonly tlsMinVersion?: string;
  readonly backendProtocol?: string;
  readonly backendTls?: boolean;
  readonly backendCa?: string;
  readonly backendServerName?: string;
  readonly backendInsecure?: boolean;
  readonly sendProxyProtocol?: boolean;
  readonly forwarded?: boolean;
  /** False: remove them all. */
  readonly policy?: readonly string[] | false;
  readonly setRequestHeader?: readonly string[];
  readonly addRequestHeader?: readonly string[];
  readonly removeRequestHeader?: readonly string[];
  readonly setResponseHeader?: readonly string[];
  readonly addResponseHeader?: readonly string[];
  readonly removeResponseHeader?: readonly string[];
  /** False: remove every rule. */
  readonly requestHeaders?: false;
  readonly responseHeaders?: false;
}

export type RouteFields = Partial<
  Omit<Route, '$typeName' | '$unknown' | 'requestHeaders' | 'responseHeaders'>
> & {
  requestHeaders?: HeaderRules;
  responseHeaders?: HeaderRules;
};

interface HeaderRules {
  remove: string[];
  set: HeaderField[];
  add: HeaderField[];
}
type HeaderField = ReturnType<typeof parseHeader>;

export function routeOptions(command: Command, isUpdate: boolean): void {
  const backend = ['--backend <address>', 'host:port, [v6]:port or unix:/path'] as const;
  command.requiredOption('--listener <listener>', 'the listener it is on');
  if (isUpdate) command.option(...backend);
  else command.requiredOption(...backend);
  command
    .addOption(choice('--mode <mode>', 'l4 relays TLS, which is the default; l7 ends it', ['l4', 'l7']))
    .option('--send-proxy-protocol', 'tell the backend who the client is, by PROXY protocol v2');
  tlsOptions(command);
  backendOptions(command);
  headerOptions(command);
  command.option('--policy <type=value>', 'a policy of the route; may be repeated', collect);
  if (!isUpdate) return;
  command
    .option('--no-backend-tls', 'speak plain text to the backend')
    .option('--no-backend-insecure', 'verify the certificate of the backend')
    .option('--no-send-proxy-protocol', 'begin without a PROXY header')
    .option('--no-forwarded', 'send no Forwarded header')
    .option('--no-request-headers', 'remove every rule for headers of requests, but for those given')
    .option('--no-response-headers', 'remove every rule for headers of responses, but for those given')
    .option('--no-policy', 'remove every policy');
}

function tlsOptions(command: Command): void {
  command
    .option('--tls-cert <file>', 'of an l7 route: the PEM chain it presents, on the server’s disk')
    .option('--tls-key <reference>', 'of an l7 route: where its key stands, a path or env:NAME')
    .option('--client-ca <file>', 'of an l7 route: what client certificates are verified by')
    .addOption(choice('--client-auth <mode>', 'whether clients show a certificate', clientAuthModes))
    .addOption(choice('--tls-min-version <version>', 'the least that is spoken to clients', tlsVersions));
}

function backendOptions(command: Command): void {
  command
    .addOption(
      choice('--backend-protocol <protocol>', 'of an l7 route: what its backend speaks', backendProtocols),
    )
    .option('--backend-tls', 'of an l7 route: speak TLS to the backend')
    .option('--backend-ca <file>', 'what the backend is verified by, not the system’s certificates')
    .option('--backend-server-name <name>', 'the name that is verified, not that of --backend')
    .option('--backend-insecure', 'take any certificate of the backend');
}

function headerOptions(command: Command): void {
  command.option('--forwarded', 'of an l7 route: also send Forwarded (RFC 7239)');
  for (const head of ['request', 'response']) {
    command
      .option(`--set-${head}-header <name: value>`, `of each ${head}; may be repeated`, collect)
      .option(`--add-${head}-header <name: value>`, `to what is there; may be repeated`, collect)
      .option(`--remove-${head}-header <name>`, `of each ${head}; may be repeated`, collect);
  }
}

/** The fields that flags name. Header rules are added to those of the present route, if there is one. */
export function givenFields(flags: RouteFieldFlags, present?: Route): RouteFields {
  const { backend, mode, tlsCert, tlsKey, clientCa, clientAuth, tlsMinVersion } = flags;
  const { backendProtocol, backendTls, backendCa, backendServerName, backendInsecure } = flags;
  const { sendProxyProtocol, forwarded, policy } = flags;
  const all = {
    ...{ backend, mode, tlsCert, tlsKey, clientCa, clientAuth, tlsMinVersion },
    ...{ backendProtocol, backendTls, backendCa, backendServerName, backendInsecure },
    ...{ sendProxyProtocol, forwarded },
    l7Policies: policy === false ? [] : policy?.map(parsePolicy),
    requestHeaders: headerRules(
      flags.requestHeaders === false ? undefined : present?.requestHeaders,
      flags.removeRequestHeader,
      flags.setRequestHeader,
      flags.addRequestHeader,
      flags.requestHeaders === false,
    ),
    responseHeaders: headerRules(
      flags.responseHeaders === false ? undefined : present?.responseHeaders,
      flags.removeResponseHeader,
      flags.setResponseHeader,
      flags.addResponseHeader,
      flags.responseHeaders === false,
    ),
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as RouteFields;
}

/** A route that becomes l4 has no use for the settings of l7, and the server would refuse them. */
export function keptFields(route: Route, mode: string | undefined): RouteFields {
  const { hostname, pathPrefix, backend, sendProxyProtocol, l7Policies } = route;
  if (mode === 'l4') return { hostname, pathPrefix, backend, sendProxyProtocol, l7Policies };
  const { $typeName: _, $unknown: __, requestHeaders, responseHeaders, ...fields } = route;
  return {
    ...fields,
    ...(requestHeaders === undefined ? {} : { requestHeaders }),
    ...(responseHeaders === undefined ? {} : { responseHeaders }),
  };
}

/** Undefined when nothing is said about them. What sets a header takes the place of what set it before. */
function headerRules(
  present: HeaderRules | undefined,
  remove: readonly string[] = [],
  setTexts: readonly string[] = [],
  addTexts: readonly string[] = [],
  isEmptied = false,
): HeaderRules | undefined {
  if (!isEmptied && remove.length + setTexts.length + addTexts.length === 0) return undefined;
  const set = setTexts.map(parseHeader);
  const names = new Set(set.map(({ name }) => name.toLowerCase()));
  return {
    remove: [...new Set([...(present?.remove ?? []), ...remove])],
    set: [...(present?.set ?? []).filter(({ name }) => !names.has(name)), ...set],
    add: [...(present?.add ?? []), ...addTexts.map(parseHeader)],
  };
}

function parsePolicy(text: string): { type: string; value: string } {
  const at = text.indexOf('=');
  if (at > 0) return { type: text.slice(0, at), value: text.slice(at + 1) };
  throw new CommandFailure(exitCodes.usage, `expected --policy TYPE=VALUE, found ${text}`);
}
