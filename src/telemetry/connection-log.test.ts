import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isReason, reasons } from '../core/reason.ts';
import { ConnectionLog, connectionLevel, type ConnectionSummary } from './connection-log.ts';

/** UTF-16 units as they come, unpaired surrogates among them. */
const anyText = fc
  .array(fc.oneof(fc.integer({ min: 0, max: 0xff }), fc.integer({ min: 0, max: 0xffff })), { maxLength: 400 })
  .map((units) => String.fromCharCode(...units));

const served: ConnectionSummary = {
  id: 7,
  client: '203.0.113.9:40000',
  listener: ':443',
  sni: 'app.example.com',
  route: 'route/:443/app.example.com',
  backend: '10.0.0.1:8443',
  bytesIn: 517,
  bytesOut: 4096,
  durationMs: 12.4,
  verdict: 'served',
  reason: 'client-closed',
  rule: null,
};

function lineOf(summary: ConnectionSummary, level: 'debug' | 'info' | 'warn' | 'error' = 'debug'): string {
  const lines: string[] = [];
  new ConnectionLog({ write: (line) => lines.push(line) }, level, () =>
    Date.UTC(2026, 10, 21, 1, 2, 3, 4),
  ).write(summary);
  assert.ok(lines.length <= 1);
  return lines[0] ?? '';
}

// oxlint-disable-next-line no-control-regex
const unsafe = /[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/;

describe('ConnectionLog', () => {
  test('writes one JSON line with every field', () => {
    assert.equal(
      lineOf(served),
      '{"level":"info","time":"2026-11-21T01:02:03.004Z","msg":"connection","id":7,' +
        '"client":"203.0.113.9:40000","listener":":443","sni":"app.example.com",' +
        '"route":"route/:443/app.example.com","backend":"10.0.0.1:8443","bytes_in":517,"bytes_out":4096,' +
        '"duration_ms":12,"verdict":"served","reason":"client-closed"}\n',
    );
  });

  test('writes null for what was never known, and the optional fields only when they are there', () => {
    const refused = JSON.parse(
      lineOf({
        ...served,
        id: 'w1-7',
        peer: '[2001:db8::1]:9',
        sni: null,
        route: null,
        backend: null,
        verdict: 'refused',
        reason: 'blocked-ip',
        rule: 'firewall/*/203.0.113.9',
        detail: 'why',
      }),
    );
    assert.equal(refused.id, 'w1-7');
    assert.equal(refused.peer, '[2001:db8::1]:9');
    assert.equal(refused.rule, 'firewall/*/203.0.113.9');
    assert.equal(refused.detail, 'why');
    assert.deepEqual([refused.sni, refused.route, refused.backend], [null, null, null]);
  });

  test('levels follow the outcome', () => {
    assert.equal(connectionLevel('client-closed'), 'info');
    assert.equal(connectionLevel('rate-limited'), 'info');
    assert.equal(connectionLevel('client-gone'), 'info');
    assert.equal(connectionLevel('dial-refused'), 'warn');
    assert.equal(connectionLevel('name-timeout'), 'warn');
    assert.equal(connectionLevel('internal-error'), 'error');
    for (const reason of Object.keys(reasons)) assert.ok(isReason(reason) && connectionLevel(reason));
  });

  test('builds nothing below its level', () => {
    assert.equal(lineOf(served, 'warn'), '');
    assert.notEqual(lineOf({ ...served, reason: 'dial-timeout' }, 'warn'), '');
    assert.equal(lineOf({ ...served, reason: 'dial-timeout' }, 'error'), '');
  });

  test('a hostile SNI or detail stays one line of printable JSON', () => {
    assert.match(
      lineOf({ ...served, sni: '"},\n\x1b[2J\u009b\u202e' }),
      /"sni":"\\"},\\\\x0a\\\\x1b\[2J\\\\x9b/,
    );
    fc.assert(
      fc.property(anyText, anyText, (sni, detail) => {
        const line = lineOf({ ...served, sni, detail });
        assert.doesNotMatch(line.slice(0, -1), unsafe);
        const { sni: shown } = JSON.parse(line) as { sni: string };
        assert.ok(shown.length <= 256);
      }),
    );
  });

  test('the memory for recurring names is bounded', () => {
    for (let at = 0; at < 10_000; at++) lineOf({ ...served, route: `route/:443/${at}.example.com` });
    assert.equal(JSON.parse(lineOf(served)).route, served.route);
    assert.equal(JSON.parse(lineOf({ ...served, route: null })).route, null);
  });
});
