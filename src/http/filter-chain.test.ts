/** Every phase with every verdict, through a whole exchange. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Exchange } from './exchange.ts';
import { filterBufferBytesMax } from './filter-chain.ts';
import { FilterList, FilterPlan, sharedFilter } from './filter-list.ts';
import type { Filter, FilterContext } from './filter.ts';
import {
  bytes,
  requestHead,
  ScriptedClientSession,
  ScriptedContext,
  ScriptedDownstream,
  testFacts,
  testTarget,
} from './testing/scripted-streams.ts';

type Phase = Exclude<keyof Filter, 'ruleId' | 'onEnd'>;

const phases: readonly Phase[] = [
  'onRequestHead',
  'onRequestData',
  'onRequestTrailers',
  'onResponseHead',
  'onResponseData',
  'onResponseTrailers',
];

function begin(...filters: Filter[]) {
  const context = new ScriptedContext();
  const down = new ScriptedDownstream('HTTP/2', false);
  const session = new ScriptedClientSession('HTTP/2');
  context.pool.ready.push(session);
  const exchange = new Exchange(context, testFacts, down, requestHead({ method: 'POST' }), false);
  exchange.forward(testTarget, new FilterList(filters));
  return { context, down, session, exchange };
}

type Scene = ReturnType<typeof begin>;

/** A request and a response with every part. */
function playRequest({ down }: Scene): void {
  down.receive('one');
  down.receive('two');
  down.receiveTrailers('t', '1');
}

function playResponse({ session }: Scene): void {
  const up = session.streams[0];
  if (up === undefined) return;
  up.respond(200);
  up.receive('three');
  up.receive('four');
  up.receiveTrailers('u', '2');
}

const wholeRequest = ['data one', 'data two', 'trailers t 1'];
const wholeResponse = ['head 200', 'data three', 'data four', 'trailers u 2'];

function checkWhole({ context, down, session }: Scene): void {
  assert.deepEqual(context.faults, []);
  assert.deepEqual(session.streams[0]!.log, wholeRequest);
  assert.deepEqual(down.log, wholeResponse);
  assert.equal(context.records.length, 1);
  assert.equal(context.records[0]!.reason, 'answered');
  assert.equal(down.unconsumedBytes, 0);
}

