/** Bad files and, word for word, what an operator is told about them. */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { loadSettings } from './load.ts';
import { formatProblem } from './problem.ts';
import { schema } from './schema.ts';

const directory = mkdtempSync(join(tmpdir(), 'portcullis-problems-'));
after(() => rmSync(directory, { recursive: true }));

interface Story {
  readonly title: string;
  readonly name: 'x.toml' | 'x.yaml';
  readonly text: string;
  readonly lines: readonly string[];
}

/** In their order, as every list of names is told. */
const nameList = (fields: object): string => Object.keys(fields).join(', ');
const names = {
  file: nameList(schema),
  server: nameList(schema.server.fields),
  log: nameList(schema.log.fields),
  listener: nameList(schema.listeners.fields),
  route: nameList(schema.listeners.fields.routes.fields),
};

function lines(...each: readonly string[]): string {
  return each.map((line) => `${line}\n`).join('');
}

const stories: readonly Story[] = [
  {
    title: 'an empty file',
    name: 'x.toml',
    text: lines(''),
    lines: ['error x.toml listeners: expected at least 1, found none'],
  },
  {
    title: 'misspelt and misplaced keys',
    name: 'x.toml',
    text: lines(
      'colour = 1',
      '[sever]',
      'workers = 1',
      '[server]',
      'idel_timeout = "1m"',
      'max-connections = 5',
      '[[listeners]]',
      'addr = ":443"',
      'route = []',
      'default_backend = "10.0.0.1:443"',
    ),
    lines: [
      `error x.toml:1:1 colour: expected one of ${names.file}, found "colour"`,
      `error x.toml:2:2 sever: expected one of ${names.file}, found "sever" (did you mean "server"?)`,
      `error x.toml:5:1 server.idel_timeout: expected one of ${names.server}, found "idel_timeout" (did you mean "idle_timeout"?)`,
      `error x.toml:6:1 server.max-connections: expected one of ${names.server}, found "max-connections" (did you mean "max_connections"?)`,
      `error x.toml:9:1 listeners[0].route: expected one of ${names.listener}, found "route" (did you mean "routes"?)`,
    ],
  },
  {
    title: 'values of the wrong kind',
    name: 'x.toml',
    text: lines(
      'log = "debug"',
      '[server]',
      'workers = 0',
      'idle_timeout = 30',
      'connect_timeout = "5 s"',
      'sockets = "fats"',
      'max_connections = 1.5',
      '[firewall]',
      'blocked_ips = "192.0.2.1"',
      'rate_limit = 0',
      '[[listeners]]',
      'addr = 443',
      'proxy_protocol = "yes"',
      'default_backend = 2026-11-21',
      'routes = [1]',
    ),
    lines: [
      `error x.toml:1:7 log: expected a table with ${names.log}, found "debug"`,
      'error x.toml:3:11 server.workers: expected "auto" or a whole number from 1 to 256, found 0',
      'error x.toml:4:16 server.idle_timeout: expected a duration such as "30s", from 1s to 7d, found 30, which has no unit (did you mean "30s"?)',
      'error x.toml:5:19 server.connect_timeout: expected a duration such as "30s", from 1ms to 1h, found "5 s"',
      'error x.toml:6:11 server.sockets: expected one of "auto", "fast", "public", found "fats" (did you mean "fast"?)',
      'error x.toml:7:19 server.max_connections: expected a whole number from 0 to 10000000, found 1.5',
      'error x.toml:9:15 firewall.blocked_ips: expected a list, each an IP address such as "192.0.2.1" or "2001:db8::1", found "192.0.2.1"',
      'error x.toml:10:14 firewall.rate_limit: expected a whole number from 1 to 1000000, found 0',
      'error x.toml:12:8 listeners[0].addr: expected an address such as ":443", "127.0.0.1:8443" or "[::1]:8443", found 443 (did you mean ":443"?)',
      'error x.toml:13:18 listeners[0].proxy_protocol: expected true or false, found "yes"',
      'error x.toml:14:19 listeners[0].default_backend: expected an address such as "10.0.0.1:8443", "app.internal:8443", "[2001:db8::1]:8443" or "unix:/run/app.sock", found a date',
      `error x.toml:15:11 listeners[0].routes[0]: expected a table with ${names.route}, found 1`,
    ],
  },
  {
    title: 'addresses that are none, with what was probably meant',
    name: 'x.toml',
    text: lines(
      '[firewall]',
      'blocked_ips = ["10.0.0.0/8", "010.0.0.1"]',
      'blocked_cidrs = ["10.1.2.3/8", "192.0.2.1", "::/129"]',
      'blocked_countries = ["UK", "Germany"]',
      '[[listeners]]',
      'addr = "localhost:443"',
      '[[listeners.routes]]',
      'hostname = "a.example"',
      'backend = "https://a.internal:8443/path"',
      '[[listeners.routes]]',
      'hostname = "b.example"',
      'backend = "::1:443"',
      '[[listeners.routes]]',
      'hostname = "c.example"',
      'backend = "c.internal"',
      '[[listeners.routes]]',
      'hostname = "d.example"',
      'backend = "/run/d.sock"',
    ),
    lines: [
      'error x.toml:2:16 firewall.blocked_ips[0]: expected an IP address such as "192.0.2.1" or "2001:db8::1", found "10.0.0.0/8", which is a network: name it among the CIDRs',
      'error x.toml:2:30 firewall.blocked_ips[1]: expected an IP address such as "192.0.2.1" or "2001:db8::1", found "010.0.0.1"',
      'error x.toml:3:18 firewall.blocked_cidrs[0]: expected a network such as "192.0.2.0/24" or "2001:db8::/32", found "10.1.2.3/8", which has bits set beyond its prefix (did you mean "10.0.0.0/8"?)',
      'error x.toml:3:32 firewall.blocked_cidrs[1]: expected a network such as "192.0.2.0/24" or "2001:db8::/32", found "192.0.2.1", which has no prefix length (did you mean "192.0.2.1/32"?)',
      'error x.toml:3:45 firewall.blocked_cidrs[2]: expected a network such as "192.0.2.0/24" or "2001:db8::/32", found "::/129"',
      'error x.toml:4:21 firewall.blocked_countries: expected geoip_db beside it: countries are looked up in a MaxMind database, found none',
      'error x.toml:4:22 firewall.blocked_countries[0]: expected an ISO 3166-1 country code of two letters such as "DE", found "UK" (did you mean "GB"?)',
      'error x.toml:4:28 firewall.blocked_countries[1]: expected an ISO 3166-1 country code of two letters such as "DE", found "Germany"',
      'error x.toml:6:8 listeners[0].addr: expected an address such as ":443", "127.0.0.1:8443" or "[::1]:8443", found "localhost:443" (did you mean "127.0.0.1:443"?)',
      'error x.toml:9:11 listeners[0].routes[0].backend: expected an address such as "10.0.0.1:8443", "app.internal:8443", "[2001:db8::1]:8443" or "unix:/run/app.sock", found "https://a.internal:8443/path" (did you mean "a.internal:8443"?)',
      'error x.toml:12:11 listeners[0].routes[1].backend: expected an address such as "10.0.0.1:8443", "app.internal:8443", "[2001:db8::1]:8443" or "unix:/run/app.sock", found "::1:443" (did you mean "[::1]:443"?)',
      'error x.toml:15:11 listeners[0].routes[2].backend: expected an address such as "10.0.0.1:8443", "app.internal:8443", "[2001:db8::1]:8443" or "unix:/run/app.sock", found "c.internal", which has no port',
      'error x.toml:18:11 listeners[0].routes[3].backend: expected an address such as "10.0.0.1:8443", "app.internal:8443", "[2001:db8::1]:8443" or "unix:/run/app.sock", found "/run/d.sock" (did you mean "unix:/run/d.sock"?)',
    ],
  },
  {
    title: 'bad and missing hostnames',
    name: 'x.toml',
    text: lines(
      '[[listeners]]',
      'addr = ":443"',
      'routes = [',
      '  { hostname = "*", backend = "a:1" },',
      '  { hostname = "a.*.example", backend = "a:1" },',
      '  { hostname = "a..example", backend = "a:1" },',
      '  { hostname = "192.0.2.1", backend = "a:1" },',
      '  { backend = "a:1" },',
      ']',
    ),
    lines: [
      'error x.toml:4:16 listeners[0].routes[0].hostname: expected a hostname such as "app.example.com" or "*.example.com", found "*", which is a bare "*": set default_backend to take every other name',
      'error x.toml:5:16 listeners[0].routes[1].hostname: expected a hostname such as "app.example.com" or "*.example.com", found "a.*.example", which has a "*" that is not the whole first label; write "*.example.com"',
      'error x.toml:6:16 listeners[0].routes[2].hostname: expected a hostname such as "app.example.com" or "*.example.com", found "a..example", which has an empty label',
      'error x.toml:7:16 listeners[0].routes[3].hostname: expected a hostname such as "app.example.com" or "*.example.com", found "192.0.2.1", which is an IP address or ends in a number, which is not a host name',
      'error x.toml:8:3 listeners[0].routes[4].hostname: expected a hostname such as "app.example.com" or "*.example.com", found nothing',
    ],
  },
  {
    title: 'a hostname twice, once in capitals and once in another script',
    name: 'x.toml',
    text: lines(
      '[[listeners]]',
      'addr = ":443"',
      'routes = [',
      '  { hostname = "a.example", backend = "a:1" },',
      '  { hostname = "A.Example.", backend = "b:1" },',
      '  { hostname = "bücher.example", backend = "b:1" },',
      '  { hostname = "xn--bcher-kva.example", backend = "b:1" },',
      ']',
    ),
    lines: [
      'error x.toml:5:16 listeners[0].routes[1].hostname: expected a hostname that no other route of the listener has: listeners[0].routes[0] has it, found "a.example"',
      'error x.toml:7:16 listeners[0].routes[3].hostname: expected a hostname that no other route of the listener has: listeners[0].routes[2] has it, found "xn--bcher-kva.example"',
    ],
  },
  {
    title: 'listeners that share an address',
    name: 'x.toml',
    text: lines(
      '[[listeners]]',
      'addr = ":443"',
      'default_backend = "10.0.0.1:443"',
      '[[listeners]]',
      'addr = ":443"',
      'default_backend = "10.0.0.1:443"',
      '[[listeners]]',
      'addr = "0.0.0.0:443"',
      'default_backend = "10.0.0.1:443"',
    ),
    lines: [
      'error x.toml:5:8 listeners[1].addr: expected an address that no other listener has: listeners[0].addr is ":443", found ":443"',
      'error x.toml:8:8 listeners[2].addr: expected an address apart from every other listener\'s: listeners[0].addr is ":443", and one of the two contains the other, found "0.0.0.0:443"',
    ],
  },
  {
    title: 'PROXY headers from anybody',
    name: 'x.toml',
    text: lines(
      '[[listeners]]',
      'addr = ":443"',
      'default_backend = "10.0.0.1:443"',
      'proxy_protocol = true',
      '',
      '[[listeners]]',
      'addr = "127.0.0.1:8443"',
      'default_backend = "10.0.0.1:443"',
      'proxy_protocol = true',
      '',
      '[[listeners]]',
      'addr = ":9443"',
      'default_backend = "10.0.0.1:443"',
      'proxy_protocol_from = ["10.0.0.0/8", "10.0.0.0/8"]',
    ),
    lines: [
      'error x.toml:4:18 listeners[0].proxy_protocol: expected proxy_protocol_from beside it, with the networks of the proxies in front: without it anybody who reaches ":443" could claim any client address, found none',
      'warning x.toml:14:23 listeners[2].proxy_protocol_from: expected proxy_protocol = true beside it, found false',
      'warning x.toml:14:38 listeners[2].proxy_protocol_from[1]: expected each value once, and [0] is the same, found "10.0.0.0/8"',
    ],
  },
  {
    title: 'blocked countries without a database',
    name: 'x.toml',
    text: lines(
      '[[listeners]]',
      'addr = ":443"',
      'default_backend = "10.0.0.1:443"',
      '[firewall]',
      'blocked_countries = ["DE"]',
    ),
    lines: [
      'error x.toml:5:21 firewall.blocked_countries: expected geoip_db beside it: countries are looked up in a MaxMind database, found none',
    ],
  },
  {
    title: 'a database that is not there',
    name: 'x.toml',
    text: lines(
      '[[listeners]]',
      'addr = ":443"',
      'default_backend = "10.0.0.1:443"',
      '[firewall]',
      'blocked_countries = ["DE"]',
      'geoip_db = "/nonexistent/geo.mmdb"',
    ),
    lines: [
      'error x.toml:6:12 firewall.geoip_db: expected a file that can be read, found "/nonexistent/geo.mmdb": no such file or directory',
    ],
  },
  {
    title: 'settings that work and are questionable',
    name: 'x.toml',
    text: lines(
      '[server]',
      'idle_timeout = "2s"',
      '[firewall]',
      'blocked_ips = ["192.0.2.1", "192.0.2.1"]',
      'blocked_cidrs = ["0.0.0.0/0", "::/0"]',
      'allowed_ips = ["192.0.2.1"]',
      'rate_window = "5m"',
      '[[listeners]]',
      'addr = ":443"',
      '[[listeners]]',
      'addr = "127.0.0.1:8443"',
      'default_backend = "localhost:8443"',
    ),
    lines: [
      'warning x.toml:2:16 server.idle_timeout: expected at least connect_timeout, which is 5s, found 2s',
      'warning x.toml:4:29 firewall.blocked_ips[1]: expected each value once, and [0] is the same, found "192.0.2.1"',
      'warning x.toml:5:18 firewall.blocked_cidrs[0]: expected a network smaller than all of IPv4: every IPv4 client will be refused, found "0.0.0.0/0"',
      'warning x.toml:5:31 firewall.blocked_cidrs[1]: expected a network smaller than all of IPv6: every IPv6 client will be refused, found "::/0"',
      'warning x.toml:6:15 firewall.allowed_ips: expected rate_limit beside it, without which it has no effect, found none',
      'warning x.toml:6:16 firewall.allowed_ips[0]: expected a value that is not in blocked_ips: it stays blocked, for allowed_ips only lifts the rate limit, found "192.0.2.1"',
      'warning x.toml:7:15 firewall.rate_window: expected rate_limit beside it, without which it has no effect, found none',
      'warning x.toml:8:1 listeners[0]: expected routes or a default_backend: as it is, every connection will be refused, found neither',
      'warning x.toml:12:19 listeners[1].default_backend: expected another address than the one the listener itself has: connections would go round in a circle, found "127.0.0.1:8443"',
    ],
  },
  {
    title: 'a syntax error in TOML',
    name: 'x.toml',
    text: lines('[server]', 'workers = '),
    lines: ['error x.toml:2:11: expected valid TOML: invalid value'],
  },
  {
    title: 'a table twice in TOML',
    name: 'x.toml',
    text: lines('[server]', '[log]', '[server]'),
    lines: ['error x.toml:3:2: expected valid TOML: trying to redefine an already defined table or value'],
  },
  {
    title: 'text that would take over a terminal',
    name: 'x.toml',
    text: lines(
      '"\\u001b[31mred" = 1',
      '[[listeners]]',
      'addr = ":443"',
      'default_backend = "\\u202egnp.exe\\u0007"',
    ),
    lines: [
      `error x.toml:1:1 "\\x1b[31mred": expected one of ${names.file}, found "\\x1b[31mred"`,
      'error x.toml:4:19 listeners[0].default_backend: expected an address such as "10.0.0.1:8443", "app.internal:8443", "[2001:db8::1]:8443" or "unix:/run/app.sock", found "\\u{202e}gnp.exe\\x07", which has no port',
    ],
  },
  {
    title: 'a long value is cut',
    name: 'x.toml',
    text: lines(
      '[[listeners]]',
      'addr = ":443"',
      'default_backend = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"',
    ),
    lines: [
      'error x.toml:3:19 listeners[0].default_backend: expected an address such as "10.0.0.1:8443", "app.internal:8443", "[2001:db8::1]:8443" or "unix:/run/app.sock", found "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…", which has no port',
    ],
  },
  {
    title: 'YAML: keys, values and rows',
    name: 'x.yaml',
    text: lines(
      'server:',
      '  workers: many',
      '  idel_timeout: 1m',
      'log:',
      'listeners:',
      '  - addr: :443',
      '    routes:',
      '      - hostname: a.example',
      '        backend: "a"',
      '      - hostname: no',
      '        backend: a:1',
      '      -',
    ),
    lines: [
      'error x.yaml:2:12 server.workers: expected "auto" or a whole number from 1 to 256, found "many"',
      `error x.yaml:3:3 server.idel_timeout: expected one of ${names.server}, found "idel_timeout" (did you mean "idle_timeout"?)`,
      'error x.yaml:9:18 listeners[0].routes[0].backend: expected an address such as "10.0.0.1:8443", "app.internal:8443", "[2001:db8::1]:8443" or "unix:/run/app.sock", found "a", which has no port',
      `error x.yaml:12:7 listeners[0].routes[2]: expected a table with ${names.route}, found nothing`,
    ],
  },
  {
    title: 'a syntax error in YAML',
    name: 'x.yaml',
    text: lines('server:', '  workers: [1', 'log: {}'),
    lines: ['error x.yaml:3:1: expected valid YAML: deficient indentation'],
  },
  {
    title: 'a key twice in YAML',
    name: 'x.yaml',
    text: lines('server:', '  workers: 1', '  workers: 2'),
    lines: ['error x.yaml:3:3: expected valid YAML: duplicated mapping key'],
  },
  {
    title: 'YAML that is no table',
    name: 'x.yaml',
    text: lines('- a', '- b'),
    lines: [`error x.yaml:1:1: expected a table with ${names.file}, found a list of 2`],
  },
  {
    title: 'two YAML documents',
    name: 'x.yaml',
    text: lines('log: {}', '---', 'log: {}'),
    lines: ['error x.yaml:2:1: expected valid YAML: one document, and here a second begins'],
  },
];

describe('what an operator is told', () => {
  for (const { title, name, text, lines: expected } of stories) {
    test(title, () => {
      const path = join(directory, name);
      writeFileSync(path, text);
      const { settings, problems } = loadSettings(path, {});
      const told = problems.map((problem) => formatProblem(problem, false).replaceAll(`${directory}/`, ''));
      assert.deepEqual(told, expected);
      assert.equal(
        settings === undefined,
        expected.some((line) => line.startsWith('error')),
      );
    });
  }
});
