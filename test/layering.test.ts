/**
 * The compiler enforces which folder may import which. This holds it to that: it plants every import the table
 * forbids in a copy of the tree, as a value and as a type only, and sees each refused and every allowed one taken.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, describe, test } from 'node:test';

/** Each folder of src with the folders it may import: the table of ARCHITECTURE.md, for the folders that exist. */
const layers: Readonly<Record<string, readonly string[]>> = {
  core: [],
  codec: ['core'],
  model: ['core'],
  telemetry: ['core', 'model'],
  config: ['core', 'model'],
  net: ['core', 'codec', 'model', 'telemetry'],
  firewall: ['core', 'model', 'telemetry'],
  gate: ['core', 'codec', 'model', 'telemetry', 'net', 'firewall'],
  http: ['core', 'codec', 'model', 'telemetry', 'net'],
  filters: ['core', 'model', 'telemetry', 'firewall', 'http'],
  wasm: ['core', 'model', 'telemetry', 'http'],
  ingress: ['core', 'codec', 'model', 'telemetry', 'net', 'firewall', 'gate', 'http', 'filters', 'wasm'],
  egress: ['core', 'codec', 'model', 'telemetry', 'net', 'firewall', 'gate', 'http', 'filters', 'wasm'],
  store: ['core', 'model'],
  kernel: ['core', 'model'],
  xds: ['core', 'model', 'store'],
  admin: ['core', 'model', 'telemetry'],
  server: everythingBut('server', 'cli'),
  cli: everythingBut('cli'),
};

/** No I/O is possible where the compiler knows neither Node nor the browser. */
const foldersWithoutIo = ['core', 'codec'];

