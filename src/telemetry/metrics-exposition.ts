/**
 * Metrics as text: the Prometheus format 0.0.4, and OpenMetrics 1.0 with exemplars. Pure functions.
 *
 * The two differ in the names of counters' metadata, in how numbers of `le` are written, in exemplars and in the end
 * mark. What is escaped is the same: backslash, newline, and in label values the quote.
 */
import type { Exemplar } from './metrics-cells.ts';
import { definitionOf, type MetricName } from './metrics-table.ts';

export type ExpositionFormat = 'prometheus' | 'openmetrics';

/** A label set and its numbers, recorded or gathered. */
export interface Sample {
  readonly labels: readonly string[];
  readonly value: number;
  readonly counts?: readonly number[];
  readonly exemplars?: readonly (Exemplar | undefined)[];
}

export interface MetricReading {
  readonly name: MetricName;
  readonly samples: readonly Sample[];
}

export const contentTypes: Readonly<Record<ExpositionFormat, string>> = {
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
};

/** What a scraper's Accept asks for. OpenMetrics only where it is asked for by name and not less wanted than text. */
export function negotiateFormat(accept: string | undefined): ExpositionFormat {
  let openmetrics = 0;
  let text = 0;
  for (const part of (accept ?? '').slice(0, acceptCharactersMax).split(',')) {
    const [type = '', ...parameters] = part.split(';').map((each) => each.trim().toLowerCase());
    const quality = qualityOf(parameters);
    if (type === 'application/openmetrics-text' && takesVersion(parameters))
      openmetrics = Math.max(openmetrics, quality);
    else if (type === 'text/plain' || type === 'text/*' || type === '*/*') text = Math.max(text, quality);
  }
  return openmetrics > 0 && openmetrics >= text ? 'openmetrics' : 'prometheus';
}

/** `epochMs` is Unix time less the clock of the exemplars, which tells when they were. */
export function formatMetrics(
  readings: readonly MetricReading[],
  format: ExpositionFormat,
  epochMs: number,
): string {
  const blocks = readings
    .filter(({ samples }) => samples.length > 0)
    .map((reading) => block(reading, format, epochMs));
  return format === 'openmetrics' ? `${blocks.join('')}# EOF\n` : blocks.join('');
}

/** `name{label="value"}` and a value, without metadata: what people read. */
export function sampleLines({ name, samples }: MetricReading): string[] {
  const lines: string[] = [];
  for (const sample of samples) {
    const labels = labelText(definitionOf(name).labels, sample.labels);
    if (sample.counts === undefined || sample.counts.length === 0) {
      lines.push(`${name}${braced(labels)} ${formatNumber(sample.value)}`);
    } else {
      const count = sample.counts.reduce((sum, each) => sum + each, 0);
      lines.push(`${name}_count${braced(labels)} ${formatNumber(count)}`);
      lines.push(`${name}_sum${braced(labels)} ${formatNumber(sample.value)}`);
    }
  }
  return lines;
}

const acceptCharactersMax = 1_024;

function qualityOf(parameters: readonly string[]): number {
  const text = parameters.find((each) => each.startsWith('q='))?.slice(2);
  if (text === undefined) return 1;
  const quality = Number(text);
  return quality >= 0 && quality <= 1 ? quality : 0;
}

function takesVersion(parameters: readonly string[]): boolean {
  const version = parameters.find((each) => each.startsWith('version='))?.slice('version='.length);
  return version === undefined || version === '1.0.0' || version === '"1.0.0"';
}

function block({ name, samples }: MetricReading, format: ExpositionFormat, epochMs: number): string {
  const { type, help, labels } = definitionOf(name);
  // OpenMetrics names the family without the ending that its samples carry.
  const family = format === 'openmetrics' && type === 'counter' ? name.replace(/_total$/, '') : name;
  let text = `# HELP ${family} ${escapeHelp(help, format)}\n# TYPE ${family} ${type}\n`;
  for (const sample of samples) {
    const own = labelText(labels, sample.labels);
    if (type === 'histogram') text += histogramLines(name, own, sample, format, epochMs);
    else text += `${name}${braced(own)} ${formatNumber(sample.value)}\n`;
  }
  return text;
}

function histogramLines(
  name: MetricName,
  labels: string,
  { value, counts = [], exemplars = [] }: Sample,
  format: ExpositionFormat,
  epochMs: number,
): string {
  const { buckets = [] } = definitionOf(name);
  const before = labels === '' ? '' : `${labels},`;
  let text = '';
  let count = 0;
  for (const [bucket, own] of counts.entries()) {
    count += own;
    const exemplar = format === 'openmetrics' ? exemplars[bucket] : undefined;
    const bound = buckets[bucket];
    const le = bound === undefined ? '+Inf' : format === 'openmetrics' ? formatFloat(bound) : String(bound);
    text += `${name}_bucket{${before}le="${le}"} ${formatNumber(count)}`;
    text += exemplar === undefined ? '\n' : exemplarText(exemplar, epochMs);
  }
  return `${text}${name}_sum${braced(labels)} ${formatNumber(value)}\n${name}_count${braced(labels)} ${formatNumber(count)}\n`;
}

/** At most 128 characters of labels are allowed; ids are at most 40. */
function exemplarText({ id, value, atMs }: Exemplar, epochMs: number): string {
  return ` # {request_id="${escapeLabel(id)}"} ${formatNumber(value)} ${((atMs + epochMs) / 1_000).toFixed(3)}\n`;
}

function labelText(names: readonly string[], values: readonly string[]): string {
  return names.map((name, index) => `${name}="${escapeLabel(values[index] ?? '')}"`).join(',');
}

function braced(labels: string): string {
  return labels === '' ? '' : `{${labels}}`;
}

function escapeLabel(value: string): string {
  return value
    .replaceAll('\\', '\\\\')
    .replaceAll('\n', String.raw`\n`)
    .replaceAll('"', String.raw`\"`);
}

/** OpenMetrics escapes the quote in help texts too. */
function escapeHelp(help: string, format: ExpositionFormat): string {
  const escaped = help.replaceAll('\\', '\\\\').replaceAll('\n', String.raw`\n`);
  return format === 'openmetrics' ? escaped.replaceAll('"', String.raw`\"`) : escaped;
}

function formatNumber(value: number): string {
  if (value === Infinity) return '+Inf';
  if (value === -Infinity) return '-Inf';
  return String(value);
}

/** Numbers of `le` have a point in OpenMetrics. */
function formatFloat(value: number): string {
  return Number.isInteger(value) ? `${value}.0` : String(value);
}
