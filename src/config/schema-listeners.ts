/** The settings of listeners, their routes and policies: part of the table of schema.ts. */
import { backendProtocols, clientAuthModes, listenerProtocols, tlsVersions } from '../model/http-settings.ts';
import { policyValueCharactersMax } from '../model/policy-value.ts';
import { listenerKinds, policiesPerRouteMax, policyTypes, routesPerListenerMax } from '../model/settings.ts';
import {
  boolean,
  cidr,
  endpoint,
  filePath,
  headerName,
  headerValue,
  hostName,
  hostPattern,
  integer,
  line,
  listenAddress,
  oneOf,
  pathPrefix,
  secret,
} from './kinds.ts';
import { entries, list, optional, required, rows, section, setting } from './schema-nodes.ts';
import type { Entries, List, Section } from './schema-nodes.ts';

/** Connections served at once, of one listener or of all. */
export const connectionsMax = 10_000_000;

/** Of one kind: to set, to add, to remove. */
const headersMax = 64;

const policies = rows(
  0,
  policiesPerRouteMax,
  'What a route of mode `l7` refuses, judged in order. (`type`, `value`) is unique on its route.',
  {
    type: required(
      oneOf(policyTypes),
      'What is refused: `block_user_agent` a User-Agent that contains `value` (403), `require_header` a request ' +
        'without that header (403), `allow_methods` a method that is not listed (405), `max_body` a larger body ' +
        '(413), `rate_limit` more requests than that (429).',
    ),
    value: required(
      line(policyValueCharactersMax),
      'By type: `BadBot`, case and all; `x-api-key`; `GET,HEAD`; `10MiB`; `100/1m` for each client address, or ' +
        '`100/1m by x-api-key` for each value of a header.',
    ),
  },
);

const routes = rows(
  0,
  routesPerListenerMax,
  'Which backend serves which hostname and path. An exact hostname beats the longest wildcard, then the longest ' +
    '`path_prefix` wins.',
  {
    hostname: required(
      hostPattern(),
      'The name a client asks for in its TLS ClientHello (SNI) and in Host, or `*.` and a name for every name below ' +
        'it. Case does not matter; other scripts than Latin are converted to their `xn--` form.',
    ),
    path_prefix: optional(
      pathPrefix(),
      'On a route of mode `l7`: only paths at or below it. `/api` takes `/api` and `/api/x`, not `/apix`; case ' +
        'matters, and a path is read without its dot segments, doubled slashes and needless `%XX`. Left out: every path.',
    ),
    mode: setting(
      oneOf(['l4', 'l7']),
      'l4',
      '`l4` relays bytes without ending TLS. `l7` ends TLS, proxies HTTP and judges each request.',
    ),
    backend: required(
      endpoint(),
      'Where connections go: `host:port`, `[v6]:port`, or `unix:` and the path of a socket, at most 107 bytes.',
    ),
    send_proxy_protocol: setting(
      boolean(),
      false,
      'Begin each connection to the backend with a PROXY protocol v2 header that names the client.',
    ),
    tls_cert: optional(
      filePath(),
      'The certificate that a route of mode `l7` presents, in PEM, its chain after it. Required there unless the ' +
        'listener speaks `http`, refused on `l4`. Routes of one hostname agree in this and the next four settings.',
    ),
    tls_key: optional(secret(), 'The private key of `tls_cert`, in PEM, without a passphrase.'),
    client_ca: optional(
      filePath(),
      'Certificates in PEM that one of must have signed the certificate a client shows.',
    ),
    client_auth: setting(
      oneOf(clientAuthModes),
      'none',
      '`request` asks clients for a certificate and serves those without one too, `require` refuses them. Needs ' +
        '`client_ca`.',
    ),
    tls_min_version: setting(
      oneOf(tlsVersions),
      '1.2',
      'The least version of TLS that is spoken to clients.',
    ),
    backend_protocol: setting(
      oneOf(backendProtocols),
      'h2c',
      'What the backend of a route of mode `l7` speaks. `h2c` is HTTP/2, `http1` is HTTP/1.1, `auto` what ALPN ' +
        'chooses with `backend_tls` and otherwise what the client speaks.',
    ),
    backend_tls: setting(
      boolean(),
      false,
      'Speak TLS to the backend, whose certificate is verified. Only with mode `l7`.',
    ),
    backend_ca: optional(
      filePath(),
      "With `backend_tls`: certificates in PEM that the backend is verified by, in the place of the system's.",
    ),
    backend_server_name: optional(
      hostName(),
      'With `backend_tls`: the name that is asked for and verified. Left out: the host of `backend`.',
    ),
    backend_insecure: setting(boolean(), false, 'With `backend_tls`: take any certificate, from anybody.'),
    forwarded: setting(
      boolean(),
      false,
      'Also send the header Forwarded (RFC 7239), beside X-Forwarded-For, -Proto and -Host. Only with mode `l7`.',
    ),
    request_headers: headerRules(
      'Changes to each request before it goes to the backend. Only with mode `l7`.',
    ),
    response_headers: headerRules(
      'Changes to each response before it goes to the client. Only with mode `l7`.',
    ),
    policies,
  },
);