const tree = join(import.meta.dirname, '..');
const folders = readdirSync(join(tree, 'src'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name);

interface Project {
  readonly references?: readonly { readonly path: string }[];
  readonly compilerOptions?: { readonly lib?: unknown; readonly types?: readonly string[] };
}

describe('the table and the projects agree', () => {
  test('every folder of src is in the table', () => {
    assert.deepEqual(
      folders.filter((folder) => !(folder in layers)),
      [],
    );
  });

  test('the root project and the test project build every folder', () => {
    assert.deepEqual(references('tsconfig.json'), [...folders, 'test'].sort());
    assert.deepEqual(references('test/tsconfig.json'), folders.toSorted());
  });

  for (const folder of folders) {
    test(`${folder} refers to what it may import`, () => {
      const allowed = layers[folder]!.filter((name) => folders.includes(name));
      const excess = references(`src/${folder}/tsconfig.json`).filter((name) => !allowed.includes(name));
      assert.deepEqual(excess, []);
    });
  }

  test('core and codec know neither Node nor the browser', () => {
    for (const folder of foldersWithoutIo) {
      const { compilerOptions } = project(`src/${folder}/tsconfig.json`);
      assert.deepEqual([compilerOptions?.types, compilerOptions?.lib], [undefined, undefined], folder);
    }
    const base = project('tsconfig.base.json').compilerOptions;
    assert.deepEqual([base?.types, base?.lib], [[], ['ES2024', 'ESNext.Disposable']]);
  });
});

describe('the compiler', () => {
  const copy = mkdtempSync(join(tmpdir(), 'portcullis-layering-'));
  let refused: ReadonlySet<string>;

  before(async () => {
    cpSync(join(tree, 'src'), join(copy, 'src'), { recursive: true });
    for (const file of ['tsconfig.base.json', 'package.json']) cpSync(join(tree, file), join(copy, file));
    symlinkSync(join(tree, 'node_modules'), join(copy, 'node_modules'));
    const projects = folders.map((folder) => `src/${folder}`);
    plantAll(copy);
    refused = refusedFiles(await compile(copy, projects));
  });
  after(() => rmSync(copy, { recursive: true, force: true }));

  for (const folder of folders) {
    const allowed = references(`src/${folder}/tsconfig.json`);
    const forbidden = folders.filter((name) => name !== folder && !allowed.includes(name));
    // References of references count as references to the compiler: those imports are looked for in the sources.
    const unseen = forbidden.filter((name) => reachable(folder).has(name));
    const seen = forbidden.filter((name) => !unseen.includes(name));

    test(`refuses every import that ${folder} may not make: ${seen.join(', ') || 'none'}`, () => {
      const missed = seen
        .flatMap((target) => plantedFiles(folder, target))
        .filter((file) => !refused.has(file));
      assert.deepEqual(missed, []);
    });

    if (unseen.length > 0) {
      test(`${folder} imports nothing of ${unseen.join(', ')}, which the compiler would let it`, () => {
        assert.deepEqual(importsOf(folder, unseen), []);
      });
    }

    test(`takes every import that ${folder} may make: ${allowed.join(', ') || 'none'}`, () => {
      const wrong = allowed
        .flatMap((target) => plantedFiles(folder, target))
        .filter((file) => refused.has(file));
      assert.deepEqual(wrong, []);
    });
  }

  for (const folder of foldersWithoutIo) {
    test(`refuses I/O in ${folder}: modules and globals of Node, the clock of the browser`, () => {
      assert.deepEqual(
        Object.keys(ioPlants).filter((name) => !refused.has(`src/${folder}/planted-io-${name}.ts`)),
        [],
      );
    });
  }
});

const ioPlants: Readonly<Record<string, string>> = {
  fs: "import { readFileSync } from 'node:fs';\nexport const planted = readFileSync;\n",
  'fs-type': "import type { Stats } from 'node:fs';\nexport type Planted = Stats;\n",
  buffer: 'export const planted = Buffer.alloc(1);\n',
  process: 'export const planted = process.pid;\n',
  timer: 'setTimeout(() => undefined, 1);\nexport {};\n',
  clock: 'export const planted = performance.now();\n',
};

/** Each planted import has a target of its own, so that each refusal stands alone. */
function plantAll(copy: string): void {
  for (const folder of folders) {
    for (const target of folders) {
      if (target === folder) continue;
      const name = `planted-for-${folder}`;
      const source = 'export const planted = 1;\nexport type Planted = 1;\n';
      writeFileSync(join(copy, `src/${target}/${name}-value.ts`), source);
      writeFileSync(join(copy, `src/${target}/${name}-type.ts`), source);
      const [value, type] = plantedFiles(folder, target) as [string, string];
      writeFileSync(join(copy, value), `export { planted } from '../${target}/${name}-value.ts';\n`);
      writeFileSync(join(copy, type), `export type { Planted } from '../${target}/${name}-type.ts';\n`);
    }
  }
  for (const folder of foldersWithoutIo) {
    for (const [name, source] of Object.entries(ioPlants)) {
      writeFileSync(join(copy, `src/${folder}/planted-io-${name}.ts`), source);
    }
  }
}

function plantedFiles(folder: string, target: string): string[] {
  return ['value', 'type'].map((kind) => `src/${folder}/planted-${target}-${kind}.ts`);
}

async function compile(directory: string, projects: readonly string[]): Promise<string> {
  const compiler = join(tree, 'node_modules/typescript/bin/tsc');
  const child = spawn(process.execPath, [compiler, '-b', '--pretty', 'false', ...projects], {
    cwd: directory,
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (output += part));
  child.stderr.setEncoding('utf8').on('data', (part: string) => (output += part));
  await new Promise((resolve) => child.on('close', resolve));
  assert.match(output, /error TS/, 'the compiler ran and refused something');
  return output;
}

/** The files that have an error of their own. */
function refusedFiles(output: string): Set<string> {
  return new Set(Array.from(output.matchAll(/^(src\/\S+?)\(\d+,\d+\): error TS/gm), (match) => match[1]!));
}

/** The folders that a folder's references lead to, at any distance. */
function reachable(folder: string, found = new Set<string>()): Set<string> {
  for (const name of references(`src/${folder}/tsconfig.json`)) {
    if (found.has(name)) continue;
    found.add(name);
    reachable(name, found);
  }
  return found;
}

/** Files of a folder that import from one of the others. Tests may. */
function importsOf(folder: string, others: readonly string[]): string[] {
  const pattern = new RegExp(`from '(?:\\.\\./)+(?:${others.join('|')})/`);
  return readdirSync(join(tree, 'src', folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts') && !name.includes('testing/'))
    .filter((name) => pattern.test(readFileSync(join(tree, 'src', folder, name), 'utf8')));
}

function references(file: string): string[] {
  return (project(file).references ?? []).map(({ path }) => basename(path)).sort();
}

function project(file: string): Project {
  return JSON.parse(readFileSync(join(tree, file), 'utf8')) as Project;
}

function everythingBut(...names: readonly string[]): string[] {
  const all = 'core codec model telemetry config net firewall gate http filters wasm ingress egress';
  return `${all} store kernel xds admin server`.split(' ').filter((name) => !names.includes(name));
}
