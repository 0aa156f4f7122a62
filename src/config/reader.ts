/**
 * Reads raw values by the schema. A value that is refused becomes `undefined` and a finding, and reading goes on, so
 * that one pass reports everything and the checks behind it still see the rest.
 */

import { Refusal } from './kinds.ts';
import type { Directory, Kind } from './kinds.ts';
import { quote } from './problem.ts';
import type { Finding, Path } from './problem.ts';
import type {
  Entries,
  Fields,
  List,
  Node,
  ReadEntry,
  ReadFields,
  Rows,
  Section,
  Setting,
} from './schema-nodes.ts';
import { nearestName } from './suggestion.ts';

export interface Reading<F extends Fields> {
  readonly values: ReadFields<F>;
  readonly findings: readonly Finding[];
}

export function readTable<F extends Fields>(fields: F, raw: unknown, directory: Directory): Reading<F> {
  const reader = new Reader(directory);
  const values = reader.table(fields, raw) as ReadFields<F>;
  return { values, findings: reader.findings };
}

/** True for what TOML and YAML call a table or a mapping. */
export function isTable(raw: unknown): raw is Record<string, unknown> {
  return typeof raw === 'object' && raw !== null && !Array.isArray(raw) && !(raw instanceof Date);
}

class Reader {
  readonly findings: Finding[] = [];
  readonly #directory: Directory;
  readonly #absences = new Map<Section<Fields>, unknown>();
  /** Where reading is. Copied only when there is something to report. */
  readonly #path: (string | number)[] = [];

  constructor(directory: Directory) {
    this.#directory = directory;
  }

  table(fields: Fields, raw: unknown): Record<string, unknown> {
    const table = isTable(raw) ? raw : {};
    if (raw !== undefined && table !== raw) this.#refuse(`a table with ${nameList(fields)}`, raw);
    const values: Record<string, unknown> = {};
    for (const name in fields) {
      this.#path.push(name);
      values[name] = this.#node(
        fields[name]!,
        Object.hasOwn(table, name) ? table[name] : undefined,
        table === raw,
      );
      this.#path.pop();
    }
    for (const name of Object.keys(table)) if (!Object.hasOwn(fields, name)) this.#unknown(name, fields);
    return values;
  }

  /** Without the table around, what it lacks goes without saying. */
  #node(node: Node, raw: unknown, isTablePresent: boolean): unknown {
    switch (node.form) {
      case 'setting':
        return this.#setting(node, raw, isTablePresent);
      case 'list':
        return this.#list(node, raw);
      case 'entries':
        return this.#entries(node, raw);
      case 'section':
        if (raw !== undefined && raw !== null) return this.table(node.fields, raw);
        return 'isOptional' in node ? null : this.#absent(node);
      case 'rows':
        return this.#rows(node, raw, isTablePresent);
    }
  }

  /** Every route that leaves a section out shares what that means, for 100,000 routes may. */
  #absent(node: Section<Fields>): unknown {
    let values = this.#absences.get(node);
    if (values === undefined) this.#absences.set(node, (values = this.table(node.fields, undefined)));
    return values;
  }

  #setting(node: Setting<unknown>, raw: unknown, isTablePresent: boolean): unknown {
    // YAML writes "not set" as an empty value.
    const value = raw ?? node.fallback;
    if (value === null) return null;
    if (value !== undefined) return this.#value(node, value);
    if (isTablePresent) this.#note('key-missing', node.kind.expected, 'nothing');
    return undefined;
  }

  #value<T>({ kind }: { readonly kind: Kind<T> }, raw: unknown): T | undefined {
    const value = kind.read(raw, this.#directory);
    if (!(value instanceof Refusal)) return value;
    const shown = kind.isHidden === true ? 'another value' : quote(raw);
    const found = shown + (value.fault === null ? '' : `, which ${value.fault}`);
    this.#note(
      'value-invalid',
      kind.expected,
      found,
      value.suggestion === null ? null : `"${value.suggestion}"`,
    );
    return undefined;
  }

  #list(node: List<unknown>, raw: unknown): readonly unknown[] {
    const items = this.#array(raw ?? node.fallback, 0, node.countMax, `a list, each ${node.kind.expected}`);
    return items.map((item, index) => {
      this.#path.push(index);
      const value = this.#value(node, item);
      this.#path.pop();
      return value;
    });
  }

  #entries(node: Entries, raw: unknown): readonly ReadEntry[] {
    if (raw === undefined || raw === null) return [];
    const each = node.isRepeatable ? `${node.kind.expected}, or a list of such` : node.kind.expected;
    if (!isTable(raw)) {
      this.#refuse(`a table of names, each with ${each}`, raw);
      return [];
    }
    const read: ReadEntry[] = [];
    for (const [name, value] of Object.entries(raw)) {
      this.#path.push(name);
      const key = this.#value({ kind: node.keyKind }, name);
      const isList = node.isRepeatable && Array.isArray(value);
      for (const item of isList ? (value as unknown[]) : [value]) read.push([key, this.#value(node, item)]);
      this.#path.pop();
    }
    if (read.length <= node.countMax) return read;
    this.#note('list-oversized', `at most ${node.countMax}`, `${read.length}`);
    return [];
  }

  #rows(node: Rows<Fields>, raw: unknown, isTablePresent: boolean): readonly unknown[] {
    const rows = this.#array(raw, isTablePresent ? node.countMin : 0, node.countMax, 'a list of tables');
    return rows.map((row, index) => {
      this.#path.push(index);
      const isShort = node.shorthand !== null && typeof row === 'string';
      const values = this.table(node.fields, isShort ? { [node.shorthand]: row } : (row ?? null));
      this.#path.pop();
      return values;
    });
  }

  /** `raw` as an array of allowed length; an empty one, and a finding, when it is not. */
  #array(raw: unknown, countMin: number, countMax: number, expected: string): readonly unknown[] {
    if (raw !== undefined && raw !== null && !Array.isArray(raw)) {
      this.#refuse(expected, raw);
      return [];
    }
    const items: readonly unknown[] = raw ?? [];
    if (items.length < countMin) this.#note('key-missing', `at least ${countMin}`, 'none');
    if (items.length <= countMax) return items;
    this.#note('list-oversized', `at most ${countMax}`, quote(raw));
    return [];
  }

  #unknown(name: string, fields: Fields): void {
    const nearest = nearestName(name, Object.keys(fields));
    const suggestion = nearest === null ? null : `"${nearest}"`;
    this.#path.push(name);
    this.#note('key-unknown', `one of ${nameList(fields)}`, quote(name), suggestion, 'key');
    this.#path.pop();
  }

  #refuse(expected: string, raw: unknown): void {
    this.#note('value-invalid', expected, quote(raw));
  }

  #note(
    code: Finding['code'],
    expected: string,
    found: string | null,
    suggestion: string | null = null,
    at: 'key' | 'value' = 'value',
  ): void {
    const path: Path = [...this.#path];
    this.findings.push({ severity: 'error', code, path, at, expected, found, suggestion });
  }
}

function nameList(fields: Fields): string {
  return Object.keys(fields).join(', ');
}