describe('FilterChain', () => {
  test('the request goes through in order, the response in reverse, and each filter is told the end once', () => {
    const seen: string[] = [];
    const make = (name: string): Filter => {
      const filter: Filter = { ruleId: name, onEnd: () => void seen.push(`${name} end`) };
      for (const phase of phases) {
        filter[phase] = () => {
          seen.push(`${name} ${phase.slice(2)}`);
          return 'continue';
        };
      }
      return filter;
    };
    const scene = begin(make('a'), make('b'));
    playRequest(scene);
    playResponse(scene);
    checkWhole(scene);
    assert.deepEqual(seen, [
      ...['a RequestHead', 'b RequestHead'],
      ...['a RequestData', 'b RequestData', 'a RequestData', 'b RequestData'],
      ...['a RequestTrailers', 'b RequestTrailers'],
      ...['b ResponseHead', 'a ResponseHead'],
      ...['b ResponseData', 'a ResponseData', 'b ResponseData', 'a ResponseData'],
      ...['b ResponseTrailers', 'a ResponseTrailers'],
      ...['a end', 'b end'],
    ]);
  });

  for (const phase of phases) {
    const direction = phase.startsWith('onRequest') ? 'request' : 'response';

    test(`${phase} pauses: everything behind it waits, nothing is lost`, () => {
      let held: FilterContext | null = null;
      const pausing: Filter = { ruleId: 'p' };
      pausing[phase] = (context: FilterContext) => {
        if (held !== null) return 'continue';
        held = context;
        return 'pause';
      };
      const other: Filter = {
        ruleId: 'o',
        onRequestData: () => 'continue',
        onResponseData: () => 'continue',
      };
      const scene = begin(other, pausing, other);
      playRequest(scene);
      if (direction === 'response') playResponse(scene);
      assert.notEqual(held, null);
      assert.equal(scene.context.records.length, 0);
      held!.resume(direction);
      held!.resume(direction);
      if (direction === 'request') playResponse(scene);
      checkWhole(scene);
    });

    test(`${phase} pauses and resumes before it returns`, () => {
      const pausing: Filter = { ruleId: 'p' };
      pausing[phase] = (context: FilterContext) => {
        context.resume(direction);
        return 'pause';
      };
      const scene = begin(pausing);
      playRequest(scene);
      playResponse(scene);
      checkWhole(scene);
    });

    test(`${phase} throws: this exchange ends as our fault`, () => {
      let ends = 0;
      const throwing: Filter = { ruleId: 't', onEnd: () => void ends++ };
      throwing[phase] = () => {
        throw new Error('boom');
      };
      const scene = begin(throwing);
      playRequest(scene);
      playResponse(scene);
      const isBefore = phase !== 'onResponseData' && phase !== 'onResponseTrailers';
      assert.deepEqual(scene.context.faults.map(String), ['Error: boom']);
      assert.equal(scene.context.records[0]!.reason, 'internal-error');
      if (isBefore) assert.equal(scene.down.head!.status, 500);
      else assert.equal(scene.down.resetReason, 'internal-error');
      assert.equal(ends, 1);
    });

    for (const isLate of [false, true]) {
      test(`${phase} answers ${isLate ? 'later' : 'at once'}`, () => {
        let later: (() => void) | null = null;
        const answering: Filter = { ruleId: 'x' };
        answering[phase] = (context: FilterContext) => {
          const answer = (): void =>
            context.answer({ status: 403, reason: 'header-missing', ruleId: 'x', body: 'no' });
          if (isLate) later ??= answer;
          else answer();
          return 'pause';
        };
        const seen: number[] = [];
        const before: Filter = {
          ruleId: 'b',
          onResponseHead(_context, head) {
            seen.push(head.status);
            return 'continue';
          },
        };
        const behind: Filter = {
          ruleId: 'c',
          onResponseHead(_context, head) {
            assert.notEqual(head.status, 403, 'the answer passes no filter behind the one that made it');
            return 'continue';
          },
        };
        const scene = begin(before, answering, behind);
        playRequest(scene);
        // A backend that has answered meanwhile would have the last word.
        if (isLate && direction === 'request') later!();
        playResponse(scene);
        if (isLate && direction === 'response') later!();
        const record = scene.context.records[0]!;
        assert.deepEqual([record.reason, record.ruleId], ['header-missing', 'x']);
        if (phase === 'onResponseData' || phase === 'onResponseTrailers') {
          assert.equal(scene.down.resetReason, 'internal-error', 'the head had gone');
          return;
        }
        assert.deepEqual(scene.down.log.slice(0, 2), ['head 403', 'data no end']);
        assert.deepEqual(seen, [403]);
      });
    }
  }

  test('data is replaced, dropped and grown', () => {
    const upper: Filter = {
      ruleId: 'u',
      onRequestData(context, data) {
        context.replaceData(bytes(Buffer.from(data).toString().toUpperCase()));
        return 'continue';
      },
      onResponseData(context, data) {
        context.replaceData(bytes(data.length === 5 ? '' : 'much longer than before'));
        return 'continue';
      },
    };
    const scene = begin(upper);
    playRequest(scene);
    playResponse(scene);
    assert.deepEqual(scene.session.streams[0]!.log, ['data ONE', 'data TWO', 'trailers t 1']);
    assert.deepEqual(scene.down.log, ['head 200', 'data much longer than before', 'trailers u 2']);
  });

  test('a held direction gives no credit, and the end is seen as empty data', () => {
    const context: FilterContext[] = [];
    const ends: boolean[] = [];
    const holding: Filter = {
      ruleId: 'h',
      onRequestData(given, _data, isEnd) {
        ends.push(isEnd);
        if (context.push(given) === 1) return 'pause';
        return 'continue';
      },
    };
    const scene = begin(holding);
    scene.down.receive('one');
    scene.down.receive('two');
    scene.down.receiveEnd();
    assert.equal(scene.down.unconsumedBytes, 6);
    context[0]!.resume('request');
    assert.equal(scene.down.unconsumedBytes, 0);
    assert.deepEqual(ends, [false, false, true]);
    assert.deepEqual(scene.session.streams[0]!.log, ['data one', 'data two', 'end']);
  });

  for (const direction of ['request', 'response'] as const) {
    test(`what filters make of a held ${direction} is bounded`, () => {
      const growing: Filter = { ruleId: 'g' };
      const holding: Filter = { ruleId: 'h' };
      const phase = direction === 'request' ? 'onRequestData' : 'onResponseData';
      growing[phase] = (context) => {
        context.replaceData(bytes('x'.repeat(filterBufferBytesMax + 1)));
        return 'continue';
      };
      holding[phase] = () => 'pause';
      if (direction === 'response') growing.onResponseHead = holding.onResponseHead = () => 'continue';
      const scene = direction === 'request' ? begin(growing, holding) : begin(holding, growing);
      playRequest(scene);
      playResponse(scene);
      const record = scene.context.records[0]!;
      assert.equal(record.reason, direction === 'request' ? 'body-oversized' : 'upstream-malformed');
      assert.equal(record.ruleId, 'h');
      if (direction === 'request') assert.equal(scene.down.head!.status, 413);
      else assert.equal(scene.down.resetReason, 'internal-error');
    });
  }

  test('a client that leaves while a filter holds: the filter is told, and may say what it likes', () => {
    let context: FilterContext | null = null;
    let ends = 0;
    const scene = begin({
      ruleId: 'h',
      onRequestHead(given) {
        context = given;
        return 'pause';
      },
      onEnd: () => void ends++,
    });
    scene.down.fail({ reason: 'client-cancelled' });
    context!.resume('request');
    context!.answer({ status: 403, reason: 'header-missing', ruleId: null });
    assert.equal(ends, 1);
    assert.equal(scene.context.records.length, 1);
    assert.equal(scene.session.streams.length, 0);
  });
});

describe('FilterPlan', () => {
  test('makes its list once where every filter is shared, else for each exchange', () => {
    const filter: Filter = { ruleId: 'a', onEnd() {} };
    const shared = new FilterPlan([sharedFilter(filter)]);
    assert.equal(shared.list(), shared.list());
    assert.equal(shared.list().hasEnd, true);
    const own = new FilterPlan([sharedFilter(filter), { isShared: false, create: () => ({ ruleId: 'b' }) }]);
    assert.notEqual(own.list().filters[1], own.list().filters[1]);
    assert.equal(own.list().filters[0], filter);
  });
});
