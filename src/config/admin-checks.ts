/** Rules of the admin API's settings: nobody who cannot show who he is may change the configuration. */

import { formatListenAddress, isLoopbackHost, overlap } from './address.ts';
import { checkCertificates, checkPair } from './certificates.ts';
import type { CheckContext } from './check-context.ts';
import { quote } from './problem.ts';
import type { Report } from './report.ts';
import type { Values } from './schema.ts';

type Admin = Values['admin'];

const tlsNames = ['tls_cert', 'tls_key', 'client_ca'] as const;

export function checkAdmin(
  { admin, listeners }: Pick<Values, 'admin' | 'listeners'>,
  context: CheckContext,
): void {
  const { report } = context;
  const { grpc_addr: address } = admin;
  checkFiles(admin, context);
  if (address === undefined) return;
  if (address === null) checkUnused(admin, report);
  else if (address.kind === 'unix') checkUnix(admin, report);
  else {
    checkTls(admin, report);
    if (isLoopbackHost(address.host)) checkLoopback(admin, report);
    else checkRemote(admin, report);
    checkClash(address, listeners, report);
  }
}

function checkFiles(admin: Admin, context: CheckContext): void {
  checkPair(admin, ['admin'], context);
  if (typeof admin.client_ca === 'string') {
    checkCertificates(admin.client_ca, ['admin', 'client_ca'], context);
  }
}

function checkUnused(admin: Admin, report: Report): void {
  for (const name of tlsNames) {
    if (admin[name] !== null) reportUnused(name, 'grpc_addr beside it, without which there is no admin API');
  }
  if (admin.insecure_loopback === true) reportUnused('insecure_loopback', 'grpc_addr beside it');

  function reportUnused(name: string, expected: string): void {
    report.warning('admin-unused', ['admin', name], expected, 'none');
  }
}

/** An error, because whoever names a client_ca believes that it is asked for. */
function checkUnix(admin: Admin, report: Report): void {
  for (const name of tlsNames) {
    if (admin[name] === null) continue;
    const expected = 'no TLS on a Unix socket, whose file mode says who may connect';
    report.error('tls-unused', ['admin', name], expected, quote(admin[name]));
  }
  if (admin.insecure_loopback === true) {
    const expected = 'false on a Unix socket, where it has no effect';
    report.warning('admin-unused', ['admin', 'insecure_loopback'], expected, 'true');
  }
}

/** The parts of TLS that need one another. */
function checkTls({ tls_cert: cert, tls_key: key, client_ca: authority }: Admin, report: Report): void {
  if (cert !== null && key === null)
    report.error('tls-missing', ['admin', 'tls_cert'], 'tls_key beside it', 'none');
  if (cert === null && key !== null)
    report.error('tls-missing', ['admin', 'tls_key'], 'tls_cert beside it', 'none');
  if (authority !== null && cert === null && key === null) {
    const expected = 'tls_cert and tls_key beside it: clients show their certificates within TLS';
    report.error('tls-missing', ['admin', 'client_ca'], expected, 'none');
  }
}

function checkLoopback(admin: Admin, report: Report): void {
  const isBare = tlsNames.every((name) => admin[name] === null);
  if (isBare && admin.insecure_loopback === false) {
    const expected =
      'tls_cert and tls_key beside it, or insecure_loopback = true: without TLS every user of this machine may ' +
      'change the configuration';
    report.error('admin-open', ['admin', 'grpc_addr'], expected, 'neither');
  }
  if (!isBare && admin.insecure_loopback === true) {
    const expected = 'false beside TLS settings, which it does not switch off';
    report.warning('admin-unused', ['admin', 'insecure_loopback'], expected, 'true');
  }
}

function checkRemote(admin: Admin, report: Report): void {
  if (admin.client_ca === null) {
    const hasTls = admin.tls_cert !== null || admin.tls_key !== null;
    const expected =
      `${hasTls ? 'client_ca' : 'tls_cert, tls_key and client_ca'} beside it: beyond loopback every caller must ` +
      'show a certificate';
    report.error('admin-open', ['admin', 'grpc_addr'], expected, 'none');
  }
  if (admin.insecure_loopback === true) {
    const expected = 'false, or a loopback address such as "127.0.0.1:9443" as grpc_addr';
    report.error('admin-open', ['admin', 'insecure_loopback'], expected, 'true');
  }
}

function checkClash(
  address: { readonly host: string; readonly port: number },
  listeners: Values['listeners'],
  report: Report,
): void {
  const index = listeners.findIndex(
    ({ addr }) => addr !== undefined && addr.port !== 0 && overlap(addr, address),
  );
  if (index < 0) return;
  const other = quote(formatListenAddress(listeners[index]!.addr!));
  const expected = `an address apart from every listener's: listeners[${index}].addr is ${other}`;
  report.error('admin-overlap', ['admin', 'grpc_addr'], expected, quote(formatListenAddress(address)));
}
