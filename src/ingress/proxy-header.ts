/** The PROXY protocol header that names a connection's real client to a backend. */
import { encodeProxyV2, encodeProxyV2Local, type ProxyAddress } from '../codec/proxy-protocol.ts';
import type { HostBytes } from '../core/bytes.ts';
import { formatIp } from '../core/ip.ts';
import type { Connection } from '../gate/connection.ts';
import type { Endpoint } from '../net/channel.ts';

/** Version 2, with the addresses of the header that was received, else the socket's. */
export function proxyHeader({ client, clientPort, destination, channel }: Connection): HostBytes {
  const target = destination ?? channel.local();
  const header =
    target === undefined
      ? encodeProxyV2Local()
      : encodeProxyV2(proxyAddress({ ip: client, port: clientPort }), proxyAddress(target));
  return Buffer.from(header.buffer, header.byteOffset, header.length) as unknown as HostBytes;
}

function proxyAddress(endpoint: Endpoint): ProxyAddress {
  return { address: formatIp(endpoint.ip), port: endpoint.port };
}
