/**
 * Whom we trust upstream, and whether a certificate is for the name that was asked. Nothing here reads
 * NODE_TLS_REJECT_UNAUTHORIZED or NODE_EXTRA_CA_CERTS.
 */
import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { getCACertificates, rootCertificates } from 'node:tls';

let roots: readonly string[] | undefined;

/**
 * The system's roots, so that what an operator added or distrusted there holds here too; those that come with
 * Node.js only where the system has none, as in a bare container. Not Node's default set: NODE_EXTRA_CA_CERTS and
 * NODE_OPTIONS would have a say in that. (SSL_CERT_FILE and SSL_CERT_DIR name the system's store, as they do for
 * every program that uses OpenSSL.)
 */
export function systemRoots(): readonly string[] {
  if (roots === undefined) {
    const system = getCACertificates('system');
    roots = system.length > 0 ? system : rootCertificates;
  }
  return roots;
}

/**
 * RFC 9525: whether the certificate is for `serverName`, a host name or an IP literal. As OpenSSL decides it, which
 * looks at the common name where a certificate has no DNS names at all: internal CAs still issue such ones.
 */
export function isFor(certificate: X509Certificate, serverName: string): boolean {
  if (isIP(serverName) !== 0) return certificate.checkIP(serverName) !== undefined;
  return certificate.checkHost(serverName, { partialWildcards: false }) !== undefined;
}
