/** One GET from the pages for operators, `[admin] http_addr`: plain HTTP on loopback or a Unix socket. */

import { get } from 'node:http';
import type { AdminAddress } from '../model/settings.ts';

const pageBytesMax = 64 * 2 ** 20;

/** The body of a page. Rejects when nobody answers in time, or with something else than 200 or 503. */
export function readPage(address: AdminAddress, path: string, timeoutMs: number): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const where =
    address.kind === 'unix' ? { socketPath: address.path } : { host: address.host, port: address.port };
  const request = get(
    { ...where, path, headers: { host: 'localhost' }, signal: AbortSignal.timeout(timeoutMs), agent: false },
    (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('error', reject);
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > pageBytesMax) response.destroy(new Error(`${path} is larger than ${pageBytesMax} bytes`));
        else chunks.push(chunk);
      });
      response.on('end', () => {
        const { statusCode } = response;
        if (statusCode === 200 || statusCode === 503) resolve(Buffer.concat(chunks).toString('utf8'));
        else reject(new Error(`${path} answered ${statusCode}`));
      });
    },
  );
  request.on('error', reject);
  return promise;
}
