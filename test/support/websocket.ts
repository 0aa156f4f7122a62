/**
 * As much of WebSocket (RFC 6455) as tests need: an origin that echoes messages, and a client over any byte stream.
 * Frames are whole and below 64 KiB.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

const magic = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const opcodes = { text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export interface Frame {
  readonly opcode: number;
  readonly payload: Buffer;
}

/** An origin's answer to an upgrade: 101, then every message comes back, a ping as a pong, a close as a close. */
export function acceptWebSocket(request: IncomingMessage, socket: Duplex): void {
  const key = request.headers['sec-websocket-key'] ?? '';
  const accept = createHash('sha1')
    .update(key + magic)
    .digest('base64');
  const protocol = request.headers['sec-websocket-protocol'];
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      `Sec-WebSocket-Accept: ${accept}\r\n` +
      `${protocol === undefined ? '' : `Sec-WebSocket-Protocol: ${protocol.split(',')[0]}\r\n`}\r\n`,
  );
  socket.on('error', () => undefined);
  readFrames(socket, ({ opcode, payload }) => {
    socket.write(encodeFrame(opcode === opcodes.ping ? opcodes.pong : opcode, payload, false));
    if (opcode === opcodes.close) socket.end();
  });
}

/** A client after its handshake: sends masked frames, hands out what comes. */
export class WebSocketPeer {
  readonly #stream: Duplex;
  readonly #frames: Frame[] = [];
  readonly #waiting: ((frame: Frame) => void)[] = [];

  constructor(stream: Duplex, already: Buffer = Buffer.alloc(0)) {
    this.#stream = stream;
    stream.on('error', () => undefined);
    readFrames(
      stream,
      (frame) => {
        const next = this.#waiting.shift();
        if (next === undefined) this.#frames.push(frame);
        else next(frame);
      },
      already,
    );
  }

  send(message: string | Buffer): void {
    const opcode = typeof message === 'string' ? opcodes.text : opcodes.binary;
    this.#stream.write(encodeFrame(opcode, Buffer.from(message), true));
  }

  ping(): void {
    this.#stream.write(encodeFrame(opcodes.ping, Buffer.from('ping'), true));
  }

  close(code: number): void {
    const payload = Buffer.alloc(2);
    payload.writeUInt16BE(code);
    this.#stream.write(encodeFrame(opcodes.close, payload, true));
  }

  async next(): Promise<Frame> {
    return this.#frames.shift() ?? new Promise((resolve) => this.#waiting.push(resolve));
  }
}

/** The fields of a client's handshake over HTTP/1.1, and what must come back. */
export function webSocketHandshake(): { fields: Record<string, string>; accept: string } {
  const key = randomBytes(16).toString('base64');
  const fields = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': key,
  };
  return {
    fields,
    accept: createHash('sha1')
      .update(key + magic)
      .digest('base64'),
  };
}

function encodeFrame(opcode: number, payload: Buffer, isMasked: boolean): Buffer {
  const mask = isMasked ? randomBytes(4) : Buffer.alloc(0);
  const bit = isMasked ? 0x80 : 0;
  const head =
    payload.length < 126
      ? Buffer.from([0x80 | opcode, bit | payload.length])
      : Buffer.from([0x80 | opcode, bit | 126, payload.length >> 8, payload.length & 0xff]);
  const body = isMasked ? payload.map((byte, i) => byte ^ mask[i & 3]!) : payload;
  return Buffer.concat([head, mask, body]);
}

function readFrames(
  stream: Duplex,
  onFrame: (frame: Frame) => void,
  already: Buffer = Buffer.alloc(0),
): void {
  let unread: Buffer = Buffer.alloc(0);
  const take = (chunk: Buffer): void => {
    unread = Buffer.concat([unread, chunk]);
    for (let size = frameSize(unread); size > 0 && size <= unread.length; size = frameSize(unread)) {
      onFrame(decodeFrame(unread.subarray(0, size)));
      unread = unread.subarray(size);
    }
  };
  take(already);
  stream.on('data', take);
}

/** Of the frame that begins here; 0 while its head is not whole. */
function frameSize(bytes: Buffer): number {
  if (bytes.length < 4)
    return bytes.length >= 2 && (bytes[1]! & 0x7f) <= 2 && bytes[1]! < 0x80 ? 2 + bytes[1]! : 0;
  const short = bytes[1]! & 0x7f;
  const maskBytes = bytes[1]! & 0x80 ? 4 : 0;
  return short < 126 ? 2 + maskBytes + short : 4 + maskBytes + bytes.readUInt16BE(2);
}

function decodeFrame(bytes: Buffer): Frame {
  const short = bytes[1]! & 0x7f;
  const isMasked = (bytes[1]! & 0x80) !== 0;
  const at = short < 126 ? 2 : 4;
  const mask = bytes.subarray(at, at + 4);
  const body = bytes.subarray(isMasked ? at + 4 : at);
  const payload = isMasked ? body.map((byte, i) => byte ^ mask[i & 3]!) : body;
  return { opcode: bytes[0]! & 0x0f, payload: Buffer.from(payload) };
}
