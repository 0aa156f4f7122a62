// The parts of egress that need no proxy around them: minting a leaf certificate, and the decision with 10,000 ACL
// and 10,000 rewrite entries, in the very objects that the data path uses.

import type { Figure, Sample } from '../figure.ts';
import { CertificateAuthority } from '../../src/egress/certificate-authority.ts';
import { decide, type Subject } from '../../src/egress/decision.ts';
import { pemOf } from '../../src/egress/pki/certificate.ts';
import { generateAuthority, type AuthorityRequest } from '../../src/egress/pki/generate.ts';
import { compilePolicy } from '../../src/egress/policy.ts';
import { egressSettings } from '../../src/egress/testing/settings.ts';

const MINTED = { full: 4000, quick: 200 } as const;
const DECISIONS = { full: 400_000, quick: 20_000 } as const;
const ENTRIES = 10_000;
const REGEXES = 100;
/** Many and in random order, so that they and what they touch outgrow the caches. */
const PROBES = 16_384;

export const egressParts: Figure = {
  name: 'egress-parts',
  freshProcess: false,
  only: 'portcullis',
  metrics: [
    { key: 'mintUs', label: 'minting a leaf, mean', unit: 'µs', better: 'lower', absoluteTarget: 1000 },
    { key: 'mintP99Us', label: 'minting a leaf, p99', unit: 'µs', better: 'lower', absoluteTarget: 1000 },
    ...(['Exact', 'Wildcard', 'None'] as const).map((kind) => ({
      ...{ key: `decision${kind}Us`, label: `decision among 20,000 entries: ${kind.toLowerCase()}` },
      ...({ unit: 'µs', better: 'lower', absoluteTarget: 5 } as const),
    })),
    {
      key: 'decisionRegexUs',
      label: `decision past ${REGEXES} regexes beside them`,
      unit: 'µs',
      better: 'lower',
    },
  ],
  http: { peers: [{ name: 'portcullis', variant: 'default', label: 'portcullis' }], start: startNothing },
  measure: (bench) => {
    const size = bench.effort.judged ? 'full' : 'quick';
    return Promise.resolve({ ...mint(MINTED[size]), ...decisions(DECISIONS[size]) });
  },
};

/** It measures in this process. */
function startNothing(): ReturnType<Required<Figure>['http']['start']> {
  const peer = egressParts.http!.peers[0]!;
  return Promise.resolve({
    peer,
    target: { ports: [], pid: process.pid },
    startMs: 0,
    stop: () => Promise.resolve(),
  });
}

function mint(count: number): Sample {
  const name = { commonName: 'Bench', organization: null, country: null };
  const request: AuthorityRequest = {
    ...{ name, algorithm: 'ecdsa-p256' as const, validityDays: 2 },
    ...{ pathLength: null, constraints: null, issuer: null },
  };
  const root = generateAuthority(request, Date.now());
  const key = root.key.export({ format: 'pem', type: 'pkcs8' });
  const authority = new CertificateAuthority({ chain: [pemOf(root.certificate.raw)], key });
  for (let i = 0; i < count / 4; i++) authority.identityFor(`warm${i}.bench.example`);
  const tookUs = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const host = `h${i}.bench.example`;
    const startedAt = performance.now();
    authority.identityFor(host);
    tookUs[i] = (performance.now() - startedAt) * 1000;
  }
  tookUs.sort();
  const mintUs = tookUs.reduce((sum, each) => sum + each, 0) / count;
  return { mintUs, mintP99Us: tookUs[Math.floor(0.99 * (count - 1))]! };
}

function decisions(count: number): Sample {
  const settings = {
    whitelist: patterns('white', ENTRIES / 2),
    blacklist: patterns('black', ENTRIES / 2),
    rewrites: patterns('moved', ENTRIES).map((pattern) => ({ pattern, targetIp: '192.0.2.1' })),
  };
  const policy = compilePolicy(egressSettings(settings));
  const regexes = Array.from({ length: REGEXES }, (_, i) => `~^api[0-9]+\\.region${i}\\.(test|invalid)$`);
  const whitelist = [...settings.whitelist, ...regexes];
  const slower = compilePolicy(egressSettings({ ...settings, whitelist }));
  const exact = (i: number): string => `${['white', 'moved'][i % 2]}${2 * (i % (ENTRIES / 4))}.example`;
  const below = (i: number): string =>
    `any.${['white', 'moved'][i % 2]}${2 * (i % (ENTRIES / 4)) + 1}.example`;
  const nowhere = (i: number): string => `host${i}.nowhere.test`;
  return {
    decisionExactUs: decisionUs(policy, exact, count, true),
    decisionWildcardUs: decisionUs(policy, below, count, true),
    decisionNoneUs: decisionUs(policy, nowhere, count, false),
    decisionRegexUs: decisionUs(slower, nowhere, count / 20, false),
  };
}

/** Every other one is a wildcard. */
function patterns(word: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${i % 2 === 1 ? '*.' : ''}${word}${i}.example`);
}

/** Microseconds per decision, warmed. Throws when a host is not judged as it must be. */
function decisionUs(
  policy: ReturnType<typeof compilePolicy>,
  hostOf: (index: number) => string,
  count: number,
  isAllowed: boolean,
): number {
  const subjects = Array.from({ length: PROBES }, (_, i): Subject => {
    // Flat strings, as they come off the wire.
    const host = Buffer.from(hostOf(Math.imul(i + 1, 0x9e3779b1) >>> 8)).toString('latin1');
    return { host, port: 443, kind: 'tunnel', method: null, path: null, client: null };
  });
  const judge = (times: number): void => {
    let allowed = 0;
    for (let i = 0; i < times; i++) allowed += Number(decide(policy, subjects[i % PROBES]!).isAllowed);
    if (allowed !== (isAllowed ? times : 0)) throw new Error(`${allowed} of ${times} hosts were allowed`);
  };
  judge(count / 4);
  const startedAt = performance.now();
  judge(count);
  return ((performance.now() - startedAt) * 1000) / count;
}
