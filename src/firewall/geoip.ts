/**
 * The country of an address, from a MaxMind database (GeoLite2, GeoIP2 and what has their shape).
 *
 * The supervisor reads and checks the file once (`openGeoip`) and shares the memory; each worker views it.
 * The tree is walked here, by words; records are decoded by the maxmind package, once each: a country
 * database has a few hundred. The country is where the address is (`country`), else where its network is
 * registered (`registered_country`), which is all the database knows of some anycast and satellite networks.
 */
import { open } from 'node:fs/promises';
import { type CountryResponse, Reader } from 'mmdb-lib';
import { formatIp, IpAddress } from '../core/ip.ts';
import { SearchTree } from './search-tree.ts';

/** The largest databases of this kind have 150 MB. */
export const geoipBytesMax = 512 * 1024 * 1024;

/** Decoded countries kept in each worker; a city database has more records than are worth keeping. */
const countriesMax = 16_384;
/** Records decoded to see that a file is whole and has countries, and nodes visited to find them. */
const sampleRecordsMax = 4_096;
const sampleNodesMax = 100_000;
/** Between tree and data. */
const separatorBytes = 16;
const metadataMarker = Buffer.from('\xab\xcd\xefMaxMind.com', 'latin1');

/** A file that cannot serve as a GeoIP database; the message names it and says why. */
export class GeoipError extends Error {
  constructor(path: string, why: string, cause?: unknown) {
    super(`cannot use ${path} as a GeoIP database: ${why}`, { cause });
    this.name = 'GeoipError';
  }
}

export class GeoipDatabase {
  readonly buffer: SharedArrayBuffer;
  readonly #reader: Reader<CountryResponse>;
  readonly #tree: SearchTree;
  readonly #countries = new Map<number, string | undefined>();

  /** A view of memory that `openGeoip` has checked; nothing of it is copied. */
  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    const bytes = Buffer.from(buffer);
    this.#reader = new Reader<CountryResponse>(bytes);
    this.#tree = new SearchTree(bytes, this.#reader.metadata);
  }

  /** ISO 3166-1 alpha-2 in upper case; undefined when the database does not know. */
  country(ip: IpAddress): string | undefined {
    const record = this.#tree.find(ip);
    if (record <= this.#tree.nodeCount) return undefined;
    const known = this.#countries.get(record);
    if (known !== undefined || this.#countries.has(record)) return known;
    if (this.#countries.size >= countriesMax) this.#countries.clear();
    const country = this.#decode(ip);
    this.#countries.set(record, country);
    return country;
  }

  /** A record too damaged to decode knows no country; opening the file decoded a sample of them. */
  #decode(ip: IpAddress): string | undefined {
    try {
      return countryOf(this.#reader, ip);
    } catch {
      return undefined;
    }
  }
}

/**
 * Reads a database into shared memory and checks it: every node of the tree, and the records of a sample.
 * Throws a `GeoipError`; the caller goes on with the database it had.
 */
export async function openGeoip(path: string): Promise<SharedArrayBuffer> {
  let buffer: SharedArrayBuffer;
  try {
    buffer = await readShared(path);
  } catch (error) {
    if (error instanceof GeoipError) throw error;
    throw new GeoipError(path, (error as Error).message, error);
  }
  checkGeoip(path, buffer);
  return buffer;
}

async function readShared(path: string): Promise<SharedArrayBuffer> {
  await using file = await open(path, 'r');
  const facts = await file.stat();
  if (!facts.isFile()) throw new GeoipError(path, 'it is not a regular file');
  if (facts.size > geoipBytesMax) throw new GeoipError(path, 'it is larger than 512 MiB');
  const buffer = new SharedArrayBuffer(facts.size);
  const bytes = new Uint8Array(buffer);
  for (let filled = 0; filled < bytes.length;) {
    const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, filled);
    if (bytesRead === 0) throw new GeoipError(path, 'it became shorter while it was read');
    filled += bytesRead;
  }
  return buffer;
}

function checkGeoip(path: string, buffer: SharedArrayBuffer): void {
  const bytes = Buffer.from(buffer);
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) throw new GeoipError(path, 'it is compressed with gzip');
  const metadataStart = bytes.lastIndexOf(metadataMarker);
  if (metadataStart < 0) throw new GeoipError(path, 'it is no MaxMind DB, or was cut short (no metadata)');
  let reader: Reader<CountryResponse>;
  try {
    reader = new Reader<CountryResponse>(bytes);
  } catch (error) {
    throw new GeoipError(path, 'its metadata is damaged', error);
  }
  const { binaryFormatMajorVersion, ipVersion, nodeCount, searchTreeSize } = reader.metadata;
  const known = binaryFormatMajorVersion === 2 && (ipVersion === 4 || ipVersion === 6) && nodeCount > 0;
  if (!known) throw new GeoipError(path, 'its metadata names a format that is not known');
  const dataBytes = metadataStart - searchTreeSize - separatorBytes;
  if (dataBytes <= 0) throw new GeoipError(path, 'it was cut short (the search tree is not whole)');

  const tree = new SearchTree(bytes, reader.metadata);
  if (!treeIsSound(tree, dataBytes)) throw new GeoipError(path, 'its search tree points outside the file');
  let countries: number;
  try {
    countries = countSampleCountries(reader, tree);
  } catch (error) {
    throw new GeoipError(path, 'its data is damaged', error);
  }
  if (countries === 0) {
    throw new GeoipError(path, `it holds no countries (its type is ${reader.metadata.databaseType})`);
  }
}

