/** What an operator asks of the certificates in use: whose, until when, and for how many days more. */
import { X509Certificate } from 'node:crypto';
import { open } from 'node:fs/promises';
import type { HttpLimits } from './http-limits.ts';
import type { CertificateUse } from './operations.ts';

export type CertificateReport =
  | {
      readonly path: string;
      readonly used_by: readonly string[];
      readonly subject: string;
      readonly issuer: string;
      readonly names: string;
      readonly serial: string;
      readonly fingerprint_sha256: string;
      readonly not_before: string;
      readonly not_after: string;
      /** Whole days; negative once it has expired. */
      readonly days_left: number;
    }
  | { readonly path: string; readonly used_by: readonly string[]; readonly error: string };

const dayMs = 86_400_000;
/** Of the routes that share a certificate, this many are named. */
const usesShownMax = 20;

/** The first certificate of each file, soonest to expire first, those that do not load before all. */
export async function reportCertificates(
  uses: readonly CertificateUse[],
  nowMs: number,
  limits: HttpLimits,
): Promise<readonly CertificateReport[]> {
  const reports: CertificateReport[] = [];
  for (const use of uses.slice(0, limits.certificatesMax)) reports.push(await reportOf(use, nowMs, limits));
  return reports.toSorted((a, b) => urgency(a) - urgency(b));
}

async function reportOf(
  { path, usedBy }: CertificateUse,
  nowMs: number,
  { certificateBytesMax }: HttpLimits,
): Promise<CertificateReport> {
  const used_by = usedBy.slice(0, usesShownMax);
  try {
    const certificate = new X509Certificate(await readStart(path, certificateBytesMax));
    const expiresMs = certificate.validToDate.getTime();
    return {
      path,
      used_by,
      subject: certificate.subject.replaceAll('\n', ', '),
      issuer: certificate.issuer.replaceAll('\n', ', '),
      names: certificate.subjectAltName ?? '',
      serial: certificate.serialNumber,
      fingerprint_sha256: certificate.fingerprint256,
      not_before: certificate.validFromDate.toISOString(),
      not_after: certificate.validToDate.toISOString(),
      days_left: Math.floor((expiresMs - nowMs) / dayMs),
    };
  } catch (error) {
    return { path, used_by, error: (error as Error).message };
  }
}

function urgency(report: CertificateReport): number {
  return 'error' in report ? -Infinity : report.days_left;
}

/** A path that someone replaced by a device is not read for ever. */
async function readStart(path: string, bytesMax: number): Promise<Buffer> {
  const file = await open(path);
  try {
    const buffer = Buffer.alloc(bytesMax);
    const { bytesRead } = await file.read(buffer, 0, bytesMax, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
