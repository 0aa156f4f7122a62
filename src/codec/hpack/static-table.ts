/** The static table of HPACK: RFC 7541 Appendix A. Indices count from 1. */

export interface StaticField {
  readonly name: string;
  readonly value: string;
}

const rows: readonly (readonly [name: string, value?: string])[] = [
  [':authority'],
  [':method', 'GET'],
  [':method', 'POST'],
  [':path', '/'],
  [':path', '/index.html'],
  [':scheme', 'http'],
  [':scheme', 'https'],
  [':status', '200'],
  [':status', '204'],
  [':status', '206'],
  [':status', '304'],
  [':status', '400'],
  [':status', '404'],
  [':status', '500'],
  ['accept-charset'],
  ['accept-encoding', 'gzip, deflate'],
  ['accept-language'],
  ['accept-ranges'],
  ['accept'],
  ['access-control-allow-origin'],
  ['age'],
  ['allow'],
  ['authorization'],
  ['cache-control'],
  ['content-disposition'],
  ['content-encoding'],
  ['content-language'],
  ['content-length'],
  ['content-location'],
  ['content-range'],
  ['content-type'],
  ['cookie'],
  ['date'],
  ['etag'],
  ['expect'],
  ['expires'],
  ['from'],
  ['host'],
  ['if-match'],
  ['if-modified-since'],
  ['if-none-match'],
  ['if-range'],
  ['if-unmodified-since'],
  ['last-modified'],
  ['link'],
  ['location'],
  ['max-forwards'],
  ['proxy-authenticate'],
  ['proxy-authorization'],
  ['range'],
  ['referer'],
  ['refresh'],
  ['retry-after'],
  ['server'],
  ['set-cookie'],
  ['strict-transport-security'],
  ['transfer-encoding'],
  ['user-agent'],
  ['vary'],
  ['via'],
  ['www-authenticate'],
];

/** Entry 0 is never used: indices count from 1. */
export const staticFields: readonly StaticField[] = [
  { name: '', value: '' },
  ...rows.map(([name, value = '']) => ({ name, value })),
];

export const staticCount = rows.length;

/** The first entry of each name, and of each name with a value of its own. */
export const staticIndices: ReadonlyMap<
  string,
  { readonly index: number; readonly values: ReadonlyMap<string, number> }
> = indexed();

function indexed(): Map<string, { index: number; values: Map<string, number> }> {
  const names = new Map<string, { index: number; values: Map<string, number> }>();
  for (let index = 1; index <= staticCount; index++) {
    const { name, value } = staticFields[index]!;
    const known = names.get(name) ?? { index, values: new Map<string, number>() };
    names.set(name, known);
    if (value !== '') known.values.set(value, index);
  }
  return names;
}