/** Each record leads to a node, to nothing, or to data that is there. */
function treeIsSound(tree: SearchTree, dataBytes: number): boolean {
  const dataStart = tree.nodeCount + separatorBytes;
  for (let node = 0; node < tree.nodeCount; node++) {
    for (let side = 0; side < 2; side++) {
      const record = tree.record(node, side);
      if (record <= tree.nodeCount) continue;
      if (record < dataStart || record >= dataStart + dataBytes) return false;
    }
  }
  return true;
}

/** Decodes the first distinct records in address order, and answers how many name a country. */
function countSampleCountries(reader: Reader<CountryResponse>, tree: SearchTree): number {
  const seen = new Set<number>();
  const pending = [{ record: 0, depth: 0, ip: new IpAddress(0, 0, tree.depth === 32 ? 0xffff : 0, 0) }];
  let countries = 0;
  let decoded = 0;
  while (pending.length > 0 && decoded < sampleRecordsMax && seen.size < sampleNodesMax) {
    const { record, depth, ip } = pending.pop()!;
    if (record === tree.nodeCount || seen.has(record)) continue;
    seen.add(record);
    if (record > tree.nodeCount) {
      decoded++;
      if (countryOf(reader, ip) !== undefined) countries++;
    } else if (depth < tree.depth) {
      const bit = depth + (tree.depth === 32 ? 96 : 0);
      pending.push({ record: tree.record(record, 1), depth: depth + 1, ip: withBit(ip, bit) });
      pending.push({ record: tree.record(record, 0), depth: depth + 1, ip });
    }
  }
  return countries;
}

function withBit(ip: IpAddress, bit: number): IpAddress {
  const words: [number, number, number, number] = [ip.w0, ip.w1, ip.w2, ip.w3];
  words[bit >>> 5]! |= 1 << (31 - (bit & 31));
  return new IpAddress(...words);
}

function countryOf(reader: Reader<CountryResponse>, ip: IpAddress): string | undefined {
  const record = reader.get(formatIp(ip));
  const isoCode: unknown = record?.country?.iso_code ?? record?.registered_country?.iso_code;
  return typeof isoCode === 'string' ? isoCode.toUpperCase() : undefined;
}
