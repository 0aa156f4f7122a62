import assert from 'node:assert/strict';
import { copyFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Authority, temporaryDirectory, type Issued } from '../../test/support/authority.ts';
import { lacks } from '../../test/support/tools.ts';
import type { RouteTlsSettings } from '../model/http-settings.ts';
import { createLogger } from '../telemetry/logger.ts';
import { TlsFiles } from './tls-files.ts';
import type { TlsIdentity } from './tls.ts';

const skip = lacks('openssl');
const pki = skip === false ? makePki() : undefined!;
const alpn = ['h2', 'http/1.1'];

function makePki() {
  const authority = new Authority('files');
  return {
    authority,
    one: authority.issue({ subject: '/CN=one' }),
    two: authority.issue({ subject: '/CN=two' }),
  };
}

/** A certificate in place, a clock that stands still, and the log. */
function setUp(changes: Partial<RouteTlsSettings> = {}, entriesMax = 16) {
  const directory = temporaryDirectory();
  const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
  const settings: RouteTlsSettings = {
    ...{ cert, key, clientCa: null, clientAuth: 'none', minVersion: '1.2' },
    ...changes,
  };
  const time = { nowMs: 0 };
  const log: string[] = [];
  const logger = createLogger({ level: 'debug', output: { write: (line) => void log.push(line) } });
  const files = new TlsFiles({
    ...{ logger, entriesMax, clock: () => time.nowMs },
    environment: { PORTCULLIS_TEST_KEY: pki.one.key },
  });
  const put = (issued: Issued): void => {
    copyFileSync(issued.certPath, cert);
    copyFileSync(issued.keyPath, key);
  };
  const get = (given = settings, protocols: readonly string[] = alpn): TlsIdentity => {
    const found = files.identity(given, protocols);
    if (typeof found === 'string') assert.fail(found);
    return found;
  };
  /** What the second use after a second finds: the first one only starts to look. */
  const later = async (): Promise<TlsIdentity> => {
    time.nowMs += 1_001;
    get();
    await files.settled();
    return get();
  };
  return { settings, files, time, log, put, get, later, directory };
}

describe('identities from files', { skip }, () => {
  test('are read at the first use, and stay the same object while nothing changes', async () => {
    const { put, get, later, files } = setUp();
    assert.deepEqual(files.list(), [], 'nothing is read before');
    put(pki.one);
    const identity = get();
    assert.equal(identity.cert, pki.one.cert);
    assert.equal(identity.privateKey, pki.one.key);
    assert.deepEqual(identity.alpn, alpn);
    assert.equal(await later(), identity);
    const [loaded] = files.list();
    assert.equal(loaded?.subject, 'CN=one');
    assert.equal(loaded.altNames, 'DNS:localhost, IP Address:127.0.0.1');
    assert.ok(loaded.validToMs > Date.now());
    assert.equal(loaded.fault, null);
  });

  test('have keys that name everything: content, client CA, mode, version, protocols', () => {
    const { put, get, settings } = setUp();
    put(pki.one);
    const clientCa = pki.authority.certPath;
    const keys = [
      get(),
      get({ ...settings, minVersion: '1.3' }),
      get({ ...settings, clientCa, clientAuth: 'request' }),
      get({ ...settings, clientCa, clientAuth: 'require' }),
      get(settings, ['http/1.1']),
    ].map(({ key }) => key);
    assert.equal(new Set(keys).size, keys.length);
    assert.equal(get({ ...settings }).key, keys[0], 'equal settings share an identity');
  });

  test('change with their files, whether written or replaced', async () => {
    const { put, get, later, settings, log, directory } = setUp();
    put(pki.one);
    const before = get();
    put(pki.two);
    const after = await later();
    assert.equal(after.cert, pki.two.cert);
    assert.notEqual(after.key, before.key);
    assert.match(log.join(''), /"message":"certificate reloaded"|certificate reloaded/);
    copyFileSync(pki.one.certPath, join(directory, 'new'));
    copyFileSync(pki.one.keyPath, settings.key);
    renameSync(join(directory, 'new'), settings.cert);
    assert.equal((await later()).key, before.key);
  });

  test('outlive bad files, which are complained of once', async () => {
    const { put, get, later, settings, files, log } = setUp();
    put(pki.one);
    const before = get();
    const bad: [() => void, RegExp][] = [
      [() => copyFileSync(pki.two.keyPath, settings.key), /does not belong/],
      [() => writeFileSync(settings.cert, 'no PEM'), /./],
      [() => writeFileSync(settings.cert, Buffer.alloc(1024 * 1024 + 1)), /larger than/],
      [() => rmSync(settings.cert), /ENOENT/],
    ];
    for (const [spoil, complaint] of bad) {
      log.length = 0;
      spoil();
      for (let round = 0; round < 3; round++) assert.equal(await later(), before);
      assert.equal(log.length, 1, log.join(''));
      assert.match(log[0]!, complaint);
      assert.match(files.list()[0]!.fault!, complaint);
    }
    put(pki.two);
    assert.equal((await later()).cert, pki.two.cert);
    assert.equal(files.list()[0]!.fault, null);
  });

  test('that never loaded answer why, and are tried again', () => {
    const { put, get, files, settings, time, log } = setUp();
    for (let round = 0; round < 3; round++) assert.match(files.identity(settings, alpn) as string, /ENOENT/);
    assert.equal(log.length, 1);
    put(pki.one);
    assert.equal(typeof files.identity(settings, alpn), 'string', 'no read for each connection');
    time.nowMs += 1_001;
    assert.equal(get().cert, pki.one.cert);
  });

  test('take keys from the environment', () => {
    const { put, get, files, settings } = setUp({ key: 'env:PORTCULLIS_TEST_KEY' });
    put(pki.one);
    writeFileSync(settings.cert, pki.one.cert);
    assert.equal(get().privateKey, pki.one.key);
    const missing = files.identity({ ...settings, key: 'env:NOWHERE' }, alpn);
    assert.match(missing as string, /NOWHERE is not set/);
    const bundle = { ...settings, clientCa: settings.cert, clientAuth: 'require' } as const;
    assert.equal(get(bundle).clientCa, pki.one.cert);
  });

  test('reload at once when they are told to', async () => {
    const { put, get, files } = setUp();
    put(pki.one);
    get();
    put(pki.two);
    await files.reload();
    assert.equal(get().cert, pki.two.cert);
  });

  test('are bounded: the least used is forgotten, and read again', () => {
    const { put, get, files, settings } = setUp({}, 2);
    put(pki.one);
    const first = get();
    for (const minVersion of ['1.3', '1.2'] as const) {
      get({ ...settings, clientCa: pki.authority.certPath, clientAuth: 'request', minVersion });
    }
    assert.equal(files.list().length, 2);
    put(pki.two);
    assert.notEqual(get().key, first.key);
    assert.equal(files.list().length, 2);
  });
});
