import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isReason, reasons } from '../core/reason.ts';
import { RequestLog, requestLevel, type RequestSummary } from './request-log.ts';

const answered: RequestSummary = {
  id: 'a1-7',
  client: '203.0.113.9',
  listener: ':443',
  routeId: 'route/:443/app.example.com',
  method: 'GET',
  host: 'app.example.com',
  path: '/a?b=1',
  status: 200,
  reason: 'answered',
  ruleId: null,
  detail: undefined,
  bytesIn: 0,
  bytesOut: 4096,
  queueMs: 0,
  connectMs: 0,
  firstByteMs: 1.2345,
  totalMs: 12.05,
  upstreamName: '10.0.0.1:8080',
  downstreamVersion: 'HTTP/2',
  upstreamVersion: 'HTTP/1.1',
  protocol: null,
  isRetried: false,
  userAgent: 'curl/8.5',
  trace: null,
};

function lineOf(summary: RequestSummary, level: 'debug' | 'info' | 'warn' | 'error' = 'debug'): string {
  const lines: string[] = [];
  const clock = (): number => Date.UTC(2026, 10, 21, 1, 2, 3, 4);
  new RequestLog({ write: (line) => lines.push(line) }, level, clock).write(summary);
  return lines[0] ?? '';
}

// oxlint-disable-next-line no-control-regex
const unsafe = /[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/;

describe('RequestLog', () => {
  test('names the trace where requests are traced', () => {
    const trace = { traceId: 'ab'.repeat(16), spanId: 'cd'.repeat(8), parentId: null, isSampled: false };
    assert.match(lineOf({ ...answered, trace }), new RegExp(`,"trace_id":"${trace.traceId}",`));
  });

  test('writes one JSON line with every field', () => {
    assert.equal(
      lineOf(answered),
      '{"level":"info","time":"2026-11-21T01:02:03.004Z","msg":"request","id":"a1-7","client":"203.0.113.9",' +
        '"listener":":443","route":"route/:443/app.example.com","method":"GET","host":"app.example.com",' +
        '"path":"/a?b=1","protocol":"HTTP/2","status":200,"bytes_in":0,"bytes_out":4096,"queue_ms":0,' +
        '"connect_ms":0,"first_byte_ms":1.235,"total_ms":12.050,"upstream":"10.0.0.1:8080",' +
        '"upstream_protocol":"HTTP/1.1","user_agent":"curl/8.5","verdict":"served","reason":"answered"}\n',
    );
  });

  test('and those that are there at times', () => {
    const line = JSON.parse(
      lineOf({
        ...answered,
        routeId: null,
        upstreamName: null,
        upstreamVersion: null,
        protocol: 'websocket',
        isRetried: true,
        userAgent: undefined,
        reason: 'header-missing',
        ruleId: 'policy/x',
        detail: 'why',
      }),
    );
    assert.deepEqual([line.route, line.upstream], [null, null]);
    assert.deepEqual(
      [line.upgrade, line.retried, line.rule, line.detail],
      ['websocket', true, 'policy/x', 'why'],
    );
    assert.equal('user_agent' in line || 'upstream_protocol' in line, false);
  });

  test('levels: a backend that fails is a warning, a fault of ours an error', () => {
    for (const reason of Object.keys(reasons)) assert.ok(isReason(reason) && requestLevel(reason));
    assert.equal(requestLevel('answered'), 'info');
    assert.equal(requestLevel('upstream-timeout'), 'warn');
    assert.equal(requestLevel('dial-refused'), 'warn');
    assert.equal(requestLevel('internal-error'), 'error');
    assert.equal(lineOf(answered, 'warn'), '');
  });

  test('hostile text stays one line of printable JSON, and of bounded length', () => {
    const text = fc.string({ unit: 'binary', maxLength: 2500 });
    fc.assert(
      fc.property(text, text, text, (host, path, userAgent) => {
        const line = lineOf({
          ...answered,
          host,
          path,
          userAgent,
          method: host,
          detail: path,
          id: userAgent,
        });
        assert.doesNotMatch(line.slice(0, -1), unsafe);
        const shown = JSON.parse(line) as { host: string; path: string };
        assert.ok(shown.host.length <= 256 && shown.path.length <= 2048);
      }),
      { numRuns: 30 },
    );
  });

  test('times keep their microseconds', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e7, noNaN: true }), (totalMs) => {
        const shown = (JSON.parse(lineOf({ ...answered, totalMs })) as { total_ms: number }).total_ms;
        assert.ok(Math.abs(shown - totalMs) <= 0.000501);
      }),
    );
  });
});
