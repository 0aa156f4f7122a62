import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readHelloBody } from './client-hello-body.ts';
import { recordsMax } from './client-hello-scan.ts';
import { ClientHelloReader, type ClientHello } from './client-hello.ts';
import { capturedHellos } from './testing/captured-hellos.ts';
import * as build from './testing/client-hello-builder.ts';
import { bytewise, hostBytes, verdictOf, type Verdict } from './testing/verdict.ts';

function read(bytes: Uint8Array, cuts: readonly number[] = [], bytesMax?: number): Verdict<ClientHello> {
  const reader = new ClientHelloReader(bytesMax);
  return verdictOf((chunk) => reader.receive(chunk), Buffer.from(bytes), cuts);
}

function answer(bytes: Uint8Array, cuts?: readonly number[]): ClientHello {
  const verdict = read(bytes, cuts);
  assert.equal(verdict.kind, 'answer', JSON.stringify(verdict));
  return (verdict as { answer: ClientHello }).answer;
}

function refuses(bytes: Uint8Array, code: string, message?: RegExp): void {
  for (const cuts of [[], bytewise(bytes.length)]) {
    const verdict = read(bytes, cuts);
    assert.equal(verdict.kind, 'refused', JSON.stringify(verdict));
    const refusal = verdict as { code: string; message: string };
    assert.equal(refusal.code, code);
    if (message !== undefined) assert.match(refusal.message, message);
  }
}

function hello(...extensions: build.HelloExtension[]): Uint8Array {
  return build.records(build.helloMessage({ extensions }));
}

const bytes = (...values: number[]) => Uint8Array.from(values);

describe('a ClientHello that is read', () => {
  for (const captured of capturedHellos) {
    it(`is what was sent by ${captured.command}`, () => {
      const raw = Buffer.from(captured.hex, 'hex');
      assert.deepEqual(answer(raw), captured.hello);
      assert.deepEqual(answer(raw, bytewise(raw.length)), captured.hello);
    });
  }

  it('has GREASE everywhere, as browsers send it', () => {
    assert.deepEqual(answer(build.records(build.helloMessage(build.browserHello('app.example.com')))), {
      serverName: 'app.example.com',
      alpn: ['h2', 'http/1.1'],
      encryptedClientHello: true,
      versionMax: 0x0304,
    });
  });

  it('is larger than a TCP segment for its post-quantum key share, and is cut there', () => {
    const raw = build.records(build.helloMessage(build.browserHello('pq.example.com', 1216)));
    assert.ok(raw.length > 1460 + 100);
    assert.equal(answer(raw, [1460]).serverName, 'pq.example.com');
  });

  it('is cut into records in the middle of its name, all in one segment', () => {
    const message = build.helloMessage(build.browserHello('cut.example.com'));
    const nameAt = Buffer.from(message).indexOf('cut.example.com');
    assert.equal(answer(build.records(message, [nameAt + 3])).serverName, 'cut.example.com');
  });

  it('comes as one record for each byte, one segment for each byte', () => {
    const message = build.helloMessage(build.browserHello('tiny.example.com'));
    const raw = build.records(message, bytewise(message.length).fill(1));
    assert.equal(answer(raw, bytewise(raw.length)).serverName, 'tiny.example.com');
    assert.equal(answer(raw).serverName, 'tiny.example.com');
  });

  it('has no extensions at all, as old clients send it', () => {
    const none = { serverName: undefined, alpn: [], encryptedClientHello: false, versionMax: 0x0301 };
    assert.deepEqual(answer(build.records(build.helloMessage({ legacyVersion: 0x0301 }))), none);
    assert.deepEqual(
      answer(build.records(build.helloMessage({ legacyVersion: 0x0301, extensions: [] }))),
      none,
    );
  });

  it('spells its name in capitals and with a trailing dot', () => {
    assert.equal(answer(hello(build.serverNameExtension('App.Example.COM.'))).serverName, 'app.example.com');
  });

  it('names an IP address, which RFC 6066 forbids and TLS libraries accept', () => {
    assert.equal(answer(hello(build.serverNameExtension('192.0.2.1'))).serverName, '192.0.2.1');
    assert.equal(answer(hello(build.serverNameExtension('2001:DB8::1'))).serverName, '2001:db8::1');
  });

  it('offers GREASE and odd protocols', () => {
    const odd = ['\x0a\x0a', 'h2', '\xfa\xfa', '\x0a\x1a', 'http 1.1', 'spdy/3.1', '\xff\x00'];
    const { alpn } = answer(hello(build.alpnExtension(odd)));
    assert.deepEqual(alpn, ['h2', '\x0a\x1a', 'http 1.1', 'spdy/3.1', '\xff\x00']);
  });

  it('offers drafts and GREASE beside TLS 1.2, or nothing but them', () => {
    assert.equal(
      answer(hello(build.supportedVersionsExtension([0xfafa, 0x7f1c, 0x0303, 0x0302]))).versionMax,
      0x0303,
    );
    assert.equal(answer(hello(build.supportedVersionsExtension([0xfafa, 0x7f1c]))).versionMax, 0x0303);
  });

  it('carries the inner form of ECH, which hides nothing more', () => {
    assert.equal(answer(hello({ type: 0xfe0d, data: bytes(1) })).encryptedClientHello, false);
  });

  it('does not disturb the reading of bytes beyond its end', () => {
    const message = build.helloMessage({ extensions: [build.serverNameExtension('a.example')] });
    const framed = Buffer.concat([Buffer.alloc(7, 0xee), message, Buffer.alloc(7, 0xee)]);
    assert.equal(readHelloBody(framed, 7 + 4, 7 + message.length).serverName, 'a.example');
  });
});