export const listeners = rows(1, 1024, 'The addresses that accept connections. At least one.', {
  addr: required(
    listenAddress(),
    '`:443` is every address, IPv4 and IPv6. Port 0 takes a free port. The address is also the name of the listener.',
  ),
  kind: setting(
    oneOf(listenerKinds),
    'ingress',
    '`ingress` serves `routes` to those outside. `egress` is the proxy through which those inside go out, by HTTP ' +
      'and SOCKS5, as `[egress]` says.',
  ),
  protocol: setting(
    oneOf(listenerProtocols),
    'tls',
    'On `ingress`: what clients speak. `http` is HTTP/1.1, or HTTP/2 by its preface, without TLS; `auto` takes both and tells them ' +
      'apart by the first byte.',
  ),
  redirect_https: setting(
    boolean(),
    false,
    'Answer every request that came without TLS with a redirect to https. Needs `protocol` `http` or `auto`.',
  ),
  trusted_proxies: list(
    cidr(),
    4096,
    'The peers whose X-Forwarded-For, -Proto and -Host are believed and added to. From others they are replaced.',
  ),
  proxy_protocol: setting(
    boolean(),
    false,
    'Every connection must begin with a PROXY protocol header, v1 or v2. When false none is ever read.',
  ),
  proxy_protocol_from: list(
    cidr(),
    4096,
    'The peers that may send a PROXY header. Required with `proxy_protocol` unless `addr` is a loopback address.',
  ),
  max_connections: setting(
    integer(0, connectionsMax),
    0,
    'Connections served at once, over all workers. Further ones are closed right after accept. 0 is no limit.',
  ),
  default_backend: optional(
    endpoint(),
    'Serves connections that no route matches, and those that name no host. Without it they are refused.',
  ),
  tls_cert: optional(
    filePath(),
    'On `egress`: the certificate of the proxy itself, in PEM, for clients that speak to it by TLS; others are served ' +
      'too. Routes have their own.',
  ),
  tls_key: optional(secret(), 'The private key of `tls_cert`, in PEM, without a passphrase.'),
  client_ca: optional(
    filePath(),
    'On `egress`: certificates in PEM that one of must have signed the certificate a client shows.',
  ),
  client_auth: setting(
    oneOf(clientAuthModes),
    'none',
    'On `egress`: `request` asks clients for a certificate, `require` refuses those without one. Needs `client_ca`.',
  ),
  tls_min_version: setting(
    oneOf(tlsVersions),
    '1.2',
    'On `egress`: the least version of TLS that is spoken to clients.',
  ),
  routes,
});

function headerRules(description: string): Section<{ remove: List<string>; set: Entries; add: Entries }> {
  return section(description, {
    remove: list(headerName(), headersMax, 'Names of headers to remove, first of all.'),
    set: entries(
      headerName(),
      headerValue(),
      headersMax,
      false,
      'Headers with their values; each takes the place of what was there. `host` in a request is its authority.',
    ),
    add: entries(
      headerName(),
      headerValue(),
      headersMax,
      true,
      'Headers to add to what is there, each with a value or a list of values.',
    ),
  });
}
