import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { SharedMetrics } from './metrics.ts';
import { metricNames, metrics, type MetricName } from './metrics-table.ts';
import { HttpMetrics } from './traffic-metrics.ts';

describe('SharedMetrics', () => {
  test('adds up what every worker counted of a label set', () => {
    const first = SharedMetrics.create(2);
    const second = new SharedMetrics(first.buffer, 1);
    first.counters('portcullis_dial_errors_total').at('10.0.0.1:443', 'dial-refused').add(2);
    second.counters('portcullis_dial_errors_total').at('10.0.0.1:443', 'dial-refused').add(3);
    second.counters('portcullis_dial_errors_total').at('10.0.0.1:443', 'dial-timeout').add(1);
    const series = first.read('portcullis_dial_errors_total');
    assert.deepEqual(
      series.map(({ labels, value }) => [...labels, value]),
      [
        ['10.0.0.1:443', 'dial-refused', 5],
        ['10.0.0.1:443', 'dial-timeout', 1],
      ],
    );
  });

  test('a bound of a bucket belongs to it, and what is above all has its own', () => {
    const shared = SharedMetrics.create(1);
    const { buckets } = metrics.portcullis_dial_duration_seconds;
    const histogram = shared.histograms('portcullis_dial_duration_seconds').at('b');
    for (const bound of buckets!) histogram.observe(bound);
    histogram.observe(1e9);
    const [series] = shared.read('portcullis_dial_duration_seconds');
    assert.deepEqual(series!.counts, [...buckets!.map(() => 1), 1]);
    assert.equal(
      series!.value,
      buckets!.reduce((sum, each) => sum + each, 1e9),
    );
  });

  test('label sets beyond the bound share `other`, in every worker alike, and the rest stay exact', () => {
    const first = SharedMetrics.create(2);
    const second = new SharedMetrics(first.buffer, 1);
    const { seriesMax } = metrics.portcullis_tls_handshakes_total;
    const own = first.counters('portcullis_tls_handshakes_total');
    const others = second.counters('portcullis_tls_handshakes_total');
    for (let at = 0; at < seriesMax + 5; at++) own.at(`result-${at}`).add(1);
    for (let at = 0; at < seriesMax + 5; at++) others.at(`result-${at}`).add(1);
    const series = first.read('portcullis_tls_handshakes_total');
    assert.equal(series.length, seriesMax + 1);
    for (const { labels, value } of series) assert.equal(value, labels[0] === 'other' ? 10 : 2);
    assert.equal(first.overflow('portcullis_tls_handshakes_total'), 10);
  });

  test('a replaced worker counts on, and the gauges of the dead one are given back', () => {
    const supervisor = SharedMetrics.create(1);
    const before = new SharedMetrics(supervisor.buffer, 0);
    before.counters('proxy_traffic_total').at('*.example.com', 'BLOCKED').add(4);
    before.gauges('proxy_active_connections').at().add(7);
    supervisor.reclaim(0);
    const after = new SharedMetrics(supervisor.buffer, 0);
    after.counters('proxy_traffic_total').at('*.example.com', 'BLOCKED').add(1);
    after.gauges('proxy_active_connections').at().add(2);
    assert.equal(supervisor.read('proxy_traffic_total')[0]!.value, 5);
    assert.equal(supervisor.read('proxy_active_connections')[0]!.value, 2);
  });

  test('an exemplar is the latest of its bucket over all workers, and not written more than once a second', () => {
    const first = SharedMetrics.create(2);
    const second = new SharedMetrics(first.buffer, 1);
    const name = 'portcullis_http_request_duration_seconds';
    first.histograms(name).at('r').observeFor('early', 0.2, 10_000);
    first.histograms(name).at('r').observeFor('too-soon', 0.2, 10_500);
    const [seen] = first.read(name);
    assert.deepEqual(seen!.exemplars.filter(Boolean), [{ id: 'early', value: 0.2, atMs: 10_000 }]);
    second.histograms(name).at('r').observeFor('x'.repeat(100), 0.21, 12_000);
    const [later] = first.read(name);
    assert.deepEqual(later!.exemplars.filter(Boolean), [{ id: 'x'.repeat(40), value: 0.21, atMs: 12_000 }]);
    second.histograms(name).at('r').observeFor('é\n"', 0.21, 14_000);
    assert.equal(first.read(name)[0]!.exemplars.find(Boolean)!.id, '??"');
  });

  test('any labels are told apart from any others', () => {
    const label = fc.string({ unit: 'grapheme', maxLength: 40 }).map((text) => text.replaceAll('\0', ''));
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(label, label), { maxLength: 60, selector: (pair) => pair.join('\0') }),
        (sets) => {
          const shared = SharedMetrics.create(1);
          for (const [at, [route, policy]] of sets.entries()) {
            shared
              .counters('portcullis_http_policy_blocks_total')
              .at(route, policy)
              .add(at + 1);
          }
          const read = shared.read('portcullis_http_policy_blocks_total');
          assert.deepEqual(
            read.map(({ labels, value }) => [...labels, value]),
            sets.map(([route, policy], at) => [route.toWellFormed(), policy.toWellFormed(), at + 1]),
          );
        },
      ),
      { numRuns: 30 },
    );
  });

  test('a NUL or an endless label costs its own series nothing but its looks', () => {
    const shared = SharedMetrics.create(1);
    const family = shared.counters('portcullis_http2_abuse_total');
    family.at('a\0b').add(1);
    family.at('a\0b').add(1);
    family.at('y'.repeat(10_000)).add(1);
    family.at('y'.repeat(10_000)).add(1);
    assert.deepEqual(
      shared.read('portcullis_http2_abuse_total').map(({ labels, value }) => [labels[0]!.length, value]),
      [
        [3, 2],
        [512, 2],
      ],
    );
  });

  test('four threads that meet the same label sets at once lose no count', async () => {
    const shared = SharedMetrics.create(4);
    const source = `
      const { workerData } = require('node:worker_threads');
      import(workerData.module).then(({ SharedMetrics }) => {
        const family = new SharedMetrics(workerData.buffer, workerData.worker).counters('proxy_traffic_total');
        const start = new Int32Array(workerData.start);
        Atomics.add(start, 0, 1);
        while (Atomics.load(start, 0) < 4);
        for (let round = 0; round < 20; round++)
          for (let at = 0; at < 200; at++) family.at('domain-' + at, 'BLOCKED').add(1);
      });`;
    const start = new SharedArrayBuffer(4);
    const module = new URL('./metrics.ts', import.meta.url).href;
    const threads = [0, 1, 2, 3].map(
      (worker) =>
        new Worker(source, { eval: true, workerData: { module, buffer: shared.buffer, worker, start } }),
    );
    await Promise.all(threads.map((thread) => new Promise((resolve) => thread.once('exit', resolve))));
    const series = shared.read('proxy_traffic_total');
    assert.equal(series.length, 200);
    for (const { value } of series) assert.equal(value, 80);
  });

  test('a client can not fill the table with methods of its own', () => {
    const shared = SharedMetrics.create(1);
    const http = new HttpMetrics(shared);
    for (let at = 0; at < 100; at++) http.request('route', `M${at}`, 405, 1, 'id', at);
    http.request('route', 'GET', 200, 1, 'id', 100);
    assert.deepEqual(
      shared.read('portcullis_http_requests_total').map(({ labels, value }) => [...labels, value]),
      [
        ['route', 'other', '405', 100],
        ['route', 'GET', '200', 1],
      ],
    );
  });
});

describe('the table of metrics', () => {
  test('names, buckets and bounds are what the formats demand', () => {
    for (const name of metricNames as readonly MetricName[]) {
      const { type, labels, seriesMax, help } = metrics[name];
      assert.match(name, /^(portcullis|proxy)_[a-z0-9_]+$/);
      assert.equal(name.endsWith('_total'), type === 'counter', name);
      assert.match(help, /^[A-Z][^\n"\\]*\.$/, name);
      assert.ok(labels.length <= 3 && seriesMax >= 1 && seriesMax <= 10_000, name);
      const buckets = metrics[name].buckets ?? [];
      assert.equal(buckets.length > 0, type === 'histogram', name);
      assert.deepEqual(
        buckets,
        buckets.toSorted((a, b) => a - b),
      );
    }
  });
});
