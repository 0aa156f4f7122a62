/** Settings of layer 7 that do not fit, and what an operator is told about them. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { routesPerHostnameMax } from '../model/route-conflict.ts';
import { makeCertificate } from './testing/certificates.ts';
import { told } from './testing/told.ts';

const directory = mkdtempSync(join(tmpdir(), 'portcullis-layer7-'));
after(() => rmSync(directory, { recursive: true }));
makeCertificate(directory, 'a');
makeCertificate(directory, 'b');

const l7 = 'mode = "l7", tls_cert = "a.pem", tls_key = "a.key"';
const plain = 'mode = "l7"';

/** Of one listener with these settings and routes: severity, the setting, and what is said. */
function toldOf(listener: readonly string[], ...routes: readonly string[]): readonly string[] {
  const rows = routes.map((route) => `  { hostname = "a.example", backend = "10.0.0.1:443", ${route} },`);
  const text = ['[[listeners]]', 'addr = ":443"', ...listener, 'routes = [', ...rows, ']'].join('\n');
  return told(directory, text).map((line) => line.replace(/ x\.toml:\d+:\d+ listeners\[0\]\.?/, ' '));
}

/** Of one route of mode l7. */
function toldOfRoute(...settings: readonly string[]): readonly string[] {
  return toldOf([], [l7, ...settings].join(', ')).map((line) => line.replace('routes[0].', ''));
}

describe('paths', () => {
  test('are prefixes in their one spelling', () => {
    assert.deepEqual(toldOfRoute('path_prefix = "/api"'), []);
    assert.deepEqual(toldOfRoute('path_prefix = "/api/"'), []);
    assert.deepEqual(toldOfRoute('path_prefix = "api"'), [
      'error path_prefix: expected a path such as "/api", found "api", which is none that begins with "/" (did you mean "/api"?)',
    ]);
    assert.deepEqual(toldOfRoute('path_prefix = "/a/../b?x=1"'), [
      'error path_prefix: expected a path such as "/api", found "/a/../b?x=1", which is none that has no query and no fragment (did you mean "/b"?)',
    ]);
    assert.deepEqual(toldOfRoute('path_prefix = "/a%2Fb"'), [
      'error path_prefix: expected a path such as "/api", found "/a%2Fb", which is none that has no ";", no backslash and no encoded slash, which servers read differently',
    ]);
  });

  test('tell the routes of a hostname apart', () => {
    assert.deepEqual(toldOf([], l7, `${l7}, path_prefix = "/a"`, `${l7}, path_prefix = "/b"`), []);
    assert.deepEqual(toldOf([], `${l7}, path_prefix = "/a"`, l7, `${l7}, path_prefix = "/a/"`), [
      'error routes[2].path_prefix: expected a hostname that no other route of the listener has: listeners[0].routes[0] has it, found "/a"',
    ]);
    assert.deepEqual(toldOf([], l7, `${l7}, path_prefix = "/"`), [
      'error routes[1].hostname: expected a hostname that no other route of the listener has: listeners[0].routes[0] has it, found "a.example"',
    ]);
    assert.deepEqual(toldOf([], 'mode = "l4"', `${l7}, path_prefix = "/a"`), [
      'error routes[1].hostname: expected a hostname of its own for a route of mode l4, which sees no path: listeners[0].routes[0] has this one too, found "a.example"',
    ]);
  });

  test('of one hostname are no more than a request should look at', () => {
    const routes = Array.from(
      { length: routesPerHostnameMax + 1 },
      (_, n) => `${l7}, path_prefix = "/p${n}"`,
    );
    assert.deepEqual(toldOf([], ...routes.slice(1)), []);
    assert.deepEqual(toldOf([], ...routes), [
      'error routes[0]: expected at most 1024 routes of one hostname, found 1025',
    ]);
  });
});

