import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatMetrics, negotiateFormat, sampleLines } from './metrics-exposition.ts';
import { SharedMetrics } from './metrics.ts';

describe('negotiateFormat', () => {
  for (const [accept, format] of [
    [undefined, 'prometheus'],
    ['*/*', 'prometheus'],
    ['text/plain;version=0.0.4', 'prometheus'],
    ['application/openmetrics-text', 'openmetrics'],
    [
      'application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2',
      'openmetrics',
    ],
    ['text/plain, application/openmetrics-text;q=0.5', 'prometheus'],
    ['application/openmetrics-text; version=2.0.0', 'prometheus'],
    ['application/openmetrics-text;q=0', 'prometheus'],
    ['application/openmetrics-text;q=nonsense', 'prometheus'],
  ] as const) {
    test(`${accept ?? 'nothing'} gets ${format}`, () => assert.equal(negotiateFormat(accept), format));
  }
});

describe('formatMetrics', () => {
  test('escapes label values and leaves out metrics without samples', () => {
    const text = formatMetrics(
      [
        { name: 'portcullis_bytes_total', samples: [{ labels: ['a"b\\c\nd', 'in'], value: 3 }] },
        { name: 'portcullis_workers', samples: [] },
      ],
      'prometheus',
      0,
    );
    assert.equal(
      text,
      '# HELP portcullis_bytes_total Bytes relayed; those of a connection are added when it ends.\n' +
        '# TYPE portcullis_bytes_total counter\n' +
        'portcullis_bytes_total{listener="a\\"b\\\\c\\nd",direction="in"} 3\n',
    );
  });

  test('a histogram has rising buckets, its sum and its count, and in OpenMetrics its exemplars', () => {
    const shared = SharedMetrics.create(1);
    const name = 'portcullis_http_request_duration_seconds';
    const histogram = shared.histograms(name).at('r');
    histogram.observe(0.001);
    histogram.observeFor('req-1', 0.7, 5_000);
    histogram.observe(100);
    const readings = [{ name, samples: shared.read(name) }] as const;
    const plain = formatMetrics(readings, 'prometheus', 1_000_000).split('\n');
    assert.ok(plain.includes(`${name}_bucket{route="r",le="0.001"} 1`));
    assert.ok(plain.includes(`${name}_bucket{route="r",le="1"} 2`));
    assert.ok(plain.includes(`${name}_bucket{route="r",le="+Inf"} 3`));
    assert.ok(plain.includes(`${name}_count{route="r"} 3`));
    assert.ok(plain.includes(`${name}_sum{route="r"} 100.701`));
    const open = formatMetrics(readings, 'openmetrics', 1_000_000);
    assert.ok(open.includes(`${name}_bucket{route="r",le="1.0"} 2 # {request_id="req-1"} 0.7 1005.000\n`));
    assert.ok(open.endsWith('# EOF\n'));
  });

  test('OpenMetrics names the family of a counter without its ending', () => {
    const text = formatMetrics(
      [{ name: 'portcullis_config_changes_total', samples: [{ labels: ['applied'], value: 1 }] }],
      'openmetrics',
      0,
    );
    assert.match(text, /^# TYPE portcullis_config_changes counter$/m);
    assert.match(text, /^portcullis_config_changes_total\{result="applied"\} 1$/m);
  });

  test('numbers that are none are written as the formats have them', () => {
    const line = (value: number): string =>
      sampleLines({ name: 'portcullis_config_version', samples: [{ labels: [], value }] })[0]!;
    assert.deepEqual([NaN, Infinity, -Infinity, 1e21].map(line), [
      'portcullis_config_version NaN',
      'portcullis_config_version +Inf',
      'portcullis_config_version -Inf',
      'portcullis_config_version 1e+21',
    ]);
  });
});
