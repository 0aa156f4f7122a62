/** What ends an HTTP/2 connection, with the code that GOAWAY carries (RFC 9113 §5.4.1). */
import { ProtocolError } from '../../core/errors.ts';
import { codecCodes } from '../codes.ts';
import type { AbuseKind } from './abuse.ts';
import { errorCodes, type ErrorCode } from './protocol.ts';

export class ConnectionError extends ProtocolError {
  readonly errorCode: ErrorCode;

  constructor(errorCode: ErrorCode, message: string) {
    super(codecCodes.http2ProtocolError, message);
    this.name = 'ConnectionError';
    this.errorCode = errorCode;
  }
}

/** The peer crossed a limit that no honest one crosses. The message is the kind. */
export class AbuseError extends ProtocolError {
  readonly errorCode: ErrorCode = errorCodes.enhanceYourCalm;

  constructor(kind: AbuseKind) {
    super(codecCodes.http2Abuse, kind);
    this.name = 'AbuseError';
  }
}