describe('TLS to clients', () => {
  test('is ended the same way for every path of a hostname', () => {
    const other = 'mode = "l7", tls_cert = "b.pem", tls_key = "b.key", path_prefix = "/b"';
    assert.deepEqual(
      toldOf([], l7, other).map((line) => line.replaceAll(`${directory}/`, '')),
      [
        'error routes[1].tls_cert: expected the tls_cert of listeners[0].routes[0], which has the same hostname: TLS is ended before the path is known, and there it is "a.pem", found "b.pem"',
      ],
    );
    assert.deepEqual(toldOf([], l7, `${l7}, path_prefix = "/b", tls_min_version = "1.3"`), [
      'error routes[1].tls_min_version: expected the tls_min_version of listeners[0].routes[0], which has the same hostname: TLS is ended before the path is known, and there it is "1.2", found "1.3"',
    ]);
  });

  test('asks for no certificates that nothing verifies', () => {
    assert.deepEqual(toldOfRoute('client_auth = "require"', 'client_ca = "b.pem"'), []);
    assert.deepEqual(toldOfRoute('client_auth = "require"'), [
      'error client_auth: expected client_ca beside it, with the certificates that clients are verified by, found none',
    ]);
    assert.deepEqual(toldOfRoute('client_ca = "b.pem"'), [
      'warning client_ca: expected client_auth = "require" or "request" beside it: as it is, no client is asked, found "none"',
    ]);
    assert.deepEqual(toldOfRoute('client_auth = "request"', 'client_ca = "c.pem"'), [
      'error client_ca: expected a file with certificates in PEM, found "c.pem": no such file or directory',
    ]);
  });
});

describe('TLS to backends', () => {
  test('is verified unless somebody says otherwise, and settings without it are errors', () => {
    assert.deepEqual(
      toldOfRoute('backend_tls = true', 'backend_ca = "b.pem"', 'backend_server_name = "B.Example."'),
      [],
    );
    assert.deepEqual(toldOfRoute('backend_tls = true', 'backend_insecure = true'), [
      'warning backend_insecure: expected a backend whose certificate is verified: as it is, whoever answers there is believed, found true',
    ]);
    const unused = (name: string): string =>
      `error ${name}: expected backend_tls = true beside it: as it is, no TLS is spoken to the backend, found false`;
    assert.deepEqual(
      toldOfRoute('backend_ca = "b.pem"', 'backend_server_name = "b"', 'backend_insecure = true'),
      [unused('backend_ca'), unused('backend_server_name'), unused('backend_insecure')],
    );
    assert.deepEqual(toldOfRoute('backend_tls = true', 'backend_server_name = "*.b"'), [
      'error backend_server_name: expected a hostname such as "app.example.com", found "*.b", which is a pattern',
    ]);
  });
});

test('settings of layer 7 on a route of mode l4 are errors', () => {
  const lines = toldOf(
    [],
    'path_prefix = "/a", client_auth = "require", tls_min_version = "1.3", backend_protocol = "http1", ' +
      'forwarded = true, request_headers = { remove = ["x"] }, response_headers = { set = { x = "1" } }',
  );
  assert.deepEqual(
    lines.map((line) => line.replace(/: expected.*/, '')),
    [
      'error routes[0].path_prefix',
      'error routes[0].client_auth',
      'error routes[0].tls_min_version',
      'error routes[0].backend_protocol',
      'error routes[0].forwarded',
      'error routes[0].request_headers',
      'error routes[0].response_headers',
    ],
  );
});

describe('listeners', () => {
  test('with protocol http have no TLS to relay or to end', () => {
    assert.deepEqual(toldOf(['protocol = "http"'], plain, `${plain}, path_prefix = "/a"`), []);
    assert.deepEqual(
      toldOf(['protocol = "http"', 'default_backend = "10.0.0.1:1"'], l7, 'path_prefix = ""'),
      [
        'error default_backend: expected none on a listener with protocol = "http": it relays TLS as it is, and there is none, found "10.0.0.1:1"',
        'error routes[0].tls_cert: expected no TLS settings: the listener has protocol = "http", so there is no TLS to end, found "a.pem"',
        'error routes[0].tls_key: expected no TLS settings: the listener has protocol = "http", so there is no TLS to end, found "a.key"',
        'error routes[1].mode: expected mode = "l7": the listener has protocol = "http", so there is no TLS to relay, found "l4"',
        'error routes[1].path_prefix: expected a path such as "/api", found "", which is none that begins with "/"',
      ],
    );
  });

  test('redirect to https only what comes without TLS', () => {
    assert.deepEqual(toldOf(['protocol = "auto"', 'redirect_https = true'], l7), []);
    assert.deepEqual(toldOf(['protocol = "http"', 'redirect_https = true']), []);
    assert.deepEqual(toldOf(['redirect_https = true'], l7), [
      'error redirect_https: expected protocol = "http" or "auto" beside it: as it is, nobody without TLS is answered, found "tls"',
    ]);
    assert.deepEqual(toldOf(['protocol = "http"', 'redirect_https = true'], plain), [
      'warning redirect_https: expected no routes beside it: with protocol = "http" every request is redirected, and none is routed, found true',
    ]);
  });

  test('that trust everybody, or limit by what clients write, are questioned', () => {
    assert.deepEqual(toldOf(['trusted_proxies = ["10.0.0.0/8", "0.0.0.0/0"]'], l7), [
      'warning trusted_proxies[1]: expected the networks of the proxies in front: as it is, every client may claim any address, found "0.0.0.0/0"',
    ]);
    const limited = `${l7}, policies = [{ type = "rate_limit", value = "1/1m by X-Forwarded-For" }]`;
    assert.deepEqual(toldOf([], limited), [
      'warning routes[0].policies[0].value: expected trusted_proxies on the listener: as it is, every client writes this header as it likes, found "1/1m by X-Forwarded-For"',
    ]);
    assert.deepEqual(toldOf(['trusted_proxies = ["10.0.0.0/8"]'], limited), []);
  });
});

