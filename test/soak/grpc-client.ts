/** gRPC: unary calls, and streams on which each message is awaited before the next is sent. */
import type { ClientHttp2Session } from 'node:http2';
import { GrpcCall } from '../support/grpc.ts';
import { closeHttp2, openHttp2 } from './http-clients.ts';
import { Failed } from './ledger.ts';
import { payload, type ClientContext, type SoakClient } from './soak-client.ts';

const messageBytesMax = 16 * 1024;
const messagesMax = 6;
/** UNAVAILABLE and DEADLINE_EXCEEDED. */
const unavailable = ['14', '4'];
/** UNIMPLEMENTED and NOT_FOUND. */
const unrouted = ['12', '5'];

export class GrpcClient implements SoakClient {
  address = '';
  readonly #context: ClientContext;
  #session: ClientHttp2Session | null = null;

  constructor(context: ClientContext) {
    this.#context = context;
  }

  async open(): Promise<void> {
    const { session, address } = await openHttp2(this.#context);
    this.#session = session;
    this.address = address;
  }

  async exchange(): Promise<void> {
    const { random, host, tag } = this.#context;
    const isUnary = random.below(2) === 0;
    const call = new GrpcCall(this.#session!, `/test.Echo/${isUnary ? 'Unary' : 'Stream'}`, {
      ...{ ':authority': host, ':scheme': 'https', 'user-agent': tag },
    });
    const count = isUnary ? 1 : 1 + random.below(messagesMax);
    const sent = Array.from({ length: count }, () => payload(random, messageBytesMax));
    for (const [index, message] of sent.entries()) {
      call.send(message);
      // Its end settles the race for a call that breaks off.
      await Promise.race([call.received(index + 1), call.ended]);
    }
    call.end();
    await call.ended;
    check(call, sent);
  }

  close(): Promise<void> {
    return closeHttp2(this.#session!);
  }

  vanish(): void {
    this.#session?.destroy();
  }
}

function check(call: GrpcCall, sent: readonly Buffer[]): void {
  const what = `grpc-status ${call.status ?? 'none'}, ${call.messages.length} of ${sent.length} messages`;
  if (call.status === undefined) throw new Error(what);
  if (unavailable.includes(call.status)) throw new Failed('unavailable', what);
  if (unrouted.includes(call.status)) throw new Failed('unrouted', what);
  if (call.status !== '0') throw new Failed('wrong', what);
  const isWhole =
    call.messages.length === sent.length && sent.every((each, i) => each.equals(call.messages[i]!));
  if (!isWhole) throw new Failed('damaged', what);
}
