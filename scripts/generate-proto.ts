/**
 * Writes src/admin/gen, the TypeScript of proto/, with protoc and protoc-gen-es. `--check` writes nothing and fails
 * when it is stale; where protoc is missing it says so in one line and passes.
 */

import { spawnSync } from 'node:child_process';
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const target = join(root, 'src/admin/gen');
const isCheck = process.argv.includes('--check');

if (!hasProtoc()) {
  console.log('proto: protoc is missing (apt-get install protobuf-compiler libprotobuf-dev)');
  process.exitCode = isCheck ? 0 : 1;
} else if (isCheck) check();
else write();

function hasProtoc(): boolean {
  return spawnSync('protoc', ['--version']).error === undefined;
}

function write(): void {
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  generate(target);
}

function check(): void {
  const fresh = mkdtempSync(join(tmpdir(), 'portcullis-proto-'));
  try {
    generate(fresh);
    const names = new Set([...filesOf(fresh), ...filesOf(target)]);
    const stale = [...names].filter((name) => read(join(fresh, name)) !== read(join(target, name)));
    for (const name of stale)
      console.error(`src/admin/gen/${name} is stale: run scripts/node scripts/generate-proto.ts`);
    process.exitCode = stale.length === 0 ? 0 : 1;
  } finally {
    rmSync(fresh, { recursive: true });
  }
}

/** `erasable_syntax` and `.ts` imports: the output runs unbuilt like everything else. */
function generate(directory: string): void {
  const proto = join(root, 'proto');
  const { status, stderr } = spawnSync(
    'protoc',
    [
      `--proto_path=${proto}`,
      `--plugin=protoc-gen-es=${join(root, 'node_modules/.bin/protoc-gen-es')}`,
      `--es_out=${directory}`,
      '--es_opt=target=ts,import_extension=ts,erasable_syntax=true',
      ...globSync('**/*.proto', { cwd: proto }).toSorted(),
    ],
    // protoc-gen-es is started by name through its first line: the pinned Node.js must come first.
    { cwd: root, encoding: 'utf8', env: { ...process.env, PATH: nodeFirst() } },
  );
  if (status !== 0) throw new Error(`protoc failed: ${stderr}`);
}

function nodeFirst(): string {
  return `${join(process.execPath, '..')}:${process.env['PATH'] ?? ''}`;
}

function filesOf(directory: string): string[] {
  return globSync('**/*.ts', { cwd: directory });
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
