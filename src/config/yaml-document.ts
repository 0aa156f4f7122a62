/** YAML 1.2 (core schema: `no` is text, not false), one document. Aliases are bounded; tags of other schemas are refused. */

import { isAlias, isMap, isScalar, isSeq, parseDocument } from 'yaml';
import type { Document as YamlTree, Node as YamlNode } from 'yaml';
import type { Document, SyntaxFault, Wanted } from './document.ts';

/** Of one anchor: a file of a few lines must not grow to gigabytes. */
const aliasesMax = 100;

export function parseYaml(text: string): Document | SyntaxFault {
  try {
    const tree = parseDocument(text, { prettyErrors: false, stringKeys: true });
    const fault = tree.errors[0] ?? tree.warnings[0];
    if (fault !== undefined) {
      const message =
        fault.code === 'MULTIPLE_DOCS' ? 'one document, and here a second begins' : fault.message;
      return { kind: 'fault', message, offset: fault.pos[0] };
    }
    const root: unknown = tree.toJS({ maxAliasCount: aliasesMax });
    return {
      kind: 'document',
      root: root ?? {},
      locate: (wanted) => wanted.map((each) => locate(tree, each)),
    };
  } catch (error) {
    // Too many aliases, an unknown one, or nesting deeper than the stack.
    return { kind: 'fault', message: error instanceof Error ? error.message : String(error), offset: null };
  }
}

function locate(tree: YamlTree, { path, at }: Wanted): number | undefined {
  let node = resolve(tree, tree.contents);
  let offset = node?.range?.[0];
  for (const [index, part] of path.entries()) {
    let key: YamlNode | null = null;
    let value: unknown;
    if (isMap(node)) {
      const pair = node.items.find((each) => isScalar(each.key) && String(each.key.value) === String(part));
      key = (pair?.key as YamlNode | undefined) ?? null;
      value = pair?.value;
    } else if (isSeq(node)) {
      value = node.items[Number(part)];
    }
    node = resolve(tree, value);
    const isLast = index === path.length - 1;
    const place = isLast && at === 'key' ? (key ?? node) : (node ?? key);
    if (place?.range === undefined || place.range === null) return offset;
    offset = place.range[0];
  }
  return offset;
}

function resolve(tree: YamlTree, node: unknown): YamlNode | null {
  if (isAlias(node)) return node.resolve(tree) ?? null;
  return isMap(node) || isSeq(node) || isScalar(node) ? node : null;
}
