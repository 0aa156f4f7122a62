/** The settings of egress, in the project's own form: part of the table of schema.ts. */
import {
  aclEntriesMax,
  allowedClientsDefault,
  defaultPolicies,
  egressDefaults,
  rewritesMax,
  ruleModes,
} from '../model/egress-settings.ts';
import {
  clientName,
  headerPrefix,
  method,
  parentUrl,
  passwordHash,
  pathRegex,
  targetPattern,
} from './egress-kinds.ts';
import {
  boolean,
  cidr,
  filePath,
  headerName,
  headerValue,
  hostName,
  integer,
  ipAddress,
  line,
  oneOf,
  secret,
} from './kinds.ts';
import { entries, list, optional, optionalSection, required, rows, setting } from './schema-nodes.ts';

/** Conditions and changes of one rule. */
const conditionsMax = 256;
const headersMax = 64;
const clientsMax = 100_000;
const parentsMax = 1024;
const networksMax = 100_000;

const port = integer(1, 65_535);

const pattern = required(
  targetPattern(),
  'The host: `example.com`, `*.example.com` for every name below it, an address, or `~` and a regular expression, ' +
    'which may match anywhere in the host unless `^` and `$` tie it. Case does not matter.',
);
const mode = setting(
  oneOf(ruleModes),
  'enforce',
  '`report`: what the rule would have done is logged, and nothing else comes of it.',
);
const methods = list(method(), conditionsMax, 'Only requests with one of these methods. Left out: all.');
const pathPattern = optional(
  pathRegex(),
  'Only requests whose path and query this regular expression matches, anywhere unless `^` and `$` tie it. Case ' +
    'matters. Left out: all.',
);
const clients = list(
  clientName(),
  conditionsMax,
  'Only for these clients, by the names they have in `[[egress.clients]]`. Left out: for everybody.',
);
const ports = list(port, conditionsMax, 'CONNECT is allowed to these ports too, beside `connect_ports`.');
const allowPrivate = setting(
  boolean(),
  false,
  'The host may have an address in RFC 1918, unique-local or shared (CGNAT) space; never a loopback, link-local or ' +
    'metadata address, nor one of our own.',
);

const whitelist = rows(
  0,
  aclEntriesMax,
  'What is allowed. An entry is a table, or its pattern alone.',
  {
    pattern,
    mode,
    methods,
    path_pattern: pathPattern,
    clients,
    ports,
    allow_private: allowPrivate,
  },
  'pattern',
);

const blacklist = rows(
  0,
  aclEntriesMax,
  'What is refused, whatever else allows it. An entry is a table, or its pattern alone.',
  { pattern, mode, methods, path_pattern: pathPattern, clients },
  'pattern',
);

const passthrough = rows(
  0,
  aclEntriesMax,
  'What is allowed and never decrypted. An entry is a table, or its pattern alone.',
  {
    pattern,
    mode,
    clients,
    ports,
    allow_private: allowPrivate,
    allow_raw: setting(
      boolean(),
      false,
      'The tunnel may carry anything. Otherwise it must begin with a TLS ClientHello that names the host.',
    ),
  },
  'pattern',
);

const rewrites = rows(
  0,
  rewritesMax,
  'Where requests for a host really go. The first that matches, in the order of the file, decides.',
  {
    pattern,
    target_ip: optional(
      ipAddress(),
      'The address that is dialled, in whatever network. At most one of this and `target_host`.',
    ),
    target_host: optional(hostName(), 'The host that is resolved and dialled, in whatever network.'),
    target_port: optional(
      port,
      'Left out: the port that was asked for, or that of `target_scheme` when it is another scheme.',
    ),
    target_scheme: optional(oneOf(['http', 'https']), 'Left out: as it was asked for.'),
    path_pattern: pathPattern,
    headers: entries(
      headerName(),
      headerValue(),
      headersMax,
      false,
      'Headers with their values; each takes the place of what the client sent. `host` is the authority.',
    ),
    drop_headers: list(headerName(), headersMax, 'Names of headers that are taken out.'),
    insecure: setting(boolean(), false, 'Take any certificate of the upstream, from anybody.'),
    mode,
    clients,
    ports,
  },
);

