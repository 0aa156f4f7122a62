/**
 * `/stats`: every metric as a line or as JSON, cut down by `?filter=`, a regular expression over the lines.
 *
 * The expression comes from outside, so it runs in linear time: none can hold up the supervisor.
 */
import { LinearRegex, RegexFault } from '../core/linear-regex.ts';
import { sampleLines, type MetricReading } from '../telemetry/metrics-exposition.ts';
import { json, PageError, plainText, type Answer } from './http-door.ts';
import type { HttpLimits } from './http-limits.ts';

export function statsPage(
  readings: readonly MetricReading[],
  query: URLSearchParams,
  limits: HttpLimits,
): Answer {
  const lines = filterLines(readings.flatMap(sampleLines), query.get('filter'), limits);
  const format = query.get('format') ?? 'text';
  if (format === 'text') return plainText(200, lines.map((line) => `${line}\n`).join(''));
  if (format !== 'json') throw new PageError(400, 'format is text or json');
  return json({ stats: lines.map(statOf) });
}

/** The value is behind the last space: label values may hold any number of them. */
function statOf(line: string): { name: string; value: number | string } {
  const space = line.lastIndexOf(' ');
  const value = Number(line.slice(space + 1));
  return { name: line.slice(0, space), value: Number.isFinite(value) ? value : line.slice(space + 1) };
}

function filterLines(lines: string[], filter: string | null, { filterCharactersMax }: HttpLimits): string[] {
  if (filter === null || filter === '') return lines;
  if (filter.length > filterCharactersMax) throw new PageError(400, 'the filter is too long');
  const pattern = LinearRegex.compile(filter, { ignoreCase: true });
  if (pattern instanceof RegexFault) throw new PageError(400, `the filter ${pattern.reason}`);
  return lines.filter((line) => pattern.test(line));
}
