/**
 * What an operator configures for egress: plain data, parsed and checked (see settings.ts). The same whether it came
 * from the project's own form or from the YAML form with `proxy`, `rewrites` and `acl`.
 */
import type { SecretReference } from './settings.ts';

/** What was decided about a request or a tunnel, as logs and metrics name it. */
export const egressActions = [
  'REWRITTEN',
  'WHITE-LISTED',
  'BLACK-LISTED',
  'ALLOWED-BY-DEFAULT',
  'BLOCKED',
  'PASSTHROUGH',
] as const;
export type EgressAction = (typeof egressActions)[number];

export const defaultPolicies = ['ALLOW', 'BLOCK'] as const;
export type DefaultPolicy = (typeof defaultPolicies)[number];

/** `report`: what the rule would have done is logged, and nothing else comes of it. */
export const ruleModes = ['enforce', 'report'] as const;
export type RuleMode = (typeof ruleModes)[number];

export const aclLists = ['whitelist', 'blacklist', 'passthrough'] as const;
export type AclList = (typeof aclLists)[number];

/** Entries of each list, and rewrites. */
export const aclEntriesMax = 100_000;
export const rewritesMax = 100_000;

/** One entry of a list. */
export interface AclRuleSettings {
  /** `example.com`, `*.example.com`, `~regex` or an address: canonical by target-pattern.ts. */
  readonly pattern: string;
  readonly mode: RuleMode;
  /** Upper case; empty: every method. Not on passthrough, which sees none. */
  readonly methods: readonly string[];
  /** A regular expression that the path with its query must match; null: every path. Not on passthrough. */
  readonly pathPattern: string | null;
  /** Names of clients; empty: everybody. */
  readonly clients: readonly string[];
  /** CONNECT is allowed to these beside the listener's ports. */
  readonly ports: readonly number[];
  /** The target may be in RFC 1918, unique-local and shared (CGNAT) space; never loopback, link-local, ours. */
  readonly allowPrivate: boolean;
  /** The tunnel need not begin with a ClientHello that names its target. Passthrough only. */
  readonly allowRaw: boolean;
}

/** Where requests for a host really go. The first that matches, in file order, decides. */
export interface RewriteSettings {
  readonly pattern: string;
  readonly mode: RuleMode;
  readonly clients: readonly string[];
  readonly ports: readonly number[];
  readonly pathPattern: string | null;
  /** Canonical address to dial; at most one of the two is set. Both null: the host itself. */
  readonly targetIp: string | null;
  readonly targetHost: string | null;
  /** Null: the port that was asked for, or that of `targetScheme` when it changes the scheme. */
  readonly targetPort: number | null;
  readonly targetScheme: 'http' | 'https' | null;
  /** Set in place of what the client sent. Names lower case; `host` sets the authority. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly dropHeaders: readonly string[];
  /** Do not verify the upstream's certificate. */
  readonly insecure: boolean;
}

/** Sets a header whose value is a secret. Never logged, never sent over plain HTTP. */
export interface CredentialSettings {
  readonly pattern: string;
  readonly pathPattern: string | null;
  readonly clients: readonly string[];
  readonly header: string;
  /** Before the secret: `Bearer `. */
  readonly prefix: string;
  readonly secret: SecretReference;
}

/** Somebody who may use the proxy from anywhere, once he has shown who he is. */
export interface EgressClientSettings {
  readonly name: string;
  /** `scrypt$N$r$p$salt$hash`, or where the password stands; null: not by password. */
  readonly password: string | null;
  readonly secret: SecretReference | null;
  /** RFC 2253 subject of a client certificate; null: not by certificate. */
  readonly subject: string | null;
}

export interface ParentProxySettings {
  /** Patterns of the hosts that go through it; the first parent that matches is taken. */
  readonly patterns: readonly string[];
  readonly kind: 'http' | 'socks5';
  readonly host: string;
  readonly port: number;
  readonly username: string | null;
  readonly password: SecretReference | null;
  /** Send the name and let the parent resolve it: then nobody judges the address. */
  readonly trustDns: boolean;
}

/** Whose name the leaf certificates are signed in. Null on the settings: no MITM, HTTPS only by passthrough. */
export type AuthoritySettings =
  | { readonly kind: 'pem'; readonly cert: string; readonly key: SecretReference }
  | { readonly kind: 'keystore'; readonly path: string; readonly password: SecretReference | null };

/** How upstreams are verified. Absolute paths. */
export interface OutgoingTlsSettings {
  /** PEM in the place of the system's roots. */
  readonly caBundle: string | null;
  /** PEM beside them. */
  readonly ca: string | null;
  /** PKCS#12 beside them. */
  readonly truststore: string | null;
  readonly truststorePassword: SecretReference | null;
  readonly crl: string | null;
  readonly insecure: boolean;
}

export interface EgressSettings {
  readonly defaultPolicy: DefaultPolicy;
  /** `report`: no rule and no default refuses; what would have been refused is logged. The network guard stays. */
  readonly mode: RuleMode;
  readonly whitelist: readonly AclRuleSettings[];
  readonly blacklist: readonly AclRuleSettings[];
  readonly passthrough: readonly AclRuleSettings[];
  readonly rewrites: readonly RewriteSettings[];
  readonly credentials: readonly CredentialSettings[];
  readonly clients: readonly EgressClientSettings[];
  /** Canonical CIDRs from which nobody has to show who he is. */
  readonly allowedClients: readonly string[];
  /** CONNECT is allowed to these ports. */
  readonly connectPorts: readonly number[];
  /** Canonical CIDRs that nobody reaches but by an explicit rewrite. */
  readonly deniedNetworks: readonly string[];
  readonly parents: readonly ParentProxySettings[];
  /** Patterns of hosts that no parent is asked for. */
  readonly noProxy: readonly string[];
  readonly authority: AuthoritySettings | null;
  readonly outgoing: OutgoingTlsSettings;
  /** JSON lines of what was refused; null: none. */
  readonly blockedLog: string | null;
}

/** Loopback, RFC 1918, unique-local. */
export const allowedClientsDefault: readonly string[] = [
  '127.0.0.0/8',
  '::1/128',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  'fc00::/7',
];

export const egressDefaults: EgressSettings = {
  defaultPolicy: 'BLOCK',
  mode: 'enforce',
  whitelist: [],
  blacklist: [],
  passthrough: [],
  rewrites: [],
  credentials: [],
  clients: [],
  allowedClients: allowedClientsDefault,
  connectPorts: [443],
  deniedNetworks: [],
  parents: [],
  noProxy: [],
  authority: null,
  outgoing: {
    caBundle: null,
    ca: null,
    truststore: null,
    truststorePassword: null,
    crl: null,
    insecure: false,
  },
  blockedLog: null,
};

/** What an entry is beside its pattern when nobody says otherwise. */
export const aclRuleDefaults: Omit<AclRuleSettings, 'pattern'> = {
  mode: 'enforce',
  methods: [],
  pathPattern: null,
  clients: [],
  ports: [],
  allowPrivate: false,
  allowRaw: false,
};

export const rewriteDefaults: Omit<RewriteSettings, 'pattern'> = {
  mode: 'enforce',
  clients: [],
  ports: [],
  pathPattern: null,
  targetIp: null,
  targetHost: null,
  targetPort: null,
  targetScheme: null,
  headers: [],
  dropHeaders: [],
  insecure: false,
};
