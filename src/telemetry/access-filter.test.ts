import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AccessFilter } from './access-filter.ts';
import { ConnectionLog, type ConnectionSummary } from './connection-log.ts';

const served: ConnectionSummary = {
  id: 'a-1',
  client: '203.0.113.9:40000',
  listener: ':443',
  sni: 'evil\u202e.example',
  route: 'route/:443/app.example.com',
  backend: '10.0.0.1:8443',
  bytesIn: 517,
  bytesOut: 4096,
  durationMs: 12.4,
  verdict: 'served',
  reason: 'client-closed',
  rule: null,
};
const refused: ConnectionSummary = {
  ...served,
  verdict: 'refused',
  reason: 'blocked-ip',
  rule: 'ip/-/192.0.2.1',
};

function linesOf(filter: AccessFilter, summaries: readonly ConnectionSummary[]): string[] {
  const lines: string[] = [];
  const log = new ConnectionLog({ write: (line) => lines.push(line) }, 'debug', () => 0, filter);
  for (const summary of summaries) log.write(summary);
  return lines;
}

describe('[log.access]', () => {
  test('a sampling rate thins out what was served, and nothing that was refused', () => {
    let at = 0;
    const filter = new AccessFilter({ fields: [], sampleRate: 0.25 }, () => (at++ % 4) / 4);
    const lines = linesOf(filter, Array.from({ length: 100 }, () => [served, refused]).flat());
    assert.equal(lines.filter((line) => line.includes('"verdict":"served"')).length, 25);
    assert.equal(lines.filter((line) => line.includes('"verdict":"refused"')).length, 100);
    assert.equal(linesOf(new AccessFilter({ fields: [], sampleRate: 0 }), [served]).length, 0);
  });

  test('the fields that are chosen are written beside those that always are, escaped as before', () => {
    const [line] = linesOf(new AccessFilter({ fields: ['sni', 'bytes_out'], sampleRate: 1 }), [served]);
    assert.equal(
      line,
      '{"level":"info","time":"1970-01-01T00:00:00.000Z","msg":"connection","id":"a-1",' +
        '"sni":"evil\\\\u{202e}.example","bytes_out":4096,"verdict":"served","reason":"client-closed"}\n',
    );
  });
});
