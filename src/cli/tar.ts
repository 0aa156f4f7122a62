/**
 * A tar archive as a stream of bytes: POSIX ustar, plain files only, owned by nobody. What is written is known whole
 * before its header, as the format demands.
 */

import { createReadStream } from 'node:fs';

export interface TarEntry {
  /** At most 100 bytes of ASCII, without a leading slash. */
  readonly name: string;
  readonly content: Buffer | TarFile;
}

/** A file on the disk, of which exactly `bytes` go into the archive. */
export interface TarFile {
  readonly path: string;
  readonly bytes: number;
}

const blockBytes = 512;
/** Eleven octal digits. */
const entryBytesMax = 8 * 2 ** 30 - 1;
const nameBytesMax = 100;

export async function* tarArchive(entries: Iterable<TarEntry>, modifiedAt: Date): AsyncGenerator<Buffer> {
  for (const { name, content } of entries) {
    const bytes = Buffer.isBuffer(content) ? content.length : content.bytes;
    yield tarHeader(name, bytes, modifiedAt);
    if (Buffer.isBuffer(content)) yield content;
    else yield* exactly(content);
    yield Buffer.alloc(-bytes & (blockBytes - 1));
  }
  yield Buffer.alloc(2 * blockBytes);
}

/** A file that shrinks meanwhile would shift all that follows, so it ends the archive instead. */
async function* exactly({ path, bytes }: TarFile): AsyncGenerator<Buffer> {
  let left = bytes;
  if (bytes === 0) return;
  for await (const chunk of createReadStream(path, { end: bytes - 1 })) {
    left -= (chunk as Buffer).length;
    yield chunk as Buffer;
  }
  if (left !== 0) throw new Error(`${path} became shorter while it was read`);
}

function tarHeader(name: string, bytes: number, modifiedAt: Date): Buffer {
  if (Buffer.byteLength(name) > nameBytesMax) throw new RangeError(`the name ${name} is too long for tar`);
  if (bytes > entryBytesMax) throw new RangeError(`${name} is too large for tar`);
  const header = Buffer.alloc(blockBytes);
  const octal = (value: number, digits: number, at: number): void => {
    header.write(`${value.toString(8).padStart(digits, '0')}\0`, at, 'latin1');
  };
  header.write(name, 0, 'latin1');
  octal(0o600, 7, 100);
  octal(0, 7, 108);
  octal(0, 7, 116);
  octal(bytes, 11, 124);
  octal(Math.floor(modifiedAt.getTime() / 1_000), 11, 136);
  // The checksum counts its own field as spaces.
  header.write('        0', 148, 'latin1');
  header.write('ustar\u000000', 257, 'latin1');
  let sum = 0;
  for (const byte of header) sum += byte;
  octal(sum, 6, 148);
  return header;
}
