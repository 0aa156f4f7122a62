import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AdminAddress } from '../model/settings.ts';
import { refusalOf } from './request-guard.ts';
import type { RequestSource } from './request-guard.ts';

const everywhere: AdminAddress = { kind: 'tcp', host: '', port: 9443 };
const unix: AdminAddress = { kind: 'unix', path: '/run/portcullis.sock' };
const named = (host: string): boolean => host === 'admin.example.com';

function refusal(source: Partial<RequestSource>, address = everywhere): string | null {
  const direct = { host: 'localhost:9443', origin: undefined, secFetchSite: undefined };
  return refusalOf({ ...direct, localAddress: '192.0.2.7', isEncrypted: true, ...source }, address, named);
}

test('takes the names and addresses that are the server itself', () => {
  const own = [
    'localhost',
    'LOCALHOST:1',
    '127.0.0.1:9443',
    '[::1]:9443',
    '192.0.2.7:9443',
    'admin.example.com',
  ];
  for (const host of own) assert.equal(refusal({ host }), null, host);
  assert.equal(refusal({ host: '192.0.2.7:9443', localAddress: '::ffff:192.0.2.7' }), null);
  assert.equal(refusal({ host: '[2001:db8::1]', localAddress: '2001:db8:0::1' }), null);
});

test('refuses a name that somebody pointed at us', () => {
  const foreign = [
    'evil.example',
    'localhost.evil.example',
    '192.0.2.8',
    '',
    'localhost@evil',
    'a b',
    '[::1',
    '::1',
  ];
  for (const host of foreign) assert.match(refusal({ host }) ?? 'taken', /Host/, host);
  assert.match(refusal({ host: undefined }) ?? 'taken', /Host/);
});

test('refuses requests that a page of elsewhere makes', () => {
  for (const origin of ['null', 'https://evil.example', 'http://localhost:9443', 'https://localhost:1'])
    assert.match(refusal({ origin }) ?? 'taken', /Origin/, origin);
  for (const secFetchSite of ['cross-site', 'same-site', ''])
    assert.match(refusal({ secFetchSite }) ?? 'taken', /Sec-Fetch-Site/, secFetchSite);
});

test('takes requests of a page of its own', () => {
  assert.equal(refusal({ origin: 'https://localhost:9443', secFetchSite: 'same-origin' }), null);
  assert.equal(refusal({ secFetchSite: 'none' }), null);
});

test('a Unix socket is localhost and nothing else', () => {
  const source = { localAddress: undefined, isEncrypted: false };
  assert.equal(refusal({ host: 'localhost', ...source }, unix), null);
  assert.match(refusal({ host: '127.0.0.1', ...source }, unix) ?? 'taken', /Host/);
  assert.match(refusal({ host: 'admin.example.com', ...source }, unix) ?? 'taken', /Host/);
});
