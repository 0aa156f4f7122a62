import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { LinearRegex, RegexFault } from './linear-regex.ts';

function compile(source: string, ignoreCase = false): LinearRegex {
  const regex = LinearRegex.compile(source, { ignoreCase });
  assert(regex instanceof LinearRegex, `${source}: ${regex instanceof RegexFault ? regex.reason : ''}`);
  return regex;
}

function faultOf(source: string): string {
  const fault = LinearRegex.compile(source);
  assert(fault instanceof RegexFault, `${source} was taken`);
  return fault.reason;
}

/** Expressions of the syntax that both engines share, generated piece by piece. */
const atoms = fc.constantFrom(
  'a',
  'b',
  '.',
  '\\.',
  '-',
  '[ab]',
  '[^a]',
  '[a-c.]',
  '\\d',
  '\\w',
  '\\W',
  '\\b',
  '^',
  '$',
);
const { expression } = fc.letrec<{ expression: string; piece: string; term: string }>((tie) => ({
  expression: fc.array(tie('term'), { minLength: 1, maxLength: 3 }).map((terms) => terms.join('|')),
  term: fc.array(tie('piece'), { maxLength: 5 }).map((pieces) => pieces.join('')),
  piece: fc.oneof(
    { weight: 5, arbitrary: atoms },
    fc
      .tuple(
        fc.oneof(
          { weight: 3, arbitrary: fc.constantFrom('a', 'b', '.', '[^b]', '\\.') },
          tie('expression').map((inner) => `(?:${inner})`),
        ),
        fc.constantFrom('*', '+', '?', '{2}', '{1,3}', '{0,2}', '{2,}', '*?', '{0}'),
      )
      .map(([inner, quantifier]) => inner + quantifier),
    tie('expression').map((inner) => `(${inner})`),
  ),
}));

describe('a linear expression', () => {
  it('agrees with RegExp, which back-tracks', () => {
    const texts = fc.string({
      unit: fc.constantFrom('a', 'b', 'c', 'A', '.', '-', '1', '_', ' ', '\xe9'),
      maxLength: 12,
    });
    fc.assert(
      fc.property(
        expression,
        fc.array(texts, { maxLength: 8 }),
        fc.boolean(),
        (source, inputs, ignoreCase) => {
          const ours = compile(source, ignoreCase);
          const oracle = new RegExp(source, ignoreCase ? 'i' : '');
          for (const input of inputs)
            assert.equal(ours.test(input), oracle.test(input), `/${source}/ on ${JSON.stringify(input)}`);
        },
      ),
      { numRuns: 1500 },
    );
  });

  it('reads what people write for hosts', () => {
    const cases: [string, string, boolean][] = [
      ['^.*\\.google\\.com$', 'www.google.com', true],
      ['^.*\\.google\\.com$', 'google.com.evil.net', false],
      ['^(?:api|www)[0-9]{1,3}\\.example\\.com$', 'api12.example.com', true],
      ['^(?P<service>[a-z-]+)\\.svc$', 'pay-roll.svc', true],
      ['(?i)^EXAMPLE$', 'example', true],
      ['\\Aexample\\z', 'example', true],
      ['^s3[.-].*amazonaws\\.com$', 's3-eu-west-1.amazonaws.com', true],
      ['\\x61', 'a', true],
    ];
    for (const [source, text, expected] of cases) assert.equal(compile(source).test(text), expected, source);
  });

  it('decides where back-tracking would never end', () => {
    const evil = compile('^(a+)+$');
    assert.equal(evil.test(`${'a'.repeat(50_000)}!`), false);
    assert.equal(compile('(a|a)*b').test('a'.repeat(50_000)), false);
  });

  it('keeps a bounded number of states, whatever the text', () => {
    const regex = compile('(?:a|b)*a(?:a|b){12}c');
    let text = '';
    for (let index = 0; index < 20_000; index++) text += (index * 7919) % 13 < 6 ? 'a' : 'b';
    assert.equal(regex.test(text), false);
    assert.equal(regex.test(`${text}a${'b'.repeat(12)}c`), true);
    assert(regex.stateCount <= 256);
  });

  it('refuses what would cost more than linear time, and says so', () => {
    for (const source of ['(?=a)', '(?!a)', '(?<=a)b', '(?<!a)b'])
      assert.match(faultOf(source), /looks ahead or behind/);
    for (const source of ['(a)\\1', '(?<n>a)\\k<n>']) assert.match(faultOf(source), /refers back/);
    assert.match(faultOf('(?:a{1000}){1000}'), /needs more than 4000 steps/);
    assert.match(faultOf('a{1001}'), /more than 1000 times/);
    assert.match(faultOf('('.repeat(101) + ')'.repeat(101)), /nests groups/);
    assert.match(faultOf('a'.repeat(4097)), /longer than 4096/);
  });

  it('refuses what dialects read differently', () => {
    const sources = [
      '*.example.com',
      'a**',
      'a{,3}',
      '{',
      'a{x}',
      '[]',
      '[z-a]',
      '[[:alpha:]]',
      '(a',
      'a)',
      '[a',
      'a\\',
      '\\q',
      '\\Qa',
      '(?m)a',
      '^*',
      '\u0416',
      'a{3,2}',
    ];
    for (const source of sources) faultOf(source);
  });

  it('never throws', () => {
    const pieces = fc.string({
      unit: fc.constantFrom(...'a1.*+?^$|(){}[]\\-,:=!<>PikbdwAzx'),
      maxLength: 20,
    });
    fc.assert(
      fc.property(pieces, fc.string({ unit: 'binary' }), (source, text) => {
        const regex = LinearRegex.compile(source, { instructionsMax: 200 });
        if (regex instanceof LinearRegex) regex.test(text);
        else assert.match(regex.reason, /^[a-z]/);
      }),
      { numRuns: 2000 },
    );
  });
});
