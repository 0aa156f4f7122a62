import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { continueTrace, formatTraceparent, parseTraceparent } from './trace-context.ts';
import { SpanExporter, type Span } from './trace-export.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const parentId = '00f067aa0ba902b7';

describe('traceparent', () => {
  test('is read as the specification writes it', () => {
    assert.deepEqual(parseTraceparent(`00-${traceId}-${parentId}-01`), {
      traceId,
      parentId,
      isSampled: true,
    });
    assert.deepEqual(parseTraceparent(`00-${traceId}-${parentId}-02`), {
      traceId,
      parentId,
      isSampled: false,
    });
    assert.ok(parseTraceparent(`cc-${traceId}-${parentId}-01-what-comes-later`));
  });

  for (const bad of [
    undefined,
    '',
    `ff-${traceId}-${parentId}-01`,
    `00-${traceId}-${parentId}-01-more`,
    `00-${traceId.toUpperCase()}-${parentId}-01`,
    `00-${'0'.repeat(32)}-${parentId}-01`,
    `00-${traceId}-${'0'.repeat(16)}-01`,
    `00-${traceId}-${parentId}-1`,
    ` 00-${traceId}-${parentId}-01`,
    `cc-${traceId}-${parentId}-01.more`,
    `cc-${traceId}-${parentId}-01-${'x'.repeat(1000)}`,
  ]) {
    test(`${String(bad).slice(0, 70)} begins a trace of its own`, () => {
      assert.equal(parseTraceparent(bad), undefined);
      const context = continueTrace(bad, 1);
      assert.equal(context.parentId, null);
      assert.ok(context.isSampled);
    });
  }

  test('keeps the decision of the caller and is passed on with our span as the parent', () => {
    const context = continueTrace(`00-${traceId}-${parentId}-00`, 1);
    assert.equal(context.traceId, traceId);
    assert.equal(context.parentId, parentId);
    assert.ok(!context.isSampled);
    assert.equal(formatTraceparent(context), `00-${traceId}-${context.spanId}-00`);
    assert.equal(continueTrace(undefined, 0.5, () => 0.5).isSampled, false);
  });

  test('any text is read or refused, and what we write is read', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 80 }), (text) => {
        const written = parseTraceparent(formatTraceparent(continueTrace(text, 0.5)));
        assert.match(written!.parentId, /^[\da-f]{16}$/);
      }),
    );
  });
});

describe('SpanExporter', () => {
  let collector: Server;
  let endpoint: string;
  let status = 200;
  const batches: { resourceSpans: { scopeSpans: { spans: Record<string, unknown>[] }[] }[] }[] = [];

  before(async () => {
    collector = createServer((request, response) => {
      let text = '';
      request.setEncoding('utf8').on('data', (part: string) => (text += part));
      request.on('end', () => {
        batches.push(JSON.parse(text) as (typeof batches)[number]);
        response.statusCode = status;
        response.end('{}');
      });
    });
    await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
    endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}/v1/traces`;
  });
  after(() => collector.close());

  const span: Span = {
    context: { traceId, spanId: 'a'.repeat(16), parentId, isSampled: true },
    name: 'GET route/:443/a.example',
    kind: 'server',
    startMs: 1_790_000_000_000.5,
    endMs: 1_790_000_000_001.25,
    attributes: { 'http.response.status_code': 200, 'url.path': '/x', retried: false, ratio: 0.5 },
    isError: true,
  };

  test('sends OTLP in JSON: ids in hexadecimal, 64-bit numbers as text', async () => {
    const exporter = new SpanExporter({
      endpoint,
      serviceVersion: '1',
      instance: 'i',
      onDropped: (count) => assert.fail(`${count} dropped`),
    });
    exporter.add(span);
    await exporter.close();
    const [sent] = batches.pop()!.resourceSpans[0]!.scopeSpans[0]!.spans;
    assert.deepEqual(sent, {
      traceId,
      spanId: 'a'.repeat(16),
      parentSpanId: parentId,
      name: 'GET route/:443/a.example',
      kind: 2,
      startTimeUnixNano: '1790000000000500000',
      endTimeUnixNano: '1790000000001250000',
      attributes: [
        { key: 'http.response.status_code', value: { intValue: '200' } },
        { key: 'url.path', value: { stringValue: '/x' } },
        { key: 'retried', value: { boolValue: false } },
        { key: 'ratio', value: { doubleValue: 0.5 } },
      ],
      status: { code: 2 },
    });
  });

  test('a queue that is full and a collector that refuses drop spans and count them', async () => {
    let dropped = 0;
    const limits = { queueMax: 3, batchMax: 10, delayMs: 60_000 };
    const onDropped = (count: number): void => void (dropped += count);
    const exporter = new SpanExporter({ endpoint, serviceVersion: '1', instance: 'i', onDropped, limits });
    for (let at = 0; at < 5; at++) exporter.add(span);
    assert.equal(dropped, 2);
    status = 503;
    await exporter.close();
    assert.equal(dropped, 5);
    status = 200;
  });

  test('spans have a rate, whoever asks for them', async () => {
    let dropped = 0;
    const limits = { perSecondMax: 3, delayMs: 60_000 };
    const onDropped = (count: number): void => void (dropped += count);
    const exporter = new SpanExporter({ endpoint, serviceVersion: '1', instance: 'i', onDropped, limits });
    for (let at = 0; at < 10; at++) exporter.add(span);
    assert.equal(dropped, 7);
    exporter.add({ ...span, endMs: span.endMs + 1_000 });
    assert.equal(dropped, 7);
    await exporter.close();
    assert.equal(batches.pop()!.resourceSpans[0]!.scopeSpans[0]!.spans.length, 4);
  });

  test('a collector that does not answer holds up the end of a worker for a bounded time', async () => {
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    let dropped = 0;
    const exporter = new SpanExporter({
      endpoint: `http://127.0.0.1:${(silent.address() as AddressInfo).port}/`,
      serviceVersion: '1',
      instance: 'i',
      onDropped: (count) => (dropped += count),
      limits: { closeMs: 50, batchMax: 1 },
    });
    exporter.add(span);
    exporter.add(span);
    await exporter.close();
    assert.equal(dropped, 2);
    silent.close();
    silent.closeAllConnections();
  });

  test('a collector that is not there costs the spans and nothing else', async () => {
    let dropped = 0;
    const exporter = new SpanExporter({
      endpoint: 'http://127.0.0.1:1/v1/traces',
      serviceVersion: '1',
      instance: 'i',
      onDropped: (count) => (dropped += count),
    });
    exporter.add(span);
    await exporter.close();
    assert.equal(dropped, 1);
  });
});
