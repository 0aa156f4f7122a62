/** Rules of the firewall's settings: what needs something else to work, and what contradicts something else. */

import type { CheckContext, RawAt } from './check-context.ts';
import { readFault } from './files.ts';
import { quote } from './problem.ts';
import type { Path } from './problem.ts';
import { checkDuplicates } from './report.ts';
import type { Report } from './report.ts';
import type { Values } from './schema.ts';

type Firewall = Values['firewall'];

export function checkFirewall({ firewall }: Pick<Values, 'firewall'>, { rawAt, report }: CheckContext): void {
  checkGeoip(firewall, report);
  checkRateLimit(firewall, rawAt, report);
  for (const name of [
    'blocked_ips',
    'blocked_cidrs',
    'blocked_countries',
    'allowed_ips',
    'allowed_cidrs',
  ] as const) {
    checkDuplicates(firewall[name], ['firewall', name], report);
  }
  checkConflict(firewall, 'allowed_ips', 'blocked_ips', report);
  checkConflict(firewall, 'allowed_cidrs', 'blocked_cidrs', report);
  firewall.blocked_cidrs.forEach((value, index) => {
    checkBlocksAll(value, ['firewall', 'blocked_cidrs', index], report);
  });
}

/** Of one blocked network. */
export function checkBlocksAll(value: string | undefined, path: Path, report: Report): void {
  if (value !== '0.0.0.0/0' && value !== '::/0') return;
  const family = value === '::/0' ? 'IPv6' : 'IPv4';
  const expected = `a network smaller than all of ${family}: every ${family} client will be refused`;
  report.warning('rule-blocks-all', path, expected, quote(value));
}

function checkGeoip({ geoip_db: path, blocked_countries: blocked }: Firewall, report: Report): void {
  if (path === null && blocked.length > 0) {
    const expected = 'geoip_db beside it: countries are looked up in a MaxMind database';
    report.error('geoip-missing', ['firewall', 'blocked_countries'], expected, 'none');
  }
  if (typeof path !== 'string') return;
  const fault = readFault(path);
  if (fault !== undefined) {
    const found = `${quote(path)}: ${fault}`;
    report.error('file-unreadable', ['firewall', 'geoip_db'], 'a file that can be read', found);
  }
  if (blocked.length === 0) {
    report.warning('geoip-unused', ['firewall', 'geoip_db'], 'blocked_countries beside it', 'none');
  }
}

function checkRateLimit({ rate_limit: limit }: Firewall, rawAt: RawAt, report: Report): void {
  if (limit !== null) return;
  for (const name of ['rate_window', 'allowed_ips', 'allowed_cidrs']) {
    const path = ['firewall', name];
    const raw = rawAt(path) ?? [];
    if (Array.isArray(raw) && raw.length === 0) continue;
    report.warning('rate-limit-unused', path, 'rate_limit beside it, without which it has no effect', 'none');
  }
}

function checkConflict(
  firewall: Firewall,
  allowedName: 'allowed_ips' | 'allowed_cidrs',
  blockedName: 'blocked_ips' | 'blocked_cidrs',
  report: Report,
): void {
  const blocked = new Set(firewall[blockedName]);
  firewall[allowedName].forEach((value, index) => {
    if (value === undefined || !blocked.has(value)) return;
    const expected = `a value that is not in ${blockedName}: it stays blocked, for ${allowedName} only lifts the rate limit`;
    report.warning('rule-conflict', ['firewall', allowedName, index], expected, quote(value));
  });
}
