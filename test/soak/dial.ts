/** How clients reach a host: straight to the listener that serves it, or by CONNECT through the egress gateway. */
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { Failed } from './ledger.ts';
import type { ClientContext } from './soak-client.ts';

const headBytesMax = 8 * 1024;

/** A connection to `context.host` with TLS on it, and the client's address. */
export async function dialTls(
  context: ClientContext,
  ALPNProtocols: string[],
): Promise<{ readonly socket: TLSSocket; readonly address: string }> {
  const { isEgress, host, ca } = context;
  const tcp = connectTcp({ host: context.address, port: context.port });
  await once(tcp, 'connect');
  const address = `${tcp.localAddress}:${tcp.localPort}`;
  if (isEgress) await openTunnel(tcp, context);
  const socket = connectTls({ socket: tcp, servername: host, ca, ALPNProtocols });
  await once(socket, 'secureConnect');
  return { socket, address };
}

/** Nothing comes behind the head: the client speaks first in TLS. */
async function openTunnel(tcp: Socket, { host, tag }: ClientContext): Promise<void> {
  tcp.write(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\nUser-Agent: ${tag}\r\n\r\n`);
  let head = '';
  while (!head.includes('\r\n\r\n')) {
    if (head.length > headBytesMax) throw new Failed('wrong', 'an endless answer to CONNECT');
    const chunk = await Promise.race([once(tcp, 'data'), once(tcp, 'close')]);
    if (!Buffer.isBuffer(chunk[0])) throw new Error('closed before the answer to CONNECT');
    head += chunk[0].toString('latin1');
  }
  const status = Number(head.slice('HTTP/1.1 '.length, 'HTTP/1.1 '.length + 3));
  tcp.pause().removeAllListeners('data');
  if (status === 200) return;
  tcp.destroy();
  throw new Failed(status >= 502 && status <= 504 ? 'unavailable' : 'wrong', `CONNECT answered ${status}`);
}
