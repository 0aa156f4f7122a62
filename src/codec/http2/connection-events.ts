/** What a connection tells its owner, the session. All calls come from inside `receive`, but where it says otherwise. */
import type { ProtocolError } from '../../core/errors.ts';
import type { HostBytes } from '../../core/bytes.ts';
import type { FieldList, RequestHead, ResponseHead } from '../http-message.ts';
import type { HeadFault } from './heads.ts';
import type { ErrorCode } from './protocol.ts';
import type { Http2Stream } from './stream.ts';

/** Why a stream ended before its time. */
export interface ResetCause {
  /** `peer`: it said so. `fault`: it broke the protocol on this stream. `ours`: what we were to send was wrong. */
  readonly kind: 'peer' | 'fault' | 'ours';
  readonly code: ErrorCode;
  /** For people; never bytes of the peer. */
  readonly detail: string;
  /** The peer certainly did nothing with the request. */
  readonly isUnprocessed: boolean;
}

export interface ConnectionEvents<S extends Http2Stream> {
  /** A request comes in: makes its record, in whatever class the owner likes. */
  newStream(id: number, sendWindow: number, receiveWindow: number): S;
  onRequest(stream: S, head: RequestHead, isEnd: boolean): void;
  /** A request that was answered or reset before it became one. */
  onRefusedRequest(fault: HeadFault): void;
  onInformational(stream: S, head: ResponseHead): void;
  onResponse(stream: S, head: ResponseHead, isEnd: boolean): void;
  /** A view, gone when this returns. As many bytes are to be consumed. */
  onStreamData(stream: S, bytes: HostBytes, isEnd: boolean): void;
  onTrailers(stream: S, fields: FieldList): void;
  onStreamEnd(stream: S): void;
  /** Also from inside `pump`. */
  onStreamDrain(stream: S): void;
  /** The stream is gone. Also from inside `sendData` and its like, for the kind `ours`. */
  onReset(stream: S, cause: ResetCause): void;
  /** A stream was taken out of the table, whatever the way. Also from inside any call. */
  onStreamGone(stream: S): void;
  onPeerSettings(isFirst: boolean): void;
  onSettingsAck(): void;
  onPong(): void;
  /** The peer takes no more streams than those up to `lastStreamId`. */
  onGoAway(lastStreamId: number, code: ErrorCode): void;
  /** The connection is lost; GOAWAY is in the output already. */
  onFailed(error: ProtocolError, code: ErrorCode): void;
  /** The output must be written now. Also from inside any call that sends. */
  onOutputFull(): void;
}
