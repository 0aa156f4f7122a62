/** ClientHellos ready to send, in the shape of a browser's. */
import { browserHello, helloMessage, records } from '../../src/codec/testing/client-hello-builder.ts';

/** A key share of X25519MLKEM768: such a hello is longer than one Ethernet segment. */
const postQuantumShareBytes = 1216;

export function clientHello(serverName: string): Buffer {
  return Buffer.from(records(helloMessage(browserHello(serverName))));
}

export function postQuantumHello(serverName: string): Buffer {
  return Buffer.from(records(helloMessage(browserHello(serverName, postQuantumShareBytes))));
}

/** The handshake message cut into records of `recordBytes`. */
export function fragmentedHello(serverName: string, recordBytes: number): Buffer {
  const message = helloMessage(browserHello(serverName));
  const lengths = Array.from({ length: Math.ceil(message.length / recordBytes) }, () => recordBytes);
  return Buffer.from(records(message, lengths));
}

/** A hello without a server name. */
export function namelessHello(): Buffer {
  const spec = browserHello('unused.example');
  const extensions = spec.extensions!.filter(({ type }) => type !== 0);
  return Buffer.from(records(helloMessage({ ...spec, extensions })));
}