describe('what the reader keeps', () => {
  const raw = build.records(build.helloMessage(build.browserHello('app.example.com')));
  const earlyData = build.record(Buffer.alloc(500, 0xab), 23);

  it('is nothing when the first chunk holds the whole hello, in one record or several', () => {
    for (const lengths of [[], [100, 100]]) {
      const reader = new ClientHelloReader();
      const message = build.helloMessage(build.browserHello('app.example.com'));
      assert.ok(reader.receive(hostBytes(Buffer.concat([build.records(message, lengths), earlyData]))));
      assert.equal(reader.buffered, undefined);
    }
  });

  it('is every byte in order, early data behind the hello included', () => {
    const all = Buffer.concat([raw, earlyData]);
    const reader = new ClientHelloReader();
    const verdict = verdictOf((chunk) => reader.receive(chunk), Buffer.from(all), [1, 2, 300]);
    assert.equal(verdict.kind, 'answer');
    assert.deepEqual(Buffer.from(reader.buffered!), all);
  });

  it('never passes the limit, whatever trickles in', () => {
    const message = build.helloMessage({ extensions: [build.paddingExtension(16_000)] });
    const tiny = build.records(
      message,
      Array.from({ length: recordsMax - 1 }, () => 1),
    );
    const reader = new ClientHelloReader(16_384);
    for (let at = 0; at < tiny.length - 1; at += 7) {
      reader.receive(hostBytes(Buffer.from(tiny.subarray(at, Math.min(at + 7, tiny.length - 1)))));
      assert.ok(reader.buffered!.length <= 16_384 + 5 * recordsMax);
      assert.ok(reader.buffered!.buffer.byteLength <= 16_384 + 5 * recordsMax);
    }
    assert.ok(reader.receive(hostBytes(Buffer.from(tiny.subarray(-1)))));
  });

  it('takes no second hello', () => {
    const reader = new ClientHelloReader();
    reader.receive(hostBytes(Buffer.from(raw)));
    assert.throws(() => reader.receive(hostBytes(Buffer.from(raw))), { name: 'AssertionError' });
  });
});

describe('refused as not-tls', () => {
  const strangers = {
    'an HTTP request': Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    'an SSH banner': Buffer.from('SSH-2.0-OpenSSH_9.2\r\n'),
    'an SSLv2 hello': bytes(0x80, 0x2e, 0x01, 0x03, 0x01),
    'a TLS alert': bytes(21, 3, 3, 0, 2, 2, 40),
    'application data': bytes(23, 3, 3, 0, 1, 0),
    'a handshake record of version 2': bytes(22, 2, 0, 0, 10),
    'a PROXY header where none is expected': Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n'),
  };
  for (const [name, sent] of Object.entries(strangers)) it(name, () => refuses(sent, 'not-tls'));

  it('at the first byte, before the client is asked for a second', () => {
    assert.equal(read(Buffer.from('G')).kind, 'refused');
    assert.equal(read(bytes(22)).kind, 'more');
    assert.equal(read(bytes(22, 2)).kind, 'refused');
  });
});

describe('refused as hello-oversized', () => {
  it('a message longer than the limit, as soon as its header tells', () => {
    refuses(bytes(22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfd), 'hello-oversized');
    assert.equal(read(bytes(22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc)).kind, 'more');
  });

  it('a message longer than a smaller limit, and none that just fits it', () => {
    const message = build.helloMessage(build.browserHello('app.example.com'));
    assert.equal(read(build.records(message), [], message.length).kind, 'answer');
    const verdict = read(build.records(message), [], message.length - 1);
    assert.deepEqual(verdict.kind === 'refused' && verdict.code, 'hello-oversized');
  });

  it('a message in more records than anyone needs', () => {
    const message = build.helloMessage({ extensions: [build.paddingExtension(2000)] });
    refuses(
      build.records(
        message,
        Array.from({ length: recordsMax }, () => 1),
      ),
      'hello-oversized',
      /records/,
    );
  });
});

