/**
 * Writes field lines. Whatever version a field came from, what leaves here can not split a message: a name is a
 * lower-case token, a value holds no control character, and the fields that frame a message or name a connection
 * are never copied from the list (they are the writer's own).
 *
 * A connection's heads resemble each other, so each line is kept and used again while its field is the same string.
 */

import { ProtocolError } from '../../core/errors.ts';
import { framingNames, type FieldList } from '../http-message.ts';
import { isFieldValue, isLowerToken } from './characters.ts';

/** What an idle connection may hold for its lines. */
const memoBytesMax = 4 * 1024;

/** Taken out of the list beside `framingNames`: the writers put their own. */
const ownNames: ReadonlySet<string> = new Set([
  ...framingNames,
  'content-length',
  'sec-websocket-key',
  'sec-websocket-accept',
]);

export class FieldWriter {
  /** After `write`: what `content-length` said; -1 without one. */
  contentLength = -1;
  /** After `write`: whether `te` was among the fields. */
  hasTe = false;
  readonly #fields: string[] = [];
  readonly #lines: string[] = [];
  #memoBytes = 0;

  /** The lines, each with its CRLF. Throws ProtocolError of source `internal` at what must not leave. */
  write(fields: FieldList): string {
    let text = '';
    this.contentLength = -1;
    this.hasTe = false;
    for (let at = 0; at < fields.length; at += 2) {
      const name = fields[at]!;
      const value = fields[at + 1]!;
      if (this.#fields[at] === name && this.#fields[at + 1] === value) text += this.#lines[at >> 1]!;
      else text += this.#encode(at, name, value);
      if (name === 'content-length') this.#takeLength(value);
      else if (name === 'te') this.hasTe = true;
    }
    return text;
  }

  #encode(at: number, name: string, value: string): string {
    if (!isLowerToken(name)) throw unfit('a field name that is no lower-case token');
    if (!isFieldValue(value)) throw unfit('a control character in a field value');
    const line = ownNames.has(name) ? '' : `${name}: ${value}\r\n`;
    const index = at >> 1;
    const old = this.#lines[index];
    // Lines are kept from the first on, so that an index always finds its own.
    if (index > this.#lines.length) return line;
    const bytes = this.#memoBytes + line.length - (old?.length ?? 0);
    if (bytes > memoBytesMax) return line;
    this.#memoBytes = bytes;
    this.#fields[at] = name;
    this.#fields[at + 1] = value;
    this.#lines[index] = line;
    return line;
  }

  #takeLength(value: string): void {
    const length = Number(value);
    if (this.contentLength !== -1 || !/^[0-9]+$/.test(value) || !Number.isSafeInteger(length)) {
      throw unfit('a content-length that is not one number');
    }
    this.contentLength = length;
  }
}

/** Our own side would send what breaks the protocol: the stream ends, and nothing of it leaves. */
export function unfit(message: string): ProtocolError {
  return new ProtocolError('internal-error', message, 'internal');
}