describe('header rules', () => {
  test('take names and values, and a list where there may be several', () => {
    const rules =
      'request_headers = { remove = ["X-A"], set = { "X-B" = "1", host = "b:80" }, add = { c = ["1", "2"] } }';
    assert.deepEqual(toldOfRoute(rules), []);
  });

  test('leave alone what the proxy writes, and say nothing that is no header', () => {
    const rules =
      'request_headers = { remove = ["Connection", "host", ":path"], set = { host = "a b", x = "1\\r\\n2", X-A = "1", x-a = "2" }, ' +
      'add = { content-length = "1", y = [" z"] } }, response_headers = { set = { host = "a", q = ["1"] }, remove = "x" }';
    const lines = toldOfRoute(rules).map((line) => line.replace(/expected (.{24}).*, found/, '$1 … found'));
    assert.deepEqual(lines, [
      'error request_headers.remove[0]: a header of the message: … found "connection"',
      'error request_headers.remove[1]: a header of the message: … found "host"',
      'error request_headers.remove[2]: the name of a header suc … found ":path"',
      'error request_headers.set: each header once in requ … found "x-a"',
      'error request_headers.set.host: a host such as "app.inte … found "a b"',
      'error request_headers.set.x: the value of a header: p … found "1\\x0d\\x0a2"',
      'error request_headers.add.content-length: a header of the message: … found "content-length"',
      'error request_headers.add.y: the value of a header: p … found " z"',
      'error response_headers.set.host: a header of the message: … found "host"',
      'error response_headers.set.q: the value of a header: p … found a list of 1',
      'error response_headers.remove: a list, each the name of … found "x"',
    ]);
  });

  test('are at most 64 of each', () => {
    const many = (count: number): string =>
      Array.from({ length: count }, (_, n) => `x${n} = ["1"]`).join(', ');
    assert.deepEqual(toldOfRoute(`request_headers = { add = { ${many(64)} } }`), []);
    assert.deepEqual(toldOfRoute(`request_headers = { add = { ${many(65)} } }`), [
      'error request_headers.add: expected at most 64, found 65',
    ]);
  });
});

describe('values of policies', () => {
  test('have the form of their type', () => {
    const policy = (type: string, value: string): string => `{ type = "${type}", value = "${value}" }`;
    const list = [
      policy('max_body', '10'),
      policy('allow_methods', 'get'),
      policy('rate_limit', '100/1m'),
      policy('rate_limit', '100/60s'),
      policy('require_header', 'Host'),
    ];
    const lines = toldOfRoute(`policies = [${list.join(', ')}]`);
    assert.deepEqual(lines, [
      'error policies[0].value: expected a size such as "10MiB", at most 1024GiB, found "10" (did you mean "10B"?)',
      'error policies[1].value: expected methods such as "GET,HEAD,POST", at most 32, in capitals, found "get" (did you mean "GET"?)',
      'error policies[3]: expected each policy once on its route, and [2] is the same, found rate_limit "100/60s"',
      'error policies[4].value: expected a header of the message: this one belongs to a connection, and no policy sees it, found "Host"',
    ]);
  });
});

test('limits of HTTP are held against each other', () => {
  const text =
    '[http]\nhead_bytes_max = "1KiB"\nbody_rate_min = 100\n[[listeners]]\naddr = ":443"\ndefault_backend = "a:1"\n';
  assert.deepEqual(told(directory, text), [
    'warning x.toml:1:1 http.target_bytes_max: expected at most head_bytes_max, which is 1KiB and holds before it, found 16KiB',
    'error x.toml:3:17 http.body_rate_min: expected a size such as "16KiB", from 0B to 1GiB, found 100, which has no unit (did you mean "100B"?)',
  ]);
});
