/** What the schema is made of: settings, lists, tables and rows, and the types of what reading them gives. */
import type { Kind } from './kinds.ts';

export type Fields = Readonly<Record<string, Node>>;
export type Node =
  Setting<unknown> | List<unknown> | Entries | Section<Fields> | OptionalSection<Fields> | Rows<Fields>;

/** One value. */
export interface Setting<T> {
  readonly form: 'setting';
  readonly kind: Kind<NonNullable<T>>;
  /** As the file would write it; null: may be left out and is then null; undefined: must be there. */
  readonly fallback: string | number | boolean | null | undefined;
  readonly description: string;
  /** Only types: what reading gives. */
  readonly result?: T;
}

/** A list of values. */
export interface List<T> {
  readonly form: 'list';
  readonly kind: Kind<T>;
  readonly countMax: number;
  /** What a list that is left out holds, as the file would write it. */
  readonly fallback: readonly (string | number)[];
  readonly description: string;
}

/** A table whose keys the operator chooses: the names of header fields. */
export interface Entries {
  readonly form: 'entries';
  readonly keyKind: Kind<string>;
  readonly kind: Kind<string>;
  /** A value may be a list: the key once for each of its elements. */
  readonly isRepeatable: boolean;
  readonly countMax: number;
  readonly description: string;
}

/** A table that is there once: `[server]`. */
export interface Section<F extends Fields> {
  readonly form: 'section';
  readonly fields: F;
  readonly description: string;
}

/** A table whose absence says something of its own: it is then null, not a table of defaults. */
export interface OptionalSection<F extends Fields> extends Section<F> {
  readonly isOptional: true;
}

/** A table that is there any number of times: `[[listeners]]`. */
export interface Rows<F extends Fields> {
  readonly form: 'rows';
  readonly fields: F;
  readonly countMin: number;
  readonly countMax: number;
  readonly description: string;
  /** The setting that a row says which is written as its value alone: `"github.com"`. */
  readonly shorthand: string | null;
}

/** What reading a node gives. `undefined` is a value that was refused or is missing, and has been reported. */
export type Read<N> =
  N extends Setting<infer T>
    ? T | undefined
    : N extends List<infer T>
      ? readonly (T | undefined)[]
      : N extends Entries
        ? readonly ReadEntry[]
        : N extends OptionalSection<infer F>
          ? ReadFields<F> | null
          : N extends Section<infer F>
            ? ReadFields<F>
            : N extends Rows<infer F>
              ? readonly ReadFields<F>[]
              : never;
export type ReadEntry = readonly [key: string | undefined, value: string | undefined];
export type ReadFields<F extends Fields> = { readonly [K in keyof F]: Read<F[K]> };

/** Settings of the values that one of them is left out of are `null`. */
export function optional<T>(kind: Kind<NonNullable<T>>, description: string): Setting<T | null> {
  return { form: 'setting', kind, fallback: null, description };
}

export function required<T>(kind: Kind<NonNullable<T>>, description: string): Setting<T> {
  return { form: 'setting', kind, fallback: undefined, description };
}

export function setting<T>(
  kind: Kind<NonNullable<T>>,
  fallback: string | number | boolean,
  description: string,
): Setting<T> {
  return { form: 'setting', kind, fallback, description };
}

export function list<T>(
  kind: Kind<T>,
  countMax: number,
  description: string,
  fallback: readonly (string | number)[] = [],
): List<T> {
  return { form: 'list', kind, countMax, fallback, description };
}

export function entries(
  keyKind: Kind<string>,
  kind: Kind<string>,
  countMax: number,
  isRepeatable: boolean,
  description: string,
): Entries {
  return { form: 'entries', keyKind, kind, countMax, isRepeatable, description };
}

export function section<const F extends Fields>(description: string, fields: F): Section<F> {
  return { form: 'section', fields, description };
}

export function optionalSection<const F extends Fields>(description: string, fields: F): OptionalSection<F> {
  return { form: 'section', fields, description, isOptional: true };
}

export function rows<const F extends Fields>(
  countMin: number,
  countMax: number,
  description: string,
  fields: F,
  shorthand: (string & keyof F) | null = null,
): Rows<F> {
  return { form: 'rows', fields, countMin, countMax, description, shorthand };
}
