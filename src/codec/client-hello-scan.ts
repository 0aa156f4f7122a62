/**
 * Finds the end of the first handshake message in a stream of TLS records. RFC 8446 §5.1 and §4.
 *
 * A table of states would hide how little there is: record header, handshake header, body, each of which may be cut
 * anywhere by TCP and, but for the record header, by a record's end. Every byte is looked at once, in the order of
 * the wire, so how the bytes were cut into chunks changes neither the verdict nor its code.
 */

import { ProtocolError } from '../core/errors.ts';
import { codecCodes } from './codes.ts';

export const recordHeaderBytes = 5;
export const handshakeHeaderBytes = 4;
export const tlsMajorVersion = 3;
export const recordType = { handshake: 22 } as const;
export const handshakeType = { clientHello: 1 } as const;
/** RFC 8446 §5.1: the length of a record MUST NOT exceed 2^14. */
export const recordBytesMax = 1 << 14;
/** Bounds the headers of a hello cut into tiny records. Clients that dodge filters cut it byte by byte; 517 of them are common. */
export const recordsMax = 1024;

export class HelloScan {
  /** Records begun so far. */
  recordCount = 0;
  /** Body of the handshake message, known once its header has been read. */
  bodyLength = 0;
  readonly #messageBytesMax: number;
  #recordHeaderSeen = 0;
  #recordLength = 0;
  #recordLeft = 0;
  #handshakeHeaderSeen = 0;
  #bodyLeft = 0;

  constructor(messageBytesMax: number) {
    this.#messageBytesMax = messageBytesMax;
  }

  /** True when the message ends within `bytes`; what follows its record is not looked at. */
  advance(bytes: Uint8Array): boolean {
    for (let at = 0; at < bytes.length;) {
      if (this.#recordLeft === 0) {
        this.#recordHeaderByte(bytes[at++]!);
        continue;
      }
      at +=
        this.#handshakeHeaderSeen < handshakeHeaderBytes
          ? this.#handshakeHeaderByte(bytes[at]!)
          : this.#skipBody(bytes.length - at);
      if (this.#handshakeHeaderSeen < handshakeHeaderBytes || this.#bodyLeft > 0) continue;
      // What follows a hello is under new keys or waits for the server, so it begins a record (RFC 8446 §5.1).
      if (this.#recordLeft > 0) throw malformed('the record goes on after the ClientHello');
      return true;
    }
    return false;
  }

  #recordHeaderByte(byte: number): void {
    switch (this.#recordHeaderSeen++) {
      case 0:
        this.recordCount++;
        if (byte !== recordType.handshake) throw this.#notHandshake('a record is no handshake record');
        if (this.recordCount > recordsMax)
          throw oversized(`the ClientHello takes over ${recordsMax} records`);
        return;
      case 1:
        if (byte !== tlsMajorVersion) throw this.#notHandshake('a record is of no version 3.x');
        return;
      case 2:
        return; // The minor version of a record MUST be ignored (RFC 8446 §5.1).
      case 3:
        this.#recordLength = byte << 8;
        return;
      default:
        this.#recordLength |= byte;
        // Zero-length fragments of handshake types MUST NOT be sent; here they would also trickle for free.
        if (this.#recordLength === 0) throw malformed('a handshake record is empty');
        if (this.#recordLength > recordBytesMax) throw malformed('a record is longer than 2^14 bytes');
        this.#recordLeft = this.#recordLength;
        this.#recordHeaderSeen = 0;
    }
  }

  #handshakeHeaderByte(byte: number): 1 {
    if (this.#handshakeHeaderSeen === 0) {
      if (byte !== handshakeType.clientHello)
        throw malformed('the first handshake message is no ClientHello');
    } else {
      this.bodyLength = (this.bodyLength << 8) | byte;
    }
    if (++this.#handshakeHeaderSeen === handshakeHeaderBytes) {
      const limit = this.#messageBytesMax;
      if (handshakeHeaderBytes + this.bodyLength > limit)
        throw oversized(`the ClientHello is over ${limit} bytes`);
      this.#bodyLeft = this.bodyLength;
    }
    this.#recordLeft--;
    return 1;
  }

  #skipBody(available: number): number {
    const count = Math.min(this.#bodyLeft, this.#recordLeft, available);
    this.#bodyLeft -= count;
    this.#recordLeft -= count;
    return count;
  }

  /** The first record tells what the peer speaks; a later one breaks the message that the first began. */
  #notHandshake(message: string): ProtocolError {
    return this.recordCount === 1 ? new ProtocolError(codecCodes.notTls, message) : malformed(message);
  }
}

/** The message out of records that a HelloScan has found complete, without their headers. */
export function gatherMessage(raw: Uint8Array, messageLength: number): Uint8Array {
  const message = new Uint8Array(messageLength);
  let filled = 0;
  for (let at = 0; filled < messageLength;) {
    const length = (raw[at + 3]! << 8) | raw[at + 4]!;
    const start = at + recordHeaderBytes;
    message.set(raw.subarray(start, start + length), filled);
    filled += length;
    at = start + length;
  }
  return message;
}

function malformed(message: string): ProtocolError {
  return new ProtocolError(codecCodes.helloMalformed, message);
}

function oversized(message: string): ProtocolError {
  return new ProtocolError(codecCodes.helloOversized, message);
}
