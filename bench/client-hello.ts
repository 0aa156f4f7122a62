// Builds canned ClientHello records, so that every proxy routes by SNI and no crypto enters a figure.
// The shape is what current TLS 1.3 clients send, padded to 517 bytes. RFC 8446 §4.1.2, RFC 6066 §3.

const RECORD_BYTES = 517;

const CIPHER_SUITES = [0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8];
const GROUPS = [0x001d, 0x0017, 0x0018];
const SIGNATURE_SCHEMES = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];
const VERSIONS = [0x0304, 0x0303];

/** One whole TLS record holding a ClientHello for `hostname`; the same bytes for the same name. */
export function clientHello(hostname: string): Buffer {
  const bare = record(handshake(hostname, 0));
  const paddingBytes = Math.max(0, RECORD_BYTES - bare.length - 4);
  return paddingBytes > 0 ? record(handshake(hostname, paddingBytes)) : bare;
}

function record(body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0x16, 0x03, 0x01]), u16(body.length), body]);
}

function handshake(hostname: string, paddingBytes: number): Buffer {
  const name = Buffer.from(hostname, 'latin1');
  const extensions = Buffer.concat([
    extension(0, sized16(Buffer.concat([Buffer.from([0]), sized16(name)]))),
    extension(23, Buffer.alloc(0)),
    extension(0xff01, Buffer.from([0])),
    extension(10, sized16(list16(GROUPS))),
    extension(11, Buffer.from([1, 0])),
    extension(35, Buffer.alloc(0)),
    extension(16, sized16(Buffer.concat([sized8(Buffer.from('h2')), sized8(Buffer.from('http/1.1'))]))),
    extension(13, sized16(list16(SIGNATURE_SCHEMES))),
    extension(51, sized16(Buffer.concat([u16(GROUPS[0]!), sized16(Buffer.alloc(32, 0x42))]))),
    extension(45, sized8(Buffer.from([1]))),
    extension(43, sized8(list16(VERSIONS))),
    paddingBytes > 0 ? extension(21, Buffer.alloc(paddingBytes)) : Buffer.alloc(0),
  ]);
  const body = Buffer.concat([
    u16(0x0303),
    Buffer.alloc(32, 0x17),
    sized8(Buffer.alloc(32, 0x2a)),
    sized16(list16(CIPHER_SUITES)),
    sized8(Buffer.from([0])),
    sized16(extensions),
  ]);
  return Buffer.concat([Buffer.from([1, body.length >> 16]), u16(body.length & 0xffff), body]);
}

function extension(type: number, body: Buffer): Buffer {
  return Buffer.concat([u16(type), sized16(body)]);
}

function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

function list16(values: readonly number[]): Buffer {
  return Buffer.concat(values.map(u16));
}

function sized8(body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([body.length]), body]);
}

function sized16(body: Buffer): Buffer {
  return Buffer.concat([u16(body.length), body]);
}
