/**
 * Egress as a worker runs it: settings and materials, compiled. Immutable but for its caches; a reload makes a new one,
 * and what is in flight keeps the one it began with.
 */
import { assert } from '../core/errors.ts';
import type { UpstreamTarget, Dialer } from '../http/upstream-target.ts';
import type { EgressSettings, ParentProxySettings } from '../model/egress-settings.ts';
import type { Network } from '../net/network.ts';
import type { UpstreamTls } from '../net/tls.ts';
import { Authenticator } from './authentication.ts';
import { CertificateAuthority } from './certificate-authority.ts';
import type { Verdict } from './decision.ts';
import { GuardedDialer } from './guarded-dialer.ts';
import { GenerationCache, HostRules } from './host-rules.ts';
import type { EgressMaterials } from './materials.ts';
import { NetworkGuard } from './network-guard.ts';
import { ParentDialer, type ParentProxy } from './parent-dialer.ts';
import { compilePolicy, type EgressPolicy } from './policy.ts';
import type { Destination } from './resolve-target.ts';
import { defaultPort, hostPort, type Target, type TargetScheme } from './target.ts';

/** Upstream identities kept at hand; twice as many at most. */
const targetsMax = 4096;
let generations = 0;

/** Where a verdict leads: decided once, and everything that makes one upstream connection differ from another. */
export interface Way {
  readonly scheme: TargetScheme;
  readonly destination: Destination;
  /** What the upstream is asked for and verified as: the host the client named, whatever is dialled. */
  readonly serverName: string;
  readonly insecure: boolean;
}

export class EgressRuntime {
  readonly settings: EgressSettings;
  readonly policy: EgressPolicy;
  readonly guard: NetworkGuard;
  readonly authority: CertificateAuthority | null;
  readonly authenticator: Authenticator;
  readonly #network: Network;
  readonly #materials: EgressMaterials;
  /** In the key of every upstream connection: those of other roots or secrets are never shared. */
  readonly #generation = ++generations;
  readonly #parents: HostRules<ParentProxy>;
  readonly #noProxy: HostRules<true>;
  readonly #targets = new GenerationCache<UpstreamTarget>(targetsMax);

  constructor(settings: EgressSettings, materials: EgressMaterials, network: Network) {
    this.settings = settings;
    this.policy = compilePolicy(settings);
    this.guard = new NetworkGuard(materials.own, settings.deniedNetworks);
    this.authority = materials.authority === null ? null : new CertificateAuthority(materials.authority);
    this.authenticator = new Authenticator(settings, materials.secrets);
    this.#network = network;
    this.#materials = materials;
    this.#noProxy = new HostRules(settings.noProxy.map((pattern) => [pattern, true]));
    this.#parents = new HostRules(
      settings.parents.flatMap((parent) => {
        const proxy = this.#parentOf(parent);
        return parent.patterns.map((pattern) => [pattern, proxy] as const);
      }),
    );
  }

  /** The value of a secret that the settings refer to. */
  secret(reference: string): string {
    const value = this.#materials.secrets.get(reference);
    assert(value !== undefined, 'a secret of the settings is loaded');
    return value;
  }

  /** Where the upstream connection of a request goes. The same object for the same identity, so that sessions resume. */
  upstream(target: Target, verdict: Verdict): UpstreamTarget {
    const way = wayOf(target, verdict, this.settings.outgoing.insecure);
    const { scheme, destination, serverName, insecure } = way;
    const { host, port, level } = destination;
    const key = `egress ${this.#generation} ${scheme} ${hostPort(host, port)} ${level} ${serverName} ${insecure}`;
    let upstream = this.#targets.get(key);
    if (upstream === undefined) {
      upstream = {
        key,
        name: hostPort(host, port),
        protocol: scheme === 'https' ? 'alpn' : 'http1',
        tls: scheme === 'https' ? this.#tls(way) : null,
        dialer: this.dialer(target.host, destination),
        preface: null,
        owner: null,
      };
      this.#targets.set(key, upstream);
    }
    return upstream;
  }

  /** `host` is the one that was asked for: parents are chosen by it, wherever a rewrite leads. */
  dialer(host: string, destination: Destination): Dialer {
    const [parent] = this.#noProxy.matching(host).length > 0 ? [] : this.#parents.matching(host);
    if (parent === undefined) return new GuardedDialer(this.#network, this.guard, destination);
    return new ParentDialer(this.#network, this.guard, destination, parent);
  }

  #tls({ serverName, insecure }: Way): UpstreamTls {
    return {
      serverName,
      ca: this.#materials.roots,
      crl: this.#materials.crl,
      insecure,
      alpn: ['h2', 'http/1.1'],
      clientCert: null,
    };
  }

  #parentOf({ kind, host, port, username, password, trustDns }: ParentProxySettings): ParentProxy {
    const secret = password === null ? '' : this.secret(password);
    return {
      kind,
      host,
      port,
      trustDns,
      credentials: username === null ? null : { username, password: secret },
    };
  }
}

/** A rewrite that changes the scheme and names no port means the port of the new scheme. */
export function wayOf(target: Target, { rewrite, allowPrivate }: Verdict, isInsecure: boolean): Way {
  const written = rewrite?.settings;
  const scheme = written?.targetScheme ?? target.scheme;
  const port = written?.targetPort ?? (scheme === target.scheme ? target.port : defaultPort(scheme));
  const named = written?.targetIp ?? written?.targetHost ?? null;
  const level = named !== null ? 'rewrite' : allowPrivate ? 'private' : 'public';
  return {
    scheme,
    destination: { host: named ?? target.host, port, level },
    serverName: target.host,
    insecure: isInsecure || written?.insecure === true,
  };
}
