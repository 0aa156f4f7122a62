import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { type CountryResponse, Reader } from 'maxmind';
import { formatIp, IpAddress, parseIp } from '../core/ip.ts';
import { countryRecord, type MmdbOptions, writeMmdb } from '../../test/support/mmdb-writer.ts';
import { GeoipDatabase, GeoipError, geoipBytesMax, openGeoip } from './geoip.ts';

const folder = await mkdtemp(join(tmpdir(), 'portcullis-geoip-'));
after(() => rm(folder, { recursive: true }));
let files = 0;

async function fileOf(bytes: Uint8Array): Promise<string> {
  const path = join(folder, `${files++}.mmdb`);
  await writeFile(path, bytes);
  return path;
}

async function databaseOf(options: MmdbOptions): Promise<GeoipDatabase> {
  return new GeoipDatabase(await openGeoip(await fileOf(writeMmdb(options))));
}

const networks: MmdbOptions['networks'] = [
  ['0.0.0.0/4', countryRecord('ZZ')],
  ['1.0.0.0/8', countryRecord('AU')],
  ['1.2.3.0/24', countryRecord('CN')],
  ['1.2.3.4/32', countryRecord('NL')],
  ['203.0.113.0/25', { registered_country: { iso_code: 'BR' } }],
  ['198.51.100.0/24', { country: { iso_code: 'fr' }, registered_country: { iso_code: 'DE' } }],
];
const networksV6: MmdbOptions['networks'] = [
  ['2001:db8::/32', countryRecord('SE')],
  ['2001:db8:7::/48', countryRecord('NO')],
  ['2001:db8:7::1/128', countryRecord('FI')],
];

for (const recordSize of [24, 28, 32] as const) {
  for (const ipVersion of [4, 6] as const) {
    test(`finds countries with ${recordSize}-bit records in an IPv${ipVersion} database`, async () => {
      const all = ipVersion === 4 ? networks : [...networks, ...networksV6];
      const database = await databaseOf({ networks: all, ipVersion, recordSize });
      const country = (text: string) => database.country(parseIp(text)!);
      assert.equal(country('1.255.0.1'), 'AU');
      assert.equal(country('1.2.3.5'), 'CN');
      assert.equal(country('1.2.3.4'), 'NL');
      assert.equal(country('::ffff:1.2.3.4'), 'NL');
      assert.equal(country('5.0.0.1'), 'ZZ');
      assert.equal(country('99.0.0.1'), undefined);
      assert.equal(country('203.0.113.1'), 'BR', 'registered_country where there is no country');
      assert.equal(country('203.0.113.200'), undefined);
      assert.equal(country('198.51.100.1'), 'FR', 'country before registered_country');
      const v6 = (code: string) => (ipVersion === 6 ? code : undefined);
      assert.equal(country('2001:db8::1'), v6('SE'));
      assert.equal(country('2001:db8:7::2'), v6('NO'));
      assert.equal(country('2001:db8:7::1'), v6('FI'));
      assert.equal(country('2002::1'), undefined);
    });
  }
}

test("agrees with the maxmind package's own look-up for any address", async () => {
  const words = fc.oneof(
    fc.tuple(fc.constant(0), fc.constant(0), fc.constant(0xffff), fc.integer()),
    fc.tuple(
      fc.constant(0),
      fc.constant(0),
      fc.constant(0xffff),
      fc.integer({ min: 0x01020200, max: 0x01020400 }),
    ),
    fc.tuple(fc.constant(0x20010db8), fc.integer({ min: 0, max: 0x90000 }), fc.integer(), fc.integer()),
    fc.tuple(fc.integer(), fc.integer(), fc.integer(), fc.integer()),
  );
  for (const recordSize of [24, 28, 32] as const) {
    const bytes = writeMmdb({ networks: [...networks, ...networksV6], recordSize });
    const database = new GeoipDatabase(await openGeoip(await fileOf(bytes)));
    const reader = new Reader<CountryResponse>(bytes);
    fc.assert(
      fc.property(words, ([w0, w1, w2, w3]) => {
        const ip = new IpAddress(w0, w1, w2, w3);
        const record = reader.get(formatIp(ip));
        const expected = record?.country?.iso_code ?? record?.registered_country?.iso_code;
        assert.equal(database.country(ip), expected?.toUpperCase());
      }),
      { numRuns: 500 },
    );
  }
});

test('refuses what is no database of countries, and says why', async () => {
  const whole = writeMmdb({ networks });
  const treeEnd = whole.indexOf(Buffer.alloc(16));
  const wild = Buffer.from(whole);
  wild.fill(0xff, 0, 7);
  const garbled = Buffer.from(whole);
  garbled.fill(0xff, treeEnd + 16, whole.lastIndexOf('MaxMind.com') - 3);
  const noTree = whole.subarray(whole.lastIndexOf('MaxMind.com') - 3);
  const damaged = Buffer.concat([
    whole.subarray(0, whole.lastIndexOf('MaxMind.com') + 11),
    Buffer.from([0xe9, 1]),
  ]);
  const asn = writeMmdb({
    networks: [['1.0.0.0/8', { autonomous_system_number: 64_500 }]],
    databaseType: 'Test-ASN',
  });
  const cases: [Uint8Array, RegExp][] = [
    [Buffer.alloc(0), /no MaxMind DB/],
    [Buffer.from('not a database'), /no MaxMind DB/],
    [whole.subarray(0, whole.length >> 1), /cut short/],
    [gzipSync(whole), /gzip/],
    [noTree, /cut short|damaged/],
    [damaged, /metadata/],
    [wild, /outside the file/],
    [garbled, /data is damaged|no countries/],
    [asn, /no countries \(its type is Test-ASN\)/],
  ];
  for (const [bytes, why] of cases) {
    const path = await fileOf(bytes);
    await assert.rejects(openGeoip(path), (error) => {
      assert.ok(error instanceof GeoipError);
      assert.match(error.message, why);
      assert.ok(error.message.includes(path));
      return true;
    });
  }
  await assert.rejects(openGeoip(join(folder, 'absent.mmdb')), /ENOENT/);
  await assert.rejects(openGeoip(folder), GeoipError);
});

test('a file of random damage is refused or read, and never brings a look-up down', async () => {
  const whole = writeMmdb({ networks: [...networks, ...networksV6] });
  const path = await fileOf(whole);
  const damages = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(damages, fc.integer(), async (damage, word) => {
      const bytes = Buffer.from(whole);
      for (const [at, value] of damage) bytes[at] = value;
      await writeFile(path, bytes);
      let buffer: SharedArrayBuffer;
      try {
        buffer = await openGeoip(path);
      } catch (error) {
        assert.ok(error instanceof GeoipError, String(error));
        return;
      }
      const database = new GeoipDatabase(buffer);
      database.country(new IpAddress(0, 0, 0xffff, word));
      database.country(new IpAddress(0x20010db8, word, 0, 1));
    }),
    { numRuns: 200 },
  );
});

test('a file above 512 MiB is refused before it is read', async () => {
  const { open } = await import('node:fs/promises');
  const path = await fileOf(Buffer.alloc(0));
  await using file = await open(path, 'r+');
  await file.truncate(geoipBytesMax + 1);
  await assert.rejects(openGeoip(path), /larger than 512 MiB/);
});
