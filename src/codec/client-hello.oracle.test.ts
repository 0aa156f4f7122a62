/**
 * The verdict on a ClientHello held against an independent implementation: OpenSSL, by way of Node's TLS server.
 *
 * OpenSSL reads on where we stop (key shares, signatures), so it refuses hellos that we route: the backend will. The
 * other way round each difference is one of `stricter`, with its reason. Whenever both accept, both read the same name
 * and the same protocols, which is what routing by them rests on.
 */

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { Duplex } from 'node:stream';
import { before, describe, it } from 'node:test';
import tls from 'node:tls';
import fc from 'fast-check';
import { ClientHelloReader, type ClientHello } from './client-hello.ts';
import { capturedHellos } from './testing/captured-hellos.ts';
import { hostBytes, verdictOf } from './testing/verdict.ts';

/** What OpenSSL accepts and we refuse, by the message of the refusal. */
const stricter: readonly { readonly message: RegExp; readonly because: string }[] = [
  {
    message: /server_name is no host name|server_name is over 253/,
    because: 'OpenSSL takes any 1 to 255 bytes without NUL as a name; a route could never mean them',
  },
  { message: /encrypted_client_hello/, because: 'OpenSSL 3.5 does not know ECH, so it skips the extension' },
  {
    message: /after the ClientHello/,
    because: 'before TLS 1.3 OpenSSL reports what follows only once it reads it',
  },
  {
    message: /is of no version 3\.x/,
    because: 'OpenSSL looks at the version of a later record only after it has negotiated one',
  },
];

interface OracleAnswer {
  accepted: boolean;
  serverName: string | undefined;
  alpn: string[] | undefined;
}

/** OpenSSL answers what we accept, if only with an alert. */
const patienceMs = 5_000;
/** Silence is an answer where we refuse or wait: OpenSSL may want the rest of a record first. */
const silenceMs = 20;

let credentials: { key: string; cert: string };

before(() => {
  const args = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '2',
  ];
  const pem = execFileSync('openssl', [...args, '-subj', '/CN=oracle', '-keyout', '-', '-out', '-'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  credentials = { key: pem, cert: pem };
});

describe('the verdict of OpenSSL', () => {
  it('agrees on every captured hello', async () => {
    for (const captured of capturedHellos) {
      const oracle = await askOpenssl(Buffer.from(captured.hex, 'hex'));
      assert.equal(oracle.accepted, true, captured.command);
      agree(captured.hello, oracle);
    }
  });

  it('agrees on hellos that s_client sends today', async () => {
    for (const flags of [
      ['-tls1_3', '-servername', 'one.example.com', '-alpn', 'h2'],
      ['-tls1_2', '-servername', 'TWO.example.com'],
      ['-noservername', '-alpn', 'http/1.1,h2'],
    ]) {
      const raw = await sentByOpenssl(flags);
      const hello = new ClientHelloReader().receive(hostBytes(raw));
      assert.ok(hello !== undefined);
      agree(hello, await askOpenssl(raw));
    }
  });

  it('agrees on captured hellos with bytes changed, save for the listed differences', async () => {
    const raws = capturedHellos.map((captured) => Buffer.from(captured.hex, 'hex'));
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...raws),
        fc.array(fc.tuple(changedPlace, fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 2 }),
        async (raw, changes) => {
          const bytes = Buffer.from(raw);
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          await holdAgainstOracle(bytes);
        },
      ),
      { numRuns: 250 },
    );
  });

  it('agrees on hellos cut into records', async () => {
    for (const captured of capturedHellos) {
      const message = Buffer.from(captured.hex, 'hex').subarray(5);
      for (const size of [1, 50]) {
        const parts = [];
        for (let at = 0; at < message.length; at += size) {
          const part = message.subarray(at, at + size);
          parts.push(Buffer.from([22, 3, 1, 0, part.length]), part);
        }
        if (parts.length / 2 > 1024) continue;
        const raw = Buffer.concat(parts);
        agree(new ClientHelloReader().receive(hostBytes(raw))!, await askOpenssl(raw));
      }
    }
  });
});

/** Headers and the extensions, where the lengths are, oftener than randoms and keys. */
const changedPlace = fc.oneof(
  fc.integer({ min: 0, max: 12 }),
  fc.integer({ min: 40, max: 330 }),
  fc.nat(2000),
);

async function holdAgainstOracle(bytes: Buffer): Promise<void> {
  const reader = new ClientHelloReader();
  const ours = verdictOf((chunk) => reader.receive(chunk), Buffer.from(bytes), []);
  const oracle = await askOpenssl(bytes, ours.kind === 'answer' ? patienceMs : silenceMs);
  if (ours.kind === 'answer') {
    agree(ours.answer, oracle);
  } else if (oracle.accepted) {
    assert.equal(ours.kind, 'refused', 'OpenSSL answered a hello that we hold for incomplete');
    const { message } = ours as { message: string };
    const listed = stricter.some((difference) => difference.message.test(message));
    assert.ok(listed, `we refuse, OpenSSL accepts: ${message}`);
  }
}

/** The name and the protocols, as far as OpenSSL came to them. */
function agree(hello: ClientHello, oracle: OracleAnswer): void {
  if (oracle.serverName !== undefined) {
    assert.equal(hello.serverName, oracle.serverName.toLowerCase().replace(/\.$/, ''));
  } else if (oracle.accepted) {
    assert.equal(hello.serverName, undefined);
  }
  if (oracle.alpn === undefined) return;
  const kept = oracle.alpn.filter((protocol) => !isGrease(protocol));
  assert.deepEqual(hello.alpn.map(sevenBits), kept);
}

/** Node clears the upper bit of every byte of a protocol's name. */
function sevenBits(protocol: string): string {
  return Buffer.from(protocol, 'latin1').toString('ascii');
}

function isGrease(protocol: string): boolean {
  return protocol.length === 2 && protocol[0] === protocol[1] && (protocol.charCodeAt(0) & 0x0f) === 0x0a;
}

/** Accepted means answered with a handshake record, a ServerHello or a request to retry, rather than with an alert. */
async function askOpenssl(bytes: Buffer, waitMs = patienceMs): Promise<OracleAnswer> {
  const answer: OracleAnswer = { accepted: false, serverName: undefined, alpn: undefined };
  const server = tls.createServer({
    ...credentials,
    minVersion: 'TLSv1.2',
    SNICallback: (name, done) => {
      answer.serverName = name;
      done(null);
    },
    ALPNCallback: ({ protocols }) => {
      answer.alpn = protocols;
      return protocols[0];
    },
  });
  const wire = new Duplex({
    read: () => {},
    write: (chunk: Buffer, _encoding, done) => {
      if (chunk[0] === 22) answer.accepted = true;
      done();
      finish();
    },
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  const finish = () => {
    wire.destroy();
    resolve();
  };
  server.once('tlsClientError', finish);
  wire.on('error', finish);
  wire.on('close', finish);
  server.emit('connection', wire);
  wire.push(bytes);
  const timer = setTimeout(finish, waitMs);
  await promise;
  clearTimeout(timer);
  return answer;
}

async function sentByOpenssl(flags: string[]): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, ...flags], {
    stdio: 'ignore',
  });
  try {
    const [socket] = await once(server, 'connection');
    const [chunk] = await once(socket, 'data');
    socket.destroy();
    return chunk;
  } finally {
    server.close();
    if (client.exitCode === null) await once(client, 'exit');
  }
}
