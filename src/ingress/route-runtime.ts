/**
 * What a worker makes of a route once, at its first request: where its requests go. Hangs on the route's object,
 * so that it goes when the route goes, and a change of another route leaves it alone.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { HostBytes } from '../core/bytes.ts';
import type { Connection } from '../gate/connection.ts';
import { BackendDialer } from '../http/backend-dialer.ts';
import type { UpstreamTarget } from '../http/upstream-target.ts';
import type { BackendProtocol, BackendTlsSettings } from '../model/http-settings.ts';
import type { EndpointAddress } from '../model/settings.ts';
import type { Route } from '../model/snapshot.ts';
import type { Network } from '../net/network.ts';
import type { UpstreamTls } from '../net/tls.ts';
import { proxyHeader } from './proxy-header.ts';

export class RouteRuntimes {
  readonly #network: Network;
  #targets = new WeakMap<Route, UpstreamTarget>();
  readonly #prefaces = new WeakMap<Connection, HostBytes>();

  constructor(network: Network) {
    this.#network = network;
  }

  /** Files that targets were made from are read again when next needed. */
  reload(): void {
    this.#targets = new WeakMap();
  }

  /** Where a request of `connection` goes, or in one sentence why that can not be said. */
  target(route: Route, connection: Connection): UpstreamTarget | string {
    let target = this.#targets.get(route);
    if (target === undefined) {
      try {
        target = makeTarget(this.#network, route);
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
      this.#targets.set(route, target);
    }
    return route.sendProxyProtocol ? this.#spokenFor(target, connection) : target;
  }

  /** The same target for one client alone: its connections begin by naming that client, and end with it. */
  #spokenFor(target: UpstreamTarget, connection: Connection): UpstreamTarget {
    let preface = this.#prefaces.get(connection);
    if (preface === undefined) {
      preface = proxyHeader(connection);
      this.#prefaces.set(connection, preface);
    }
    return { ...target, preface, owner: connection };
  }
}

function makeTarget(network: Network, route: Route): UpstreamTarget {
  const { backend, backendName, backendProtocol, backendTls } = route;
  const tls = backendTls === null ? null : makeTls(backend, backendProtocol, backendTls);
  const protocol = spoken(backendProtocol, tls !== null);
  return {
    key: JSON.stringify([backendName, protocol, tls === null ? null : tlsKey(tls)]),
    name: backendName,
    protocol,
    tls,
    dialer: new BackendDialer(network, backend),
    preface: null,
    owner: null,
  };
}

function spoken(protocol: BackendProtocol, isTls: boolean): UpstreamTarget['protocol'] {
  if (protocol === 'http1') return 'http1';
  if (protocol === 'h2c') return 'h2';
  return isTls ? 'alpn' : 'client';
}

function makeTls(
  backend: EndpointAddress,
  protocol: BackendProtocol,
  { ca, serverName, insecure }: BackendTlsSettings,
): UpstreamTls {
  const alpn = { http1: ['http/1.1'], h2c: ['h2'], auto: ['h2', 'http/1.1'] }[protocol];
  return {
    serverName: serverName ?? (backend.kind === 'tcp' ? backend.host : 'localhost'),
    // Once for each route and worker, at its first request.
    ca: ca === null ? null : readFileSync(ca, 'utf8'),
    crl: null,
    insecure,
    alpn,
    clientCert: null,
  };
}

function tlsKey({ serverName, ca, insecure, alpn }: UpstreamTls): unknown[] {
  const roots = ca === null ? null : createHash('sha256').update(ca).digest('hex');
  return [serverName, roots, insecure, alpn];
}
