// Builds the canned heads that http-load sends: HTTP/1 heads as text, HTTP/2 header blocks (RFC 7541) as an encoder
// writes them on a connection. The first block enters every constant field into the dynamic table, the blocks
// after it refer to the entries; what changes from request to request is a literal that enters nothing.

export type Version = 1 | 2;

/** A field's value, or what it is in each round. Pseudo-fields come first and say what an HTTP/1 line says. */
export type CannedField = readonly [name: string, value: string | ((round: number) => string)];

/** The fields of every request but `:authority`, and of every response. */
export interface HeadSet {
  request: readonly CannedField[];
  response: readonly CannedField[];
  trailers?: readonly CannedField[];
  /** Different heads of one name, sent in turn. */
  rounds: number;
}

/** The static table as far as the heads here use it: an entry's number by name, or by name and value. */
const STATIC_NAMES: Readonly<Record<string, number>> = {
  ':authority': 1,
  ':method': 2,
  ':path': 4,
  ':scheme': 6,
  ':status': 8,
  'accept-encoding': 16,
  'accept-language': 17,
  'accept-ranges': 18,
  accept: 19,
  age: 21,
  authorization: 23,
  'cache-control': 24,
  'content-encoding': 26,
  'content-length': 28,
  'content-type': 31,
  cookie: 32,
  date: 33,
  etag: 34,
  'last-modified': 44,
  referer: 51,
  server: 54,
  'set-cookie': 55,
  'strict-transport-security': 56,
  'user-agent': 58,
  vary: 59,
  via: 60,
};
const STATIC_FIELDS: Readonly<Record<string, number>> = {
  ':method GET': 2,
  ':method POST': 3,
  ':path /': 4,
  ':scheme http': 6,
  ':scheme https': 7,
  ':status 200': 8,
};
const STATIC_COUNT = 61;

/** Each name's first head, then `rounds` times one head for each name: the order that http-load expects. */
export function requestRecords(set: HeadSet, version: Version, names: readonly string[]): Buffer {
  const records: Buffer[] = [];
  for (let round = -1; round < set.rounds; round++) {
    for (const name of names) {
      const fields = withAuthority(set.request, name);
      records.push(version === 1 ? requestText(fields, round) : block(fields, round));
    }
  }
  return file(records);
}

/** The first response of a connection, then one for each round. */
export function responseRecords(set: HeadSet, version: Version): Buffer {
  const rounds = Array.from({ length: set.rounds + 1 }, (_, i) => i - 1);
  return file(
    rounds.map((round) => (version === 1 ? responseText(set.response, round) : block(set.response, round))),
  );
}

/** One block that enters nothing into the table, for HTTP/2 only. */
export function trailerRecords(fields: readonly CannedField[]): Buffer {
  return file([Buffer.concat(fields.map(([name, value]) => literal(name, valueIn(value, 0), 0x00, 4)))]);
}

function withAuthority(fields: readonly CannedField[], name: string): CannedField[] {
  const pseudo = fields.filter(([field]) => field.startsWith(':'));
  const others = fields.filter(([field]) => !field.startsWith(':'));
  return [...pseudo, [':authority', name], ...others];
}

function requestText(fields: readonly CannedField[], round: number): Buffer {
  const pseudo = (wanted: string): string =>
    valueIn(fields.find(([name]) => name === wanted)?.[1] ?? '', round);
  const line = `${pseudo(':method')} ${pseudo(':path')} HTTP/1.1\r\nHost: ${pseudo(':authority')}\r\n`;
  return Buffer.from(`${line}${fieldLines(fields, round)}\r\n`, 'latin1');
}

function responseText(fields: readonly CannedField[], round: number): Buffer {
  return Buffer.from(`HTTP/1.1 200 OK\r\n${fieldLines(fields, round)}\r\n`, 'latin1');
}

function fieldLines(fields: readonly CannedField[], round: number): string {
  const lines = fields
    // `te: trailers` is a matter between two HTTP/2 peers.
    .filter(([name]) => !name.startsWith(':') && name !== 'te')
    .map(([name, value]) => `${titleCase(name)}: ${valueIn(value, round)}\r\n`);
  return lines.join('');
}

function titleCase(name: string): string {
  return name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());
}

/** Round -1 is a connection's first block. */
function block(fields: readonly CannedField[], round: number): Buffer {
  const entered = fields.filter((field) => isEntered(field));
  const encoded = fields.map((field) => {
    const [name, value] = field;
    const text = valueIn(value, round);
    const known = STATIC_FIELDS[`${name} ${text}`];
    if (known !== undefined) return integer(known, 0x80, 7);
    if (!isEntered(field)) return literal(name, text, 0x00, 4);
    if (round === -1) return literal(name, text, 0x40, 6);
    return integer(STATIC_COUNT + entered.length - entered.indexOf(field), 0x80, 7);
  });
  return Buffer.concat(encoded);
}

function isEntered([name, value]: CannedField): boolean {
  return typeof value === 'string' && STATIC_FIELDS[`${name} ${value}`] === undefined;
}

function literal(name: string, value: string, pattern: number, prefixBits: number): Buffer {
  const known = STATIC_NAMES[name];
  const head =
    known === undefined ? [Buffer.from([pattern]), string(name)] : [integer(known, pattern, prefixBits)];
  return Buffer.concat([...head, string(value)]);
}

function string(text: string): Buffer {
  return Buffer.concat([integer(text.length, 0x00, 7), Buffer.from(text, 'latin1')]);
}

/** RFC 7541 §5.1. */
function integer(value: number, pattern: number, prefixBits: number): Buffer {
  const limit = (1 << prefixBits) - 1;
  if (value < limit) return Buffer.from([pattern | value]);
  const bytes = [pattern | limit];
  let rest = value - limit;
  for (; rest >= 0x80; rest >>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}

function valueIn(value: CannedField[1], round: number): string {
  return typeof value === 'string' ? value : value(round);
}

function file(records: readonly Buffer[]): Buffer {
  return Buffer.concat(
    records.flatMap((record) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(record.length);
      return [length, record];
    }),
  );
}
