import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatPolicy, parsePolicy, policyMethodsMax } from './policy-value.ts';
import type { PolicyType } from './settings.ts';

/** The canonical spelling, or what is told. */
function canonical(type: PolicyType, value: string): string {
  const parsed = parsePolicy(type, value);
  if (parsed.type !== 'fault') return formatPolicy(parsed);
  return parsed.suggestion === null ? 'refused' : `refused, meant ${parsed.suggestion}`;
}

describe('values of policies', () => {
  test('have one canonical spelling, which reads back as itself', () => {
    const taken: readonly [PolicyType, string, string][] = [
      ['block_user_agent', 'Bad Bot/1', 'Bad Bot/1'],
      ['require_header', 'X-Api-Key', 'x-api-key'],
      ['allow_methods', 'GET, HEAD,GET', 'GET,HEAD'],
      ['max_body', '1024KiB', '1MiB'],
      ['max_body', '0B', '0B'],
      ['max_body', '1024GiB', '1024GiB'],
      ['rate_limit', '100/60s', '100/1m'],
      ['rate_limit', '1000000 / 1d by X-Key', '1000000/1d by x-key'],
    ];
    for (const [type, value, spelling] of taken) {
      assert.equal(canonical(type, value), spelling);
      assert.equal(canonical(type, spelling), spelling);
    }
  });

  test('are refused with what was probably meant', () => {
    const refused: readonly [PolicyType, string, string][] = [
      ['block_user_agent', '', 'refused'],
      ['require_header', 'x key', 'refused'],
      ['require_header', ':path', 'refused'],
      ['allow_methods', 'get,Head', 'refused, meant GET,HEAD'],
      ['allow_methods', 'GET,', 'refused'],
      ['allow_methods', 'CONNECT', 'refused'],
      ['max_body', '10', 'refused, meant 10B'],
      ['max_body', '10MB', 'refused'],
      ['max_body', '1025GiB', 'refused'],
      ['rate_limit', '100', 'refused'],
      ['rate_limit', '100/m', 'refused, meant 100/1m'],
      ['rate_limit', '0/1m', 'refused'],
      ['rate_limit', '1000001/1m', 'refused'],
      ['rate_limit', '1/1ms', 'refused'],
      ['rate_limit', '1/2d', 'refused'],
      ['rate_limit', '1/1m by', 'refused'],
      ['rate_limit', '1/1m by a b', 'refused'],
    ];
    for (const [type, value, told] of refused) assert.equal(canonical(type, value), told, `${type} ${value}`);
  });

  test('name no more methods than their limit', () => {
    const methods = Array.from({ length: policyMethodsMax + 1 }, (_, index) => `M${index}`);
    assert.equal(canonical('allow_methods', methods.slice(1).join(',')), methods.slice(1).join(','));
    assert.equal(canonical('allow_methods', methods.join(',')), 'refused');
  });
});
