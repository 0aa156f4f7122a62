/** The places of keys and values that somebody asked for: a tree of key paths that a walk over the text fills in. */

import type { Wanted } from './document.ts';

/** A node in the tree of key paths that somebody wants to know the place of. */
export class WantedPlace {
  readonly children = new Map<string, WantedPlace>();
  keyOffset: number | undefined = undefined;
  valueOffset: number | undefined = undefined;
  /** How many elements it has had so far as an array of tables. */
  rowCount = 0;
}

/** The node at `path` below `root`, made when it is new. */
export function placeAt(root: WantedPlace, path: readonly (string | number)[]): WantedPlace {
  let place = root;
  for (const part of path) {
    let next = place.children.get(String(part));
    if (next === undefined) place.children.set(String(part), (next = new WantedPlace()));
    place = next;
  }
  return place;
}

/** Where a walk stands in the tree; undefined where nobody asked. */
export type Target = WantedPlace | undefined;

/** Lets `fill` walk the text with the root of the tree, and answers the offset of each of `wanted`. */
export function offsetsOf(
  wanted: readonly Wanted[],
  fill: (root: WantedPlace) => void,
): readonly (number | undefined)[] {
  const root = new WantedPlace();
  for (const { path } of wanted) placeAt(root, path);
  fill(root);
  return wanted.map((each) => nearestOffset(root, each));
}

/** The first place wins: a table is where it is first opened. */
export function noteKey(table: Target, name: string, offset: number): Target {
  const target = table?.children.get(name);
  if (target !== undefined) target.keyOffset ??= offset;
  return target;
}

export function noteValue(target: Target, offset: number): void {
  if (target !== undefined) target.valueOffset ??= offset;
}

/** Of the place itself, or else of its nearest ancestor. */
function nearestOffset(root: WantedPlace, { path, at }: Wanted): number | undefined {
  let place = root;
  let nearest = root.valueOffset;
  for (const part of path) {
    place = placeAt(place, [part]);
    nearest = place.valueOffset ?? place.keyOffset ?? nearest;
  }
  return at === 'key' ? (place.keyOffset ?? nearest) : nearest;
}
