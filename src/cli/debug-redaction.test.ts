/** What is left out of a debug bundle, form by form. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { redactData, referencedSecrets, TextRedaction } from './debug-redaction.ts';

test('of header rules the names are shown, in every form that they have', () => {
  const forms = {
    requestHeaders: {
      remove: ['x-old', 'x-older'],
      set: [['x-upstream-id', 'hunter2']],
      add: [
        ['x-a', 'hunter2'],
        ['x-b', 'hunter2'],
      ],
    },
    response_headers: { set: [{ name: 'x-note', value: 'hunter2' }], table: { 'x-c': 'hunter2' } },
    headers: { 'x-d': 'hunter2', cookie: 'hunter2' },
    dropHeaders: ['x-e', 'x-f'],
  };
  const text = JSON.stringify(redactData(forms));
  assert.doesNotMatch(text, /hunter2/);
  for (const name of [
    'x-old',
    'x-older',
    'x-upstream-id',
    'x-a',
    'x-b',
    'x-note',
    'x-c',
    'x-d',
    'x-e',
    'x-f',
  ]) {
    assert.ok(text.includes(`"${name}"`), name);
  }
});

test('passwords, credentials and user names in addresses are replaced; the names of files are not', () => {
  const settings = {
    clients: [{ name: 'ci', password: 'scrypt$1$2$3$hunter2', secret: 'env:CI' }],
    parent: { url: 'http://me:hunter2@proxy.example:3128/' },
    tls: { cert: '/etc/tls/app.pem', clientCa: '/etc/tls/ca.pem' },
    idleTimeoutMs: 1,
  };
  const shown = redactData(settings);
  assert.doesNotMatch(JSON.stringify(shown), /hunter2/);
  assert.deepEqual((shown as typeof settings).tls, settings.tls);
});

test('data without an end is cut, not followed', () => {
  let deep: unknown = 'hunter2';
  for (let level = 0; level < 200; level++) deep = { deep };
  assert.doesNotMatch(JSON.stringify(redactData(deep)), /hunter2/);
});

test('in text: private keys, queries, credentials, and the values behind references', () => {
  const env = { APP_KEY: 'line one\nline "two"', SHORT: 'ab' };
  const settings = { tls: { key: 'env:APP_KEY' }, list: ['env:SHORT', 'env:UNSET', '/etc/key'] };
  const secrets = [...referencedSecrets(settings, env)];
  assert.deepEqual(secrets, [env.APP_KEY, env.SHORT]);
  const text = [
    '-----BEGIN EC PRIVATE KEY-----\nhunter2\n-----END EC PRIVATE KEY-----',
    '{"path":"/a?token=hunter2&b=hunter2","status":200}',
    '{"path":"/a?q=\\"hunter2\\"","status":404}',
    'path=/a?hunter2 status=200',
    `{"detail":${JSON.stringify(env.APP_KEY)}}`,
    'Authorization: Basic aHVudGVyMg==',
    'about ab',
    '-----BEGIN PRIVATE KEY-----\nhunter2, cut off',
  ].join('\n');
  const shown = new TextRedaction(secrets).apply(text);
  assert.doesNotMatch(shown, /hunter2|aHVudGVyMg|line one|two/);
  assert.match(shown, /"path":"\/a\?\[redacted\]","status":200/);
  assert.match(shown, /path=\/a\?\[redacted\] status=200/);
  assert.match(shown, /about ab/);
});
