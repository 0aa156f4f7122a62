/** The built-in filters, each through a whole exchange. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RateTable } from '../core/rate-table.ts';
import { parseIp } from '../core/ip.ts';
import { Exchange } from '../http/exchange.ts';
import { FilterPlan } from '../http/filter-list.ts';
import type { FilterFactory } from '../http/filter.ts';
import { getField, type RequestHead } from '../http/message.ts';
import {
  requestHead,
  ScriptedClientSession,
  ScriptedContext,
  ScriptedDownstream,
  testFacts,
  testTarget,
} from '../http/testing/scripted-streams.ts';
import { noHeaderRules, type HeaderRules } from '../model/http-settings.ts';
import { parsePolicy } from '../model/policy-value.ts';
import type { PolicyType } from '../model/settings.ts';
import { headerRules } from './header-rules/header-rules.ts';
import { policyFilter, type PolicyFilterContext } from './policies.ts';

const noRates: PolicyFilterContext = {
  ratesOf: () => assert.fail('no rate limit here'),
  nowMs: () => 0,
};

function policy(type: PolicyType, value: string, context = noRates): FilterFactory {
  const parsed = parsePolicy(type, value);
  assert.ok(parsed.type !== 'fault');
  return policyFilter(`policy/${type}`, parsed, context);
}

function send(factories: FilterFactory[], head: Partial<RequestHead>, isEnd = true, client = '203.0.113.9') {
  const context = new ScriptedContext();
  const down = new ScriptedDownstream('HTTP/1.1', isEnd);
  const session = new ScriptedClientSession();
  context.pool.ready.push(session);
  const facts = { ...testFacts, client, clientIp: parseIp(client)! };
  const exchange = new Exchange(context, facts, down, requestHead(head), isEnd);
  exchange.forward(testTarget, new FilterPlan(factories).list());
  return { context, down, up: session.streams[0], record: () => context.records[0]! };
}

describe('policies', () => {
  const cases: [type: PolicyType, value: string, head: Partial<RequestHead>, status: number | null][] = [
    ['block_user_agent', 'BadBot', { fields: ['user-agent', 'x BadBot/2'] }, 403],
    ['block_user_agent', 'BadBot', { fields: ['user-agent', 'badbot'] }, null],
    ['block_user_agent', 'BadBot', {}, null],
    ['block_user_agent', 'BadBot', { fields: ['user-agent', 'fine', 'user-agent', 'BadBot'] }, 403],
    ['require_header', 'X-Api-Key', { fields: ['x-api-key', '1'] }, null],
    ['require_header', 'X-Api-Key', { fields: ['x-api-key', ''] }, 403],
    ['require_header', 'X-Api-Key', {}, 403],
    ['require_header', 'Host', {}, null],
    ['allow_methods', 'GET,HEAD', { method: 'HEAD' }, null],
    ['allow_methods', 'GET,HEAD', { method: 'DELETE' }, 405],
    ['allow_methods', 'GET,HEAD', { method: 'get' }, 405],
  ];
  for (const [type, value, head, status] of cases) {
    test(`${type} ${value} and ${JSON.stringify(head)}: ${status ?? 'passes'}`, () => {
      const { down, up, record } = send([policy(type, value)], head);
      if (status === null) return assert.equal(up!.head.method, head.method ?? 'GET');
      assert.equal(up, undefined);
      assert.equal(down.head!.status, status);
      assert.equal(record().ruleId, `policy/${type}`);
      if (status === 405) assert.equal(getField(down.head!.fields, 'allow'), 'GET, HEAD');
    });
  }

  test('the first that refuses answers', () => {
    const factories = [policy('allow_methods', 'GET'), policy('require_header', 'x-a')];
    assert.equal(send(factories, { method: 'POST' }).record().reason, 'method-refused');
    assert.equal(send(factories.toReversed(), { method: 'POST' }).record().reason, 'header-missing');
  });
});

describe('max_body', () => {
  test('refuses by Content-Length before anything is sent on', () => {
    const head = { method: 'POST', fields: ['content-length', '11'] };
    const { down, up } = send([policy('max_body', '10B')], head, false);
    assert.equal(up, undefined);
    assert.equal(down.head!.status, 413);
  });

  test('counts a body that has no length, and lets it pass up to the last byte', () => {
    const { down, up, record } = send([policy('max_body', '10B')], { method: 'POST' }, false);
    down.receive('12345');
    down.receive('67890');
    assert.deepEqual(up!.log, ['data 12345', 'data 67890']);
    down.receive('x');
    assert.equal(down.head!.status, 413);
    assert.equal(up!.resetReason, 'cancel');
    assert.equal(record().reason, 'body-oversized');
    assert.equal(up!.sentBytes, 10);
  });
});

describe('rate_limit', () => {
  function rates(requests: number): PolicyFilterContext {
    const table = RateTable.create({ connections: requests, windowMs: 60_000, workers: 2, seed: [1, 2] });
    return { ratesOf: () => table, nowMs: () => 5_000 };
  }

  test('refuses what is above, by the client, and says when to come back', () => {
    const factory = policy('rate_limit', '2/1m', rates(2));
    for (let count = 0; count < 2; count++) assert.ok(send([factory], {}).up !== undefined);
    const { down, record } = send([factory], {});
    assert.equal(down.head!.status, 429);
    assert.equal(getField(down.head!.fields, 'retry-after'), '60');
    assert.equal(record().reason, 'request-rate-limited');
    assert.ok(send([factory], {}, true, '203.0.113.10').up !== undefined, 'another client has its own');
  });

  test('by a header: each value has its own, and leaving it out wins nothing', () => {
    const factory = policy('rate_limit', '1/1m by x-api-key', rates(1));
    const one = { fields: ['x-api-key', 'one'] };
    assert.ok(send([factory], one).up !== undefined);
    assert.equal(send([factory], one, true, '198.51.100.1').down.head!.status, 429);
    assert.ok(send([factory], { fields: ['x-api-key', 'two'] }).up !== undefined);
    assert.ok(send([factory], {}).up !== undefined);
    assert.equal(send([factory], {}).down.head!.status, 429);
  });

  test('is exact over workers that share the table', () => {
    const { buffer } = RateTable.create({ connections: 3, windowMs: 60_000, workers: 2, seed: [1, 2] });
    const factories = [0, 1].map((worker) => {
      const table = new RateTable(buffer, worker);
      return policy('rate_limit', '3/1m', { ratesOf: () => table, nowMs: () => 5_000 });
    });
    const admitted = [0, 1, 0, 1, 0].filter((worker) => send([factories[worker]!], {}).up !== undefined);
    assert.equal(admitted.length, 3);
  });
});

describe('header rules', () => {
  const rules = (overrides: Partial<HeaderRules>): HeaderRules => ({ ...noHeaderRules, ...overrides });
  const make = (request: HeaderRules, response = noHeaderRules): FilterFactory =>
    headerRules({ ruleId: 'r', request, response })!;

  test('remove, set, add, in this order, both ways', () => {
    const request = rules({ remove: ['a'], set: [['b', '2']], add: [['a', '3']] });
    const response = rules({ remove: ['server'], add: [['strict-transport-security', 'max-age=1']] });
    const { down, up } = send([make(request, response)], {
      fields: ['a', '1', 'b', '1', 'a', '1', 'b', '1'],
    });
    assert.deepEqual(up!.head.fields, ['b', '2', 'a', '3']);
    up!.respond(200, ['server', 'x'], true);
    assert.deepEqual(down.head!.fields, ['strict-transport-security', 'max-age=1']);
  });

  test('nothing to do is no filter', () => {
    assert.equal(headerRules({ ruleId: 'r', request: noHeaderRules, response: noHeaderRules }), null);
  });

  const attacks: [string, Partial<HeaderRules>][] = [
    ['a line end in a value', { set: [['x', 'a\r\nx-evil: 1']] }],
    ['a bare LF', { add: [['x', 'a\nb']] }],
    ['a NUL', { set: [['x', 'a\0b']] }],
    ['outer white space', { set: [['x', ' a']] }],
    ['a character beyond latin1', { set: [['x', 'a\u{10d}\u{10a}']] }],
    ['a name with a line end', { add: [['x\r\ny', 'a']] }],
    ['a pseudo-header', { set: [[':authority', 'a']] }],
    ['a name in capitals', { set: [['Host', 'a']] }],
    ['the framing of the message', { set: [['transfer-encoding', 'chunked']] }],
    ['its length', { set: [['content-length', '1']] }],
    ['the connection', { add: [['connection', 'close']] }],
    ['an empty name', { remove: [''] }],
  ];
  for (const [name, attack] of attacks) {
    test(`refuses ${name}`, () => {
      assert.throws(() => make(rules(attack)), /header rule/);
      assert.throws(() => make(noHeaderRules, rules(attack)), /header rule/);
    });
  }
});
