/** Requests that must be refused, by the name of the attack or the fault. No part of the proxy. */

const host = 'Host: a.example\r\n';

/** What breaks the specification. */
export const malformed: Readonly<Record<string, string>> = {
  'a bare LF after the request line': `GET / HTTP/1.1\n${host}\r\n`,
  'a bare LF after a field': `GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n`,
  'a request of bare LFs, before its end is seen': 'GET / HTTP/1.1\n',
  'a bare CR in a value': `GET / HTTP/1.1\r\n${host}X: a\rb\r\n\r\n`,
  'a bare CR in the request line': `GET /\r HTTP/1.1\r\n${host}\r\n`,
  'a bare CR before the request': `\rGET / HTTP/1.1\r\n${host}\r\n`,
  'NUL in a value': `GET / HTTP/1.1\r\n${host}X: a\0b\r\n\r\n`,
  'a control character in a value': `GET / HTTP/1.1\r\n${host}X: a\x01b\r\n\r\n`,
  'DEL in a value': `GET / HTTP/1.1\r\n${host}X: a\x7fb\r\n\r\n`,
  'a name that is no token': `GET / HTTP/1.1\r\n${host}X@Y: 1\r\n\r\n`,
  'a name with a byte above ASCII': `GET / HTTP/1.1\r\n${host}X\xe9: 1\r\n\r\n`,
  'an empty name': `GET / HTTP/1.1\r\n${host}: 1\r\n\r\n`,
  'a line without a colon': `GET / HTTP/1.1\r\n${host}nothing\r\n\r\n`,
  'no Host in HTTP/1.1': 'GET / HTTP/1.1\r\n\r\n',
  'GET *': `GET * HTTP/1.1\r\n${host}\r\n`,
  'a fragment in the target': `GET /a#b HTTP/1.1\r\n${host}\r\n`,
  'a byte above ASCII in the target': `GET /\xe9 HTTP/1.1\r\n${host}\r\n`,
  'a tab in the request line': `GET\t/ HTTP/1.1\r\n${host}\r\n`,
  'two spaces in the request line': `GET  / HTTP/1.1\r\n${host}\r\n`,
  'a space in the target': `GET /a b HTTP/1.1\r\n${host}\r\n`,
  'a target in no known form': `GET a.example HTTP/1.1\r\n${host}\r\n`,
  'a target of another scheme': `GET ftp://a/ HTTP/1.1\r\n${host}\r\n`,
  'HTTP/0.9': 'GET /\r\n\r\n',
  'a method that is no token': `G(T / HTTP/1.1\r\n${host}\r\n`,
  'a TLS hello on a plain port': '\x16\x03\x01\x02\x00',
  'CONNECT without a port': 'CONNECT a.example HTTP/1.1\r\nHost: a.example\r\n\r\n',
  'CONNECT to a path': 'CONNECT / HTTP/1.1\r\nHost: a.example\r\n\r\n',
  'a WebSocket handshake without a key': `GET / HTTP/1.1\r\n${host}Upgrade: websocket\r\nConnection: upgrade\r\n\r\n`,
  'a WebSocket handshake by POST': `POST / HTTP/1.1\r\n${host}Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
  'a chunk without a size': chunked(';a\r\n'),
  'a chunk size with a sign': chunked('+5\r\nhello\r\n'),
  'a chunk size in the C notation': chunked('0x5\r\nhello\r\n'),
  'a chunk size with a space before it': chunked(' 5\r\nhello\r\n'),
  'a chunk size with a space behind it': chunked('5 \r\nhello\r\n'),
  'a chunk size past 2^53': chunked('ffffffffffffff\r\n'),
  'a chunk size of seventeen digits': chunked('00000000000000005\r\n'),
  'a chunk size that ends in a bare LF': chunked('5\nhello\r\n'),
  'a bare LF in a chunk extension': chunked('5;a\nhello\r\n'),
  'a bare CR in a chunk extension': chunked('5;a\rb\r\nhello\r\n'),
  'a chunk extension past its limit': chunked(`5;${'a'.repeat(40)}\r\nhello\r\n`),
  'a chunk that ends in a bare LF': chunked('5\r\nhello\n0\r\n\r\n'),
  'a chunk longer than its size': chunked('5\r\nhello!\r\n0\r\n\r\n'),
  'a bare LF in the trailers': chunked('0\r\nX: 1\n\r\n'),
  'a folded trailer that begins the section': chunked('0\r\nX@: 1\r\n\r\n'),
};

/** What two parsers could read differently. */
export const ambiguous: Readonly<Record<string, string>> = {
  'Content-Length with Transfer-Encoding (CL.TE)': `POST / HTTP/1.1\r\n${host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'Transfer-Encoding with Content-Length (TE.CL)': `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`,
  'two Content-Lengths that disagree': `POST / HTTP/1.1\r\n${host}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!`,
  'two Content-Lengths that agree': `POST / HTTP/1.1\r\n${host}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello`,
  ...perValue('Content-Length', [
    '+5',
    '-5',
    '5,5',
    '5, 5',
    '0x5',
    '5 5',
    '',
    '05',
    '5.0',
    '1e1',
    '99999999999999999999',
    '9007199254740993',
  ]),
  ...perValue('Transfer-Encoding', [
    '',
    ',chunked',
    'chunked, chunked',
    'gzip, chunked',
    'chunked, gzip',
    'identity',
    'xchunked',
    '"chunked"',
    'chunked;q=1',
  ]),
  'two Transfer-Encodings': `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
  'Transfer-Encoding in HTTP/1.0': `POST / HTTP/1.0\r\n${host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'a folded field': `GET / HTTP/1.1\r\n${host}X: a\r\n b\r\n\r\n`,
  'a field folded right behind the request line': `GET / HTTP/1.1\r\n Host: a\r\n\r\n`,
  'a space before the colon': `GET / HTTP/1.1\r\nHost : a\r\n\r\n`,
  'a tab before the colon': `GET / HTTP/1.1\r\n${host}X\t: a\r\n\r\n`,
  'two Hosts that differ': `GET / HTTP/1.1\r\n${host}Host: b\r\n\r\n`,
  'two Hosts that agree': `GET / HTTP/1.1\r\n${host}${host}\r\n`,
  'a Host that differs from the target': `GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n`,
  'a Host whose port differs from the target': `GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n`,
  'a Host that differs from the target of CONNECT': `CONNECT a:443 HTTP/1.1\r\nHost: b:443\r\n\r\n`,
  'user information in the target': `GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n`,
  ...perHost([
    '',
    'u@a',
    'a/x',
    'a, b',
    'a b',
    'a:99999',
    'a:',
    ':80',
    '[::1',
    '[zz]',
    'a\\b',
    'a?b',
    'a%00b',
    '\xe9',
  ]),
  'Upgrade together with a body': `POST / HTTP/1.1\r\n${host}Upgrade: foo\r\nConnection: upgrade\r\nContent-Length: 5\r\n\r\nhello`,
  'CONNECT together with a body': `CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nContent-Length: 5\r\n\r\nhello`,
  'a length in the trailers': chunked('0\r\nContent-Length: 5\r\n\r\n'),
  'an encoding in the trailers': chunked('0\r\nTransfer-Encoding: chunked\r\n\r\n'),
  'a Host in the trailers': chunked('0\r\nHost: b\r\n\r\n'),
  'a space before the colon in the trailers': chunked('0\r\nX : 1\r\n\r\n'),
};

function perValue(name: string, values: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    values.map((value) => [`${name}: ${value}`, `POST / HTTP/1.1\r\n${host}${name}: ${value}\r\n\r\nhello`]),
  );
}

function perHost(hosts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    hosts.map((value) => [`Host: ${value}`, `GET / HTTP/1.1\r\nHost: ${value}\r\n\r\n`]),
  );
}

export function chunked(body: string): string {
  return `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n${body}`;
}
