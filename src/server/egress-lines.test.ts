import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  aclRuleDefaults,
  egressDefaults,
  rewriteDefaults,
  type EgressSettings,
} from '../model/egress-settings.ts';
import { anyParts, egressSettings } from '../model/testing/arbitrary-egress.ts';
import { describeEgressChange, egressLinesMax } from './egress-lines.ts';

const one = { ...aclRuleDefaults, pattern: 'one.example' };
const two = { ...aclRuleDefaults, pattern: '*.two.example' };

function change(before: Partial<EgressSettings>, after: Partial<EgressSettings>): string[] {
  return describeEgressChange({ ...egressDefaults, ...before }, { ...egressDefaults, ...after });
}

test('settings that differ are told old and new, and entries as rules are called', () => {
  assert.deepEqual(
    change(
      { whitelist: [one, two], connectPorts: [443, 8443] },
      {
        defaultPolicy: 'ALLOW',
        whitelist: [two, { ...one, methods: ['GET', 'HEAD'], pathPattern: '^/v1' }],
        blacklist: [one],
      },
    ),
    [
      '~ egress/connect_ports: 443, 8443 → default',
      '~ whitelist/-/one.example: plain → methods GET HEAD, path_pattern ^/v1',
      '~ egress/default_policy: default → ALLOW',
      '+ blacklist/-/one.example',
    ],
  );
  assert.deepEqual(change({ passthrough: [one] }, {}), ['- passthrough/-/one.example']);
});

test('an order that changed is a change', () => {
  assert.deepEqual(change({ whitelist: [one, two] }, { whitelist: [two, one] }), [
    '~ egress/whitelist: in another order',
  ]);
});

test('values of headers and hashes of passwords are not told', () => {
  const rewrites = [{ ...rewriteDefaults, pattern: 'one.example', headers: [['x-key', 'hush']] as const }];
  const clients = [{ name: 'ci', password: 'scrypt$16384$8$1$hush$hush', secret: null, subject: null }];
  assert.deepEqual(change({}, { rewrites, clients }), [
    '+ rewrite/-/one.example: headers x-key',
    '+ client/-/ci: password set',
  ]);
});

test('a value of a header that changed is told as a change all the same', () => {
  const rewrites = (value: string) => [
    { ...rewriteDefaults, pattern: 'one.example', headers: [['x-key', value]] as const },
  ];
  assert.deepEqual(change({ rewrites: rewrites('a') }, { rewrites: rewrites('b') }), [
    '~ rewrite/-/one.example: headers x-key → headers x-key',
  ]);
});

test('egress comes and goes', () => {
  assert.deepEqual(describeEgressChange(null, egressDefaults), ['+ egress']);
  assert.deepEqual(describeEgressChange(egressDefaults, null), ['- egress']);
  assert.deepEqual(describeEgressChange(null, null), []);
});

test('what differs has a line, what does not has none', () => {
  fc.assert(
    fc.property(egressSettings(anyParts), egressSettings(anyParts), (before, after) => {
      assert.deepEqual(describeEgressChange(before, structuredClone(before)), []);
      const isSame = JSON.stringify(before) === JSON.stringify(after);
      assert.equal(describeEgressChange(before, after).length > 0, !isSame);
    }),
    { numRuns: 100 },
  );
});

test('beyond a thousand lines the rest is counted', () => {
  const whitelist = Array.from({ length: egressLinesMax + 7 }, (_, index) => ({
    ...one,
    pattern: `h${index}.example`,
  }));
  const lines = change({}, { whitelist });
  assert.equal(lines.length, egressLinesMax + 1);
  assert.equal(lines.at(-1), '~ egress: 7 differences more');
});
