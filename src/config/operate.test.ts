import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { operateDefaults } from '../model/operate-settings.ts';
import { loadSettings } from './load.ts';

const directory = mkdtempSync(join(tmpdir(), 'portcullis-operate-'));
after(() => rmSync(directory, { recursive: true }));

function load(text: string, env: Readonly<Record<string, string>> = {}) {
  const file = join(directory, 'a.toml');
  writeFileSync(file, `${text}\n[[listeners]]\naddr = ":443"\n`);
  return loadSettings(file, env);
}

describe('settings of operating', () => {
  test('are all off when nothing is said', () => {
    assert.deepEqual(load('').settings!.process.operate, operateDefaults);
  });

  test('are read from their sections and from the environment', () => {
    const { settings } = load(
      `[server]
       prestop_grace = "5s"
       [metrics]
       addr = ":9090"
       path = "/-/metrics"
       [tracing]
       endpoint = "http://127.0.0.1:4318/v1/traces"
       [admin]
       http_addr = "unix:http.sock"
       [log]
       file = "log/a.log"
       [log.access]
       fields = ["client", "route", "client"]`,
      { PORTCULLIS_TRACING_SAMPLE_RATE: '0.25', PORTCULLIS_LOG_ACCESS_SAMPLE_RATE: '0' },
    );
    assert.deepEqual(settings!.process.operate, {
      metrics: { address: { host: '', port: 9090 }, path: '/-/metrics' },
      adminHttp: { kind: 'unix', path: join(directory, 'http.sock') },
      tracing: { endpoint: 'http://127.0.0.1:4318/v1/traces', sampleRate: 0.25 },
      logFile: join(directory, 'log/a.log'),
      accessLog: { fields: ['client', 'route'], sampleRate: 0 },
      prestopGraceMs: 5_000,
    });
  });

  for (const [text, problem] of [
    [
      '[admin]\nhttp_addr = "0.0.0.0:9901"',
      /admin\.http_addr: expected a loopback address.*others than this machine/,
    ],
    ['[admin]\nhttp_addr = ":9901"', /admin\.http_addr/],
    ['[metrics]\npath = "metrics"', /metrics\.path: expected a path such as/],
    ['[metrics]\npath = "/a?b"', /metrics\.path/],
    ['[tracing]\nendpoint = "ftp://x/"', /tracing\.endpoint: expected a URL/],
    ['[tracing]\nsample_rate = 1.5', /tracing\.sample_rate: expected a number from 0 to 1/],
    ['[log.access]\nfields = ["cookie"]', /log\.access\.fields/],
  ] as const) {
    test(`refuses ${text.replace('\n', ' ')}`, () => {
      const { settings, problems } = load(text);
      assert.equal(settings, undefined);
      assert.match(problems.map(({ path, message }) => `${path}: ${message}`).join('\n'), problem);
    });
  }
});
