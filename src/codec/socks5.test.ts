import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ProtocolError } from '../core/errors.ts';
import {
  encodeCredentials,
  encodeRequest,
  encodeSocks5Reply,
  Socks5Client,
  Socks5Server,
  type Socks5Authentication,
  type Socks5Request,
} from './socks5.ts';

function bytes(text: string): Uint8Array {
  return Uint8Array.from(text.split(' ').filter(Boolean), (pair) => Number.parseInt(pair, 16));
}

/** What a server told of `chunks`; credentials are right when the password is `secret`. */
function serve(authentication: Socks5Authentication, ...chunks: Uint8Array[]): unknown[] {
  const told: unknown[] = [];
  const server = new Socks5Server(authentication);
  const sink = {
    onSend: (sent: Uint8Array) => void told.push(`send ${Buffer.from(sent).toString('hex')}`),
    onCredentials: (_username: string, password: string) => password === 'secret',
    onRequest: (request: Socks5Request) => void told.push(request),
    onRefused: () => void told.push('refused'),
  };
  for (const chunk of chunks) told.push(server.receive(chunk, sink));
  return told;
}

const noAuthentication = bytes('05 01 00');
const both = bytes('05 02 00 02');

describe('a SOCKS5 server', () => {
  it('reads a name, an IPv4 and an IPv6 address', () => {
    for (const [host, port] of [
      ['example.com', 443],
      ['192.0.2.1', 80],
      ['2001:db8::1', 65_535],
    ] as const) {
      const told = serve('none', noAuthentication, encodeRequest(host, port));
      assert.deepEqual(told[2], { command: 1, host, port });
    }
  });

  it("takes no byte behind the request: they are the tunnel's", () => {
    const request = encodeRequest('example.com', 443);
    const told = serve('none', noAuthentication, Buffer.concat([request, Buffer.from('tunnel')]));
    assert.equal(told.at(-1), request.length);
  });

  it('asks for a password where it is required, and believes only the right one', () => {
    const request = encodeRequest('example.com', 443);
    assert.deepEqual(serve('required', noAuthentication), ['send 05ff', 'refused', 3]);
    assert.equal(
      serve('required', both, encodeCredentials('me', 'secret'), request).filter(
        (each) => typeof each === 'object',
      ).length,
      1,
    );
    const wrong = serve('required', both, encodeCredentials('me', 'guess'), request);
    assert(wrong.includes('send 0101') && wrong.includes('refused'));
    assert.equal(wrong.at(-1), 0);
  });

  it('lets a client that offers a password show it where none is needed', () => {
    assert.deepEqual(serve('offered', both)[0], 'send 0502');
    assert.deepEqual(serve('offered', noAuthentication)[0], 'send 0500');
    assert.deepEqual(serve('none', both)[0], 'send 0500');
    assert.deepEqual(serve('none', bytes('05 01 02')).slice(0, 2), ['send 05ff', 'refused']);
  });

  it('takes nothing more while credentials are judged', () => {
    const server = new Socks5Server('required');
    const told: string[] = [];
    const sink = {
      onSend: (sent: Uint8Array) => void told.push(Buffer.from(sent).toString('hex')),
      onCredentials: () => 'later' as const,
      onRequest: ({ host }: Socks5Request) => void told.push(host),
      onRefused: () => void told.push('refused'),
    };
    const credentials = encodeCredentials('me', 'secret');
    const request = encodeRequest('example.com', 443);
    server.receive(both, sink);
    assert.equal(server.receive(Buffer.concat([credentials, request]), sink), credentials.length);
    assert.equal(server.receive(request, sink), 0);
    server.settle(true, sink);
    server.receive(request, sink);
    assert.deepEqual(told, ['0502', '0100', 'example.com']);
  });

  it('passes other commands on, to be refused with a reply', () => {
    const told = serve('none', noAuthentication, encodeRequest('example.com', 53, 3));
    assert.deepEqual(told[2], { command: 3, host: 'example.com', port: 53 });
    assert.equal(Buffer.from(encodeSocks5Reply(7)).toString('hex'), '05070001000000000000');
  });

  for (const [what, text] of [
    ['SOCKS4', '04 01'],
    ['no methods', '05 00'],
    ['a reserved byte', '05 01 00 05 01 01'],
    ['an unknown address type', '05 01 00 05 01 00 02'],
    ['an empty name', '05 01 00 05 01 00 03 00'],
    ['another version in the request', '05 01 00 04'],
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.throws(
        () => serve('none', bytes(text)),
        (error) => error instanceof ProtocolError && error.code === 'socks-malformed',
      );
    });
  }
});

describe('a SOCKS5 client', () => {
  it('reaches a server, in any split, with and without a password', () => {
    const hosts = fc.oneof(fc.domain(), fc.ipV4());
    const credentials = fc.constantFrom(null, { username: 'me', password: 'secret' });
    fc.assert(
      fc.property(
        hosts,
        fc.integer({ min: 1, max: 65_535 }),
        credentials,
        fc.integer({ min: 1, max: 7 }),
        (host, port, shown, size) => {
          assert.deepEqual(converse(host, port, shown, size), {
            request: { command: 1, host, port },
            reply: 0,
          });
        },
      ),
    );
  });

  it('reports a refusal and refuses nonsense', () => {
    const replies: number[] = [];
    const sink = { onSend() {}, onReply: (reply: number) => void replies.push(reply) };
    new Socks5Client({ host: 'a', port: 1, credentials: null }).receive(
      bytes('05 00 05 05 00 01 00 00 00 00 00 00'),
      sink,
    );
    new Socks5Client({ host: 'a', port: 1, credentials: null }).receive(bytes('05 ff'), sink);
    assert.deepEqual(replies, [5, 255]);
    for (const text of ['48', '05 02', '05 00 05 00 01']) {
      const client = new Socks5Client({ host: 'a', port: 1, credentials: null });
      assert.throws(() => client.receive(bytes(text), sink), ProtocolError);
    }
  });
});

/** A client and a server joined in memory, their bytes in pieces of `size`. */
function converse(
  host: string,
  port: number,
  credentials: { username: string; password: string } | null,
  size: number,
): { request?: Socks5Request; reply?: number } {
  const outcome: { request?: Socks5Request; reply?: number } = {};
  const toServer: number[] = [];
  const toClient: number[] = [];
  const client = new Socks5Client({ host, port, credentials });
  const server = new Socks5Server('offered');
  toServer.push(...client.opening());
  while (toServer.length + toClient.length > 0) {
    server.receive(Uint8Array.from(toServer.splice(0, size)), {
      onSend: (sent) => void toClient.push(...sent),
      onCredentials: (_username, password) => password === 'secret',
      onRequest: (request) => {
        outcome.request = request;
        toClient.push(...encodeSocks5Reply(0));
      },
      onRefused: () => assert.fail('refused'),
    });
    client.receive(Uint8Array.from(toClient.splice(0, size)), {
      onSend: (sent) => void toServer.push(...sent),
      onReply: (reply) => void (outcome.reply = reply),
    });
  }
  return outcome;
}
