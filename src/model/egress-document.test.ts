import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DocumentFault, egressListMax, readEgressDocument } from './egress-document.ts';
import { aclRuleDefaults, egressDefaults } from './egress-settings.ts';
import { anyParts, egressSettings } from './testing/arbitrary-egress.ts';

describe('a document of egress settings', () => {
  test('gives back what was written', () => {
    fc.assert(
      fc.property(egressSettings(anyParts), (settings) => {
        assert.deepEqual(readEgressDocument(JSON.parse(JSON.stringify(settings))), settings);
      }),
      { numRuns: 100 },
    );
  });

  test('of an earlier version has the defaults of what came later', () => {
    assert.deepEqual(readEgressDocument({}), egressDefaults);
    const rule = { ...aclRuleDefaults, pattern: 'a.example' };
    assert.deepEqual(readEgressDocument({ whitelist: [{ pattern: 'a.example' }] }).whitelist, [rule]);
  });

  const refused: [string, unknown, RegExp][] = [
    ['no object', [], /^the document is no object$/],
    ['an unknown field', { whitelists: [] }, /^the document has a field that nobody knows$/],
    ['a field of the prototype', JSON.parse('{"__proto__":{}}'), /nobody knows/],
    ['a rule without a pattern', { blacklist: [{}] }, /^blacklist\[0\]\.pattern is missing$/],
    ['a pattern that is not canonical', { whitelist: [{ pattern: 'A.example' }] }, /no canonical pattern/],
    ['a regex that does not compile', { passthrough: [{ pattern: '~(' }] }, /^passthrough\[0\]\.pattern/],
    ['a path expression that does not', { whitelist: [{ pattern: 'a.b', pathPattern: '(' }] }, /pathPattern/],
    ['a network with host bits', { allowedClients: ['10.0.0.1/8'] }, /^allowedClients\[0\] is no canonical/],
    ['a port beyond the last', { connectPorts: [65_536] }, /^connectPorts\[0\] is no port$/],
    ['a word nobody knows', { defaultPolicy: 'allow' }, /^defaultPolicy is none of ALLOW, BLOCK$/],
    [
      'a header of two lines',
      { rewrites: [{ pattern: 'a.b', headers: [['a', 'x\r\ny: z']] }] },
      /headers\[0\]/,
    ],
    [
      'a secret itself',
      { credentials: [{ pattern: 'a.b', header: 'a', secret: 'text:hush' }] },
      /^credentials\[0\]\.secret is no reference to a secret$/,
    ],
    ['a relative path', { blockedLog: 'blocked.log' }, /^blockedLog is no absolute path$/],
    ['an authority of no kind', { authority: { cert: '/a' } }, /^authority\.kind is missing$/],
    [
      'a list beyond its limit',
      { noProxy: Array.from({ length: egressListMax + 1 }, () => 'a.b') },
      /^noProxy has more than 10000 elements$/,
    ],
  ];
  for (const [what, document, message] of refused) {
    test(`is refused with ${what}, and the message holds nothing of it`, () => {
      assert.throws(() => readEgressDocument(document), { name: DocumentFault.name, message });
    });
  }
});
