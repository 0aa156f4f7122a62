/** Rules of the YAML form of egress: those of the project's own form, at the names of this one. */
import type { CheckContext } from './check-context.ts';
import { checkAuthority, checkLog, checkOutgoing } from './egress-file-checks.ts';
import type { EgressFormValues } from './egress-form.ts';
import { checkOpenEnds, checkRewrites } from './egress-rule-checks.ts';
import { quote } from './problem.ts';
import type { Path } from './problem.ts';
import { checkDuplicates } from './report.ts';
import type { Report } from './report.ts';

type Proxy = EgressFormValues['proxy'];

const here: Path = ['proxy'];

export function checkEgressForm(values: EgressFormValues, context: CheckContext): void {
  const { proxy, rewrites, acl } = values;
  const { report } = context;
  checkFiles(proxy, context);
  checkPorts(proxy, report);
  checkRewrites(
    rewrites.map((rewrite) => ({
      ...rewrite,
      pattern: rewrite.domain,
      headers: rewrite.headers ?? [],
      isForAll: true,
    })),
    ['rewrites'],
    context,
  );
  checkLists(acl, report);
  checkSight(values, report);
  if (proxy.default_policy !== 'ALLOW') return;
  const expected =
    '"BLOCK" and a whitelist: others than this machine reach the port, and may reach everything';
  report.warning('egress-open', [...here, 'default_policy'], expected, '"ALLOW"');
}

function checkFiles(proxy: Proxy, context: CheckContext): void {
  const named = <K extends keyof Proxy>(name: K): { name: K; value: Proxy[K] } => ({
    name,
    value: proxy[name],
  });
  checkAuthority(
    {
      cert: named('mitm_cert_path'),
      key: named('mitm_key_path'),
      keystore: named('mitm_keystore_path'),
      password: named('mitm_keystore_password'),
    },
    here,
    context,
  );
  checkOutgoing(
    {
      certificates: [named('outgoing_ca_bundle'), named('outgoing_ca')],
      truststore: named('outgoing_truststore_path'),
      password: named('outgoing_truststore_password'),
      crl: named('outgoing_crl'),
      insecure: named('insecure_skip_verify'),
    },
    here,
    context,
  );
  checkLog(proxy.blocked_log_path, [...here, 'blocked_log_path'], context);
  if (proxy.outgoing_ca_bundle === null || proxy.outgoing_ca === null) return;
  const expected = 'outgoing_ca_bundle or outgoing_ca, which is the same: one file may hold all certificates';
  context.report.error('option-conflict', [...here, 'outgoing_ca'], expected, 'both');
}

function checkPorts({ port, metrics_port: metricsPort }: Proxy, report: Report): void {
  if (port === undefined || port !== metricsPort) return;
  const expected = 'another port than that of clients';
  report.error('listener-duplicate', [...here, 'metrics_port'], expected, String(port));
}

function checkLists(acl: EgressFormValues['acl'], report: Report): void {
  for (const name of ['whitelist', 'blacklist', 'passthrough'] as const) {
    checkDuplicates(acl[name], ['acl', name], report);
  }
  const refused = new Set(acl.blacklist);
  for (const name of ['whitelist', 'passthrough'] as const) {
    checkOpenEnds(acl[name], (index) => ['acl', name, index], report);
    acl[name].forEach((pattern, index) => {
      if (pattern === undefined || !refused.has(pattern)) return;
      const expected = 'a pattern that blacklist does not name too: what it names stays refused';
      report.warning('rule-conflict', ['acl', name, index], expected, quote(pattern));
    });
  }
}

/** Without a CA nobody looks into HTTPS, so what a rewrite says of requests holds for plain HTTP alone. */
function checkSight({ proxy, rewrites }: EgressFormValues, report: Report): void {
  if (proxy.mitm_cert_path !== null || proxy.mitm_keystore_path !== null) return;
  const expected =
    'mitm_cert_path and mitm_key_path, or mitm_keystore_path: without, HTTPS is not looked into';
  rewrites.forEach(({ path_pattern: pathPattern, headers, drop_headers: dropped }, index) => {
    const name =
      pathPattern !== null
        ? 'path_pattern'
        : headers !== null
          ? 'headers'
          : dropped.length > 0
            ? 'drop_headers'
            : null;
    if (name !== null) report.warning('mitm-missing', ['rewrites', index, name], expected, 'none');
  });
}
