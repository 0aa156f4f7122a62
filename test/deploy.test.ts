/** What stands in deploy/ is what somebody copies: each file is read by the program it is written for. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { parseAllDocuments } from 'yaml';

const tree = join(import.meta.dirname, '..');
const deploy = join(tree, 'deploy');
const program = join(tree, 'bin/portcullis');

/** What every Kubernetes object must say, and what ours always do. */
interface KubernetesObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata?: { readonly name?: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: { readonly template?: { readonly spec?: PodSpec } };
}
interface PodSpec {
  readonly automountServiceAccountToken?: boolean;
  readonly securityContext?: { readonly runAsNonRoot?: boolean };
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly { readonly name: string }[];
}
interface Container {
  readonly name: string;
  readonly securityContext?: {
    readonly allowPrivilegeEscalation?: boolean;
    readonly readOnlyRootFilesystem?: boolean;
  };
  readonly volumeMounts?: readonly { readonly name: string }[];
}

function yaml(path: string): KubernetesObject[] {
  const documents = parseAllDocuments(readFileSync(path, 'utf8'));
  assert.ok(Array.isArray(documents), path);
  return documents.map((document) => {
    assert.deepEqual(document.errors, [], path);
    return document.toJS() as KubernetesObject;
  });
}

function filesIn(folder: string, ending: string): string[] {
  return readdirSync(join(deploy, folder))
    .filter((name) => name.endsWith(ending))
    .map((name) => join(deploy, folder, name));
}

describe('deploy', () => {
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-deploy-'));
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** The program's own verdict, with files that only a real machine has put in their place. */
  function validate(name: string, text: string): void {
    const path = join(folder, name);
    const certs = join(tree, 'examples/quick-start/certs');
    writeFileSync(
      path,
      text
        .replaceAll('/etc/portcullis/tls/tls.crt', join(certs, 'www.pem'))
        .replaceAll('/etc/portcullis/tls/tls.key', join(certs, 'www.key'))
        .replaceAll('app.example.com', 'www.example.com'),
    );
    const { status, stdout, stderr } = spawnSync(program, ['validate', '-c', path], { encoding: 'utf8' });
    assert.equal(status, 0, `${name}: ${stdout}${stderr}`);
  }

  test('systemd reads the units without a complaint', (context) => {
    if (spawnSync('systemd-analyze', ['--version']).status !== 0) {
      return context.skip('systemd-analyze is missing: apt-get install systemd');
    }
    const units = [...filesIn('systemd', '.service'), ...filesIn('systemd', '.timer')].map((path) => {
      // The program stands elsewhere on this machine.
      const copy = join(folder, path.slice(path.lastIndexOf('/') + 1));
      writeFileSync(copy, readFileSync(path, 'utf8').replaceAll('/usr/local/bin/portcullis', program));
      return copy;
    });
    const { stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', ...units], { encoding: 'utf8' });
    const complaints = stderr.split('\n').filter((line) => line.includes('portcullis'));
    assert.deepEqual(complaints, []);
  });

  test('every manifest names its object, and its pods give up what they do not need', () => {
    for (const path of filesIn('kubernetes', '.yaml')) {
      for (const { apiVersion, kind, metadata, spec } of yaml(path)) {
        assert.ok(apiVersion && kind && metadata?.name, path);
        const pod = spec?.template?.spec;
        if (pod === undefined) continue;
        assert.equal(pod.automountServiceAccountToken, false, path);
        assert.equal(pod.securityContext?.runAsNonRoot, true, path);
        const volumes = (pod.volumes ?? []).map(({ name }) => name);
        for (const { name, securityContext, volumeMounts = [] } of [
          ...pod.containers,
          ...(pod.initContainers ?? []),
        ]) {
          assert.equal(securityContext?.allowPrivilegeEscalation, false, `${path} ${name}`);
          assert.equal(securityContext?.readOnlyRootFilesystem, true, `${path} ${name}`);
          for (const mount of volumeMounts) assert.ok(volumes.includes(mount.name), `${path} ${mount.name}`);
        }
      }
    }
  });

  test('every configuration in it is one that Portcullis takes', () => {
    for (const path of filesIn('kubernetes', '.yaml')) {
      for (const { kind, data = {} } of yaml(path)) {
        if (kind !== 'ConfigMap') continue;
        for (const [name, text] of Object.entries(data)) validate(name, text);
      }
    }
    validate('ingress.toml', readFileSync(join(deploy, 'docker/ingress.toml'), 'utf8'));
    validate('egress.yaml', readFileSync(join(deploy, 'docker/egress.yaml'), 'utf8'));
    const values = yaml(join(deploy, 'helm/portcullis/values.yaml'))[0] as { config?: string };
    validate('values.toml', values.config!);
  });

  test('the compose file mounts files that are there', () => {
    const compose = yaml(join(deploy, 'docker/compose.yaml'))[0] as {
      services: Record<string, { volumes?: string[]; networks?: string[] }>;
      networks: Record<string, { internal?: boolean }>;
    };
    const mounts = Object.values(compose.services).flatMap(({ volumes = [] }) => volumes);
    for (const mount of mounts.filter((text) => text.startsWith('./'))) {
      readFileSync(join(deploy, 'docker', mount.split(':')[0]!));
    }
    const ways = compose.services['job']!.networks!.filter(
      (name) => compose.networks[name]!.internal !== true,
    );
    assert.deepEqual(ways, [], 'the job has no way out but the gateway');
  });
});
