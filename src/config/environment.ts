/**
 * Settings from the environment. A variable is `PORTCULLIS_` and the key path in capitals, its parts joined by `_`:
 * PORTCULLIS_SERVER_IDLE_TIMEOUT, PORTCULLIS_LISTENERS_0_ADDR. It replaces what the file says. A list is written with
 * commas; an empty value is an empty list, or a setting left out.
 */

import { rawIn } from './check-context.ts';
import { plain } from './problem.ts';
import type { Finding, Path } from './problem.ts';
import { isTable } from './reader.ts';
import type { Fields, List, Setting } from './schema.ts';
import { nearestName } from './suggestion.ts';

const prefix = 'PORTCULLIS_';
/** Read by the launcher, before any configuration. */
const launcherVariables: ReadonlySet<string> = new Set(['PORTCULLIS_NODE']);

export type Environment = Readonly<Record<string, string | undefined>>;

/** A leaf of the schema, with `0` for every index in its path. */
export interface Leaf {
  readonly path: Path;
  readonly node: Setting<unknown> | List<unknown>;
  /** Of the row that the leaf is in, if rows have one: what a row of text stands for. */
  readonly shorthand: string | null;
}

export interface VariableFinding extends Finding {
  readonly variable: string;
}

export interface Overlay {
  readonly findings: readonly VariableFinding[];
  /** The variable that wrote the value, or made the row, at a path, by pathKey. */
  readonly origins: ReadonlyMap<string, string>;
}

/** Every setting and list below `fields`. */
export function* leaves(fields: Fields, path: Path = [], shorthand: string | null = null): Generator<Leaf> {
  for (const [name, node] of Object.entries(fields)) {
    const here = [...path, name];
    if (node.form === 'section') yield* leaves(node.fields, here);
    else if (node.form === 'rows') yield* leaves(node.fields, [...here, 0], node.shorthand);
    // No variable could name the keys of a table that the operator chooses.
    else if (node.form !== 'entries') yield { path: here, node, shorthand };
  }
}

export function variableName(path: Path): string {
  return prefix + path.join('_').toUpperCase();
}

export function pathKey(path: Path): string {
  return path.join('\0');
}

/** Writes the settings of `environment` into `root`, the raw values of the file. */
export function overlay(fields: Fields, root: Record<string, unknown>, environment: Environment): Overlay {
  const findings: VariableFinding[] = [];
  const origins = new Map<string, string>();
  const known = new Map([...leaves(fields)].map((leaf) => [variableName(leaf.path), leaf]));
  for (const name of ours(environment)) {
    const leaf = known.get(name.replace(indexes, '0'));
    if (leaf === undefined) {
      findings.push(unknownVariable(name, [...known.keys()]));
      continue;
    }
    const path = withIndexes(leaf.path, name);
    if (leaf.shorthand !== null) writeOut(root, path, leaf.shorthand);
    const fault = write(root, path, rawValue(leaf.node, environment[name]!), (made) => {
      origins.set(pathKey(made), name);
    });
    if (fault !== undefined) findings.push({ ...fault, variable: name });
  }
  return { findings, origins };
}

/** A number between underscores: the index of a row. */
const indexes = /(?<=_)\d+(?=_)/g;

/** In the order of their indexes, so that rows are made one after the other. */
function ours(environment: Environment): string[] {
  const names = Object.keys(environment).filter(
    (name) => name.startsWith(prefix) && !launcherVariables.has(name),
  );
  return names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
}

function withIndexes(path: Path, name: string): Path {
  const written = name.match(indexes) ?? [];
  let next = 0;
  return path.map((part) => (typeof part === 'number' ? Number(written[next++]) : part));
}

function rawValue(node: Leaf['node'], text: string): unknown {
  if (node.form === 'setting') return text === '' && node.fallback === null ? null : node.kind.fromText(text);
  const items = text.split(',').map((item) => item.trim());
  return items.filter((item) => item !== '').map((item) => node.kind.fromText(item));
}

/** Turns a row that is written as text into the table it stands for, so that a variable may add to it. */
function writeOut(root: Record<string, unknown>, path: Path, shorthand: string): void {
  const rows = rawIn(root)(path.slice(0, -2));
  const index = path.at(-2);
  if (!Array.isArray(rows) || typeof index !== 'number') return;
  const row: unknown = rows[index];
  if (typeof row === 'string') rows[index] = { [shorthand]: row };
}

/** Writes at `path`, making tables and the next row of a list on the way; answers why it could not. */
function write(
  root: Record<string, unknown>,
  path: Path,
  value: unknown,
  made: (path: Path) => void,
): Finding | undefined {
  let container: unknown = root;
  for (const [index, part] of path.entries()) {
    const here = path.slice(0, index + 1);
    const isLast = index === path.length - 1;
    if (Array.isArray(container) && Number(part) > container.length)
      return indexFault(here, container.length);
    // What stands in the way is no table, which reading the file reports.
    if (!Array.isArray(container) && !isTable(container)) return undefined;
    const holder = container as Record<string | number, unknown>;
    if (isLast || !Object.hasOwn(holder, part) || holder[part] === null) {
      holder[part] = isLast ? value : typeof path[index + 1] === 'number' ? [] : {};
      made(here);
    }
    container = holder[part];
  }
  return undefined;
}

function indexFault(path: Path, count: number): Finding {
  return {
    severity: 'error',
    code: 'variable-index',
    path,
    at: 'value',
    expected: count === 0 ? 'index 0, as there are none' : `an index up to ${count}, as there are ${count}`,
    found: String(path.at(-1)),
    suggestion: null,
  };
}

function unknownVariable(name: string, known: readonly string[]): VariableFinding {
  const nearest = nearestName(name.replace(indexes, '0'), known);
  const written = name.match(indexes) ?? [];
  let next = 0;
  return {
    variable: name,
    severity: 'warning',
    code: 'variable-unknown',
    path: [],
    at: 'key',
    expected: 'the name of a setting',
    found: plain(name),
    suggestion: nearest === null ? null : nearest.replace(indexes, (index) => written[next++] ?? index),
  };
}