describe('refused as hello-malformed', () => {
  const message = build.helloMessage(build.browserHello('app.example.com'));
  const name = (data: Uint8Array) => hello({ type: 0, data: build.vector16(data) });
  const extension = (type: number, ...data: number[]) => hello({ type, data: bytes(...data) });
  const cases: Record<string, [Uint8Array, RegExp]> = {
    'an empty record': [bytes(22, 3, 1, 0, 0), /empty/],
    'an empty record in the middle': [
      Buffer.concat([build.record(message.subarray(0, 9)), bytes(22, 3, 1, 0, 0)]),
      /empty/,
    ],
    'a record longer than 2^14': [bytes(22, 3, 1, 0x40, 1), /2\^14/],
    'a record of another type between two fragments': [
      Buffer.concat([build.record(message.subarray(0, 9)), build.record(bytes(1, 0), 21)]),
      /no handshake/,
    ],
    'a fragment of another major version': [
      Buffer.concat([build.record(message.subarray(0, 9)), bytes(22, 4)]),
      /version/,
    ],
    'a ServerHello': [build.records(build.handshake(2, new Uint8Array(50))), /no ClientHello/],
    'a second message in the record of the hello': [
      build.record(Buffer.concat([message, bytes(20, 0)])),
      /goes on/,
    ],
    'an empty body': [build.records(build.handshake(1, new Uint8Array(0))), /session id/],
    'a session id of 33 bytes': [
      build.records(build.helloMessage({ sessionId: new Uint8Array(33) })),
      /session id/,
    ],
    'no cipher suites': [build.records(build.helloMessage({ cipherSuites: [] })), /cipher suites/],
    'no compression methods': [build.records(build.helloMessage({ compressionMethods: [] })), /compression/],
    'bytes behind the extensions': [
      build.records(build.handshake(1, build.joined(message.subarray(4), bytes(0)))),
      /do not fill/,
    ],
    'two server_name extensions': [
      hello(build.serverNameExtension('a.example'), build.serverNameExtension('b.example')),
      /twice/,
    ],
    'two ALPN extensions': [hello(build.alpnExtension(['h2']), build.alpnExtension(['h2'])), /twice/],
    'two host names': [
      name(build.joined(build.hostNameEntry('a.example'), build.hostNameEntry('b.example'))),
      /exactly one/,
    ],
    'a name of an unknown type': [name(build.hostNameEntry('a.example', 1)), /unknown type/],
    'an empty server_name extension': [extension(0), /wrong length/],
    'an empty list of names': [name(new Uint8Array(0)), /wrong length/],
    'an empty host name': [name(build.hostNameEntry('')), /no host name/],
    'a host name of nothing but a dot': [name(build.hostNameEntry('.')), /no host name/],
    'a host name with an empty label': [name(build.hostNameEntry('a..example')), /no host name/],
    'a host name of 255 characters': [name(build.hostNameEntry(`${'a.'.repeat(127)}a`)), /over 253/],
    'a list of names that ends early': [extension(0, 0, 4, 0, 0, 1, 0x61, 0x61), /wrong length/],
    'an ALPN list that is empty': [extension(16, 0, 0), /wrong length/],
    'an empty ALPN protocol': [hello(build.alpnExtension(['h2', ''])), /empty/],
    'an ALPN protocol longer than its list': [extension(16, 0, 3, 5, 0x68, 0x32), /passes the end/],
    'an odd supported_versions': [extension(43, 3, 3, 4, 3), /wrong length/],
    'an empty supported_versions': [extension(43, 0), /wrong length/],
    'an empty ECH': [extension(0xfe0d), /empty/],
    'an ECH of an unknown form': [extension(0xfe0d, 2), /unknown form/],
    'an ECH without payload': [extension(0xfe0d, 0, 0, 1, 0, 1, 7, 0, 0, 0, 0), /payload/],
    'an ECH that is cut short': [extension(0xfe0d, 0, 0, 1, 0, 1, 7, 0, 9, 0), /cut short/],
  };
  for (const [story, [sent, message]] of Object.entries(cases)) {
    it(story, () => refuses(sent, 'hello-malformed', message));
  }

  for (const odd of ['\0', ' ', '\n', '\x1b', '\x7f', '\x80', '/', '*', '@', '%']) {
    it(`a host name with ${JSON.stringify(odd)}`, () => {
      refuses(hello(build.serverNameExtension(`app${odd}x.example.com`)), 'hello-malformed', /no host name/);
      refuses(hello(build.serverNameExtension(`${odd}.example.com`)), 'hello-malformed', /no host name/);
    });
  }

  it('a real hello cut short anywhere, its outer lengths made to fit', () => {
    const body = message.subarray(4);
    for (let length = 0; length < body.length; length++) {
      const verdict = read(build.records(build.handshake(1, body.subarray(0, length))));
      // Cut right before the extensions block it is a hello of an old client.
      const isOldHello = verdict.kind === 'answer' && verdict.answer.serverName === undefined;
      assert.ok(verdict.kind === 'refused' || isOldHello, `cut at ${length}`);
    }
  });
});
