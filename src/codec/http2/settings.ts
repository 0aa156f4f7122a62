/** SETTINGS of the peer: RFC 9113 §6.5.2, RFC 8441 §3. */
import { ConnectionError } from './errors.ts';
import {
  errorCodes,
  frameBytesDefault,
  frameBytesLimit,
  settingIds,
  windowBytesDefault,
  windowBytesLimit,
} from './protocol.ts';

export class PeerSettings {
  headerTableBytes = 4096;
  /** Infinity: the peer named none. */
  streamsMax = Infinity;
  windowBytes = windowBytesDefault;
  frameBytesMax = frameBytesDefault;
  listBytesMax = Infinity;
  hasExtendedConnect = false;

  /** One setting; an unknown one is ignored (§6.5.2). `isServer`: the peer is. */
  apply(id: number, value: number, isServer: boolean): void {
    switch (id) {
      case settingIds.headerTableSize:
        this.headerTableBytes = value;
        break;
      case settingIds.enablePush:
        // A server that sends 1 breaks the protocol (§6.5.2).
        if (value > 1 || (isServer && value !== 0))
          throw new ConnectionError(errorCodes.protocolError, 'a bad ENABLE_PUSH');
        break;
      case settingIds.maxConcurrentStreams:
        this.streamsMax = value;
        break;
      case settingIds.initialWindowSize:
        if (value > windowBytesLimit)
          throw new ConnectionError(errorCodes.flowControlError, 'an initial window above the limit');
        this.windowBytes = value;
        break;
      case settingIds.maxFrameSize:
        if (value < frameBytesDefault || value > frameBytesLimit)
          throw new ConnectionError(errorCodes.protocolError, 'a bad MAX_FRAME_SIZE');
        this.frameBytesMax = value;
        break;
      case settingIds.maxHeaderListSize:
        this.listBytesMax = value;
        break;
      case settingIds.enableConnectProtocol:
        // Once allowed it stays allowed (RFC 8441 §3).
        if (value > 1 || (value === 0 && this.hasExtendedConnect))
          throw new ConnectionError(errorCodes.protocolError, 'a bad ENABLE_CONNECT_PROTOCOL');
        this.hasExtendedConnect = value === 1;
        break;
    }
  }
}