const credentials = rows(
  0,
  rewritesMax,
  'Headers whose values are secrets, set on requests that go out by HTTPS; never logged, never sent in clear.',
  {
    pattern,
    path_pattern: pathPattern,
    clients,
    header: setting(headerName(), 'authorization', 'The header that is set.'),
    prefix: setting(headerPrefix(), '', 'What stands before the secret: `"Bearer "`.'),
    secret: required(secret(), 'Where the secret stands; it is one line.'),
  },
);

const people = rows(
  0,
  clientsMax,
  'Who may use the proxy from anywhere, once he has shown who he is, and by which name rules know him.',
  {
    name: required(clientName(), 'The name of the client, and the user of Basic authentication.'),
    password: optional(
      passwordHash(),
      'The hash of a password: `scrypt$N$r$p$salt$hash`, salt and hash in base64url, N·r at most 524288.',
    ),
    secret: optional(secret(), 'Where the password itself stands.'),
    subject: optional(
      line(1024),
      "The subject of the client's certificate, as RFC 2253 writes it: `CN=agent,O=Example`. Needs a listener with " +
        '`client_auth`.',
    ),
  },
);

const parents = rows(
  0,
  parentsMax,
  'Other proxies that requests go through. The first that matches the host is taken.',
  {
    patterns: list(targetPattern(), aclEntriesMax, 'The hosts, as in the lists. At least one.'),
    url: required(
      parentUrl(),
      '`http://user@host:port` or `socks5://host:port`. The password is not written here.',
    ),
    password: optional(secret(), 'Where the password of the user stands.'),
    trust_dns: setting(
      boolean(),
      false,
      'Send the name and let the parent resolve it: then nobody judges its addresses.',
    ),
  },
);

export const egress = optionalSection(
  'What every listener with `kind = "egress"` goes by. The order of decision: `blacklist`, `passthrough`, `rewrites`, ' +
    '`whitelist`, `default_policy`. Read again on SIGHUP.',
  {
    default_policy: setting(
      oneOf(defaultPolicies),
      egressDefaults.defaultPolicy,
      'What becomes of hosts that no rule names.',
    ),
    mode: setting(
      oneOf(ruleModes),
      egressDefaults.mode,
      '`report`: nothing is refused, what would have been refused is logged. The guard of networks stays.',
    ),
    mitm_cert: optional(
      filePath(),
      'The CA that signs certificates for hosts, in PEM, what leads to its root after it. Without a CA HTTPS goes ' +
        'only to hosts of `passthrough`.',
    ),
    mitm_key: optional(secret(), 'The private key of `mitm_cert`, in PEM. No other user may read its file.'),
    mitm_keystore: optional(
      filePath(),
      'Both in a PKCS#12 file, in the place of `mitm_cert` and `mitm_key`.',
    ),
    mitm_keystore_password: optional(secret(), 'Where the password of `mitm_keystore` stands.'),
    outgoing_ca_bundle: optional(
      filePath(),
      "Certificates in PEM that upstreams are verified by, in the place of the system's.",
    ),
    outgoing_ca: optional(filePath(), 'Certificates in PEM beside them.'),
    outgoing_truststore: optional(filePath(), 'Certificates in a PKCS#12 file beside them.'),
    outgoing_truststore_password: optional(secret(), 'Where the password of `outgoing_truststore` stands.'),
    outgoing_crl: optional(filePath(), 'Revocation lists in PEM that upstreams are held against.'),
    insecure_skip_verify: setting(boolean(), false, 'Take any certificate of any upstream.'),
    blocked_log: optional(
      filePath(),
      'The file that a JSON line is appended to for each request that was refused.',
    ),
    allowed_clients: list(
      cidr(),
      networksMax,
      'The networks whose clients need not show who they are. All others are refused without.',
      allowedClientsDefault,
    ),
    connect_ports: list(
      port,
      conditionsMax,
      'CONNECT is allowed to these ports.',
      egressDefaults.connectPorts,
    ),
    denied_networks: list(cidr(), networksMax, 'Networks that nobody reaches but by an explicit rewrite.'),
    no_proxy: list(targetPattern(), aclEntriesMax, 'Hosts that no parent is asked for.'),
    whitelist,
    blacklist,
    passthrough,
    rewrites,
    credentials,
    clients: people,
    parents,
  },
);
