/** The dashboard and the alert rules ask for metrics that exist, with labels that they have. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { definitionOf, metricNames, type MetricName } from '../src/telemetry/metrics-table.ts';

const alerts = join(import.meta.dirname, '../deploy/prometheus/portcullis-alerts.yaml');
const dashboard = join(import.meta.dirname, '../deploy/grafana/portcullis.json');
/** What a scrape adds, and buckets have. */
const labelsOfAll = new Set(['instance', 'job', 'le']);

for (const file of [alerts, dashboard]) {
  test(`${file.split('/').at(-1)} names metrics and labels of the table`, () => {
    const text = readFileSync(file, 'utf8');
    const used = new Set(text.match(/\b(?:portcullis|proxy)_[a-z0-9_]+/g));
    assert.ok(used.size > 5);
    for (const name of used) {
      const family = name.replace(/_(bucket|sum|count)$/, '');
      assert.ok(metricNames.includes(family as MetricName), name);
    }
    for (const [, labels, metric] of text.matchAll(
      /by \(([a-z, ]+)\) \((?:rate\()?((?:portcullis|proxy)_[a-z0-9_]+)/g,
    )) {
      const own = definitionOf(metric!.replace(/_bucket$/, '') as MetricName).labels;
      for (const label of labels!.split(', '))
        assert.ok(own.includes(label) || labelsOfAll.has(label), `${metric} ${label}`);
    }
  });
}

const hasPromtool = spawnSync('promtool', ['--version']).error === undefined;

test('promtool takes the alert rules', { skip: hasPromtool ? false : 'promtool is missing' }, () => {
  const { status, stderr } = spawnSync('promtool', ['check', 'rules', alerts], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
});
