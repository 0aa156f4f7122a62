/** Traces as a collector and a backend see them: continued, begun, sampled, told of in the log, off by default. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { fieldOf, Http1Client, Http2Client, seenIn, type Ask } from '../support/http-client.ts';
import { HttpOrigin } from '../support/http-origin.ts';
import { isRequestLine, listener, route } from '../support/layer7.ts';
import { Portcullis } from '../support/portcullis.ts';
import { Suite } from '../support/suite.ts';
import { lacks, run } from '../support/tools.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const parentId = '00f067aa0ba902b7';
const traceparent = `00-${traceId}-${parentId}-01`;

interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly { readonly key: string; readonly value: Readonly<Record<string, unknown>> }[];
  readonly status: { readonly code?: number };
}

/** As much of an OTLP collector as a sender sees. */
class Collector implements AsyncDisposable {
  readonly spans: ReceivedSpan[] = [];
  status = 200;
  readonly #server: Server;
  #onSpans: () => void = () => undefined;

  static async start(): Promise<Collector> {
    const collector = new Collector();
    collector.#server.listen(0, '127.0.0.1');
    await once(collector.#server, 'listening');
    return collector;
  }

  private constructor() {
    this.#server = createServer((request, response) => {
      let text = '';
      request.setEncoding('utf8').on('data', (part: string) => (text += part));
      request.on('end', () => {
        type Message = { resourceSpans: { scopeSpans: { spans: ReceivedSpan[] }[] }[] };
        for (const { scopeSpans } of (JSON.parse(text) as Message).resourceSpans) {
          this.spans.push(...scopeSpans.flatMap(({ spans }) => spans));
        }
        response.statusCode = this.status;
        response.end('{}');
        this.#onSpans();
      });
    });
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1/traces`;
  }

  /** The span of a request to this path; waits for it. */
  async span(path: string): Promise<ReceivedSpan> {
    for (;;) {
      const found = this.spans.find((span) => attributesOf(span)['url.path'] === path);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => (this.#onSpans = resolve));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }
}

function attributesOf({ attributes }: ReceivedSpan): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}

function configOf(origin: HttpOrigin, tracing: string): string {
  const routes = [
    route(
      'a.example.com',
      origin.port,
      'backend_protocol = "http1"',
      '[[listeners.routes.policies]]\ntype = "allow_methods"\nvalue = "GET,POST"',
    ),
    route('down.example.com', 1),
  ];
  return `${tracing}[metrics]\naddr = "127.0.0.1:0"\n${listener(['addr = "127.0.0.1:0"', 'protocol = "http"'], routes)}`;
}

describe('tracing', { timeout: 60_000 }, () => {
  const suite = new Suite();
  let origin: HttpOrigin;
  let collector: Collector;
  let portcullis: Portcullis;
  let client: Http1Client;

  before(async () => {
    origin = suite.use(await HttpOrigin.start('http1'));
    collector = suite.use(await Collector.start());
    const tracing = `[tracing]\nendpoint = "${collector.endpoint}"\nsample_rate = 0\n`;
    portcullis = await suite.portcullis(configOf(origin, tracing), {});
    client = new Http1Client(portcullis.port(), 'a.example.com');
  });
  after(() => client[Symbol.dispose]());

  async function seenBy(ask: Ask, via: { ask(ask: Ask): Promise<unknown> } = client) {
    return seenIn((await via.ask(ask)) as Awaited<ReturnType<Http1Client['ask']>>);
  }

  test('continues a trace: our span is between the client and the backend, with all that is known', async () => {
    const headers = { traceparent, tracestate: 'a=1,b=2', 'x-request-id': 'continued-1' };
    const seen = await seenBy({ path: '/echo/continued?token=secret', headers });
    const [sent] = fieldOf(seen, 'traceparent');
    assert.match(sent!, new RegExp(`^00-${traceId}-[0-9a-f]{16}-01$`));
    assert.deepEqual(fieldOf(seen, 'tracestate'), ['a=1,b=2']);
    const span = await collector.span('/echo/continued');
    assert.deepEqual(
      [span.traceId, span.parentSpanId, span.spanId],
      [traceId, parentId, sent!.split('-')[2]],
    );
    assert.equal(span.name, 'GET route/127.0.0.1:0/a.example.com');
    const ms = Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)) / 1e6;
    assert.ok(ms > 0 && ms < 10_000, `${ms}`);
    assert.ok(Math.abs(Number(BigInt(span.endTimeUnixNano) / 1_000_000n) - Date.now()) < 30_000);
    assert.doesNotMatch(JSON.stringify(span), /secret/);
    const attributes = attributesOf(span);
    for (const [key, value] of Object.entries({
      'http.request.method': 'GET',
      'http.route': 'route/127.0.0.1:0/a.example.com',
      'http.response.status_code': '200',
      'url.scheme': 'http',
      'server.address': 'a.example.com',
      'client.address': '127.0.0.1',
      'network.protocol.version': '1.1',
      'portcullis.reason': 'answered',
      'portcullis.request_id': 'continued-1',
      'portcullis.upstream': origin.address,
    })) {
      assert.equal(attributes[key], value, key);
    }
    const line = await portcullis.line((each) => isRequestLine(each) && each.id === 'continued-1');
    assert.equal(line['trace_id'], traceId);
  });

  test('continues one over HTTP/2, and with a tool of the system', async (context) => {
    using modern = await Http2Client.connect(portcullis.port(), 'a.example.com');
    await modern.ask({ path: '/echo/modern', headers: { traceparent } });
    assert.equal(attributesOf(await collector.span('/echo/modern'))['network.protocol.version'], '2');
    const missing = lacks('curl');
    if (missing !== false) return context.diagnostic(missing);
    const url = `http://127.0.0.1:${portcullis.port()}/echo/curl`;
    const { code } = await run('curl', [
      ...['-sS', '-H', 'Host: a.example.com', '-H', `traceparent: ${traceparent}`, url],
    ]);
    assert.equal(code, 0);
    assert.equal((await collector.span('/echo/curl')).parentSpanId, parentId);
  });

  test('what is not a trace begins one, without the state that came with it and without a span', async () => {
    for (const broken of [traceparent.toUpperCase(), `${traceparent}-x`, 'x', [traceparent, traceparent]]) {
      const seen = await seenBy({
        path: '/echo/broken',
        headers: { traceparent: broken, tracestate: 'a=1' },
      });
      const sent = fieldOf(seen, 'traceparent');
      assert.equal(sent.length, 1);
      assert.match(sent[0]!, /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
      assert.doesNotMatch(sent[0]!, new RegExp(traceId));
      assert.deepEqual(fieldOf(seen, 'tracestate'), []);
    }
    assert.ok(!collector.spans.some((span) => attributesOf(span)['url.path'] === '/echo/broken'));
  });

  test('refusals, failures and requests without a route have spans that say so', async () => {
    const headers = { traceparent };
    using down = new Http1Client(portcullis.port(), 'down.example.com');
    using nowhere = new Http1Client(portcullis.port(), 'nowhere.example.com');
    await client.ask({ method: 'DELETE', path: '/refused', headers });
    await client.ask({ method: 'PURGE', path: '/invented', headers });
    await down.ask({ path: '/failed', headers });
    await nowhere.ask({ path: '/lost', headers });
    const told = [];
    for (const path of ['/refused', '/invented', '/failed', '/lost']) {
      const span = await collector.span(path);
      const attributes = attributesOf(span);
      const { 'portcullis.reason': reason, 'error.type': error } = attributes;
      told.push([
        span.name.split(' ')[0],
        attributes['http.response.status_code'],
        span.status.code,
        reason,
        error,
      ]);
    }
    assert.deepEqual(told, [
      ['DELETE', '405', undefined, 'method-refused', undefined],
      ['HTTP', '405', undefined, 'method-refused', undefined],
      ['GET', '502', 2, 'dial-refused', 'dial-refused'],
      ['GET', '404', undefined, 'no-route', undefined],
    ]);
  });

  test('a collector that refuses costs spans, which are counted, and no request', async () => {
    collector.status = 503;
    const { status } = await client.ask({ path: '/echo/unwanted', headers: { traceparent } });
    assert.equal(status, 200);
    await collector.span('/echo/unwanted');
    const { address } = (await portcullis.line(({ msg }) => msg === 'metrics HTTP listening')) as {
      address?: string;
    };
    let page = '';
    while (!/^portcullis_spans_dropped_total [1-9]/m.test(page)) {
      page = await (await fetch(`http://${address}/metrics`)).text();
    }
    collector.status = 200;
  });

  test('what waits is sent before the program ends', async () => {
    const own = await Portcullis.start(
      configOf(origin, `[tracing]\nendpoint = "${collector.endpoint}"\nsample_rate = 1\n`),
    );
    using last = new Http1Client(own.port(), 'a.example.com');
    await last.ask({ path: '/echo/last' });
    last[Symbol.dispose]();
    await own.stop();
    const span = collector.spans.find((each) => attributesOf(each)['url.path'] === '/echo/last');
    assert.equal(span?.parentSpanId, undefined);
    assert.ok(span !== undefined);
  });
});

test('without a collector a trace passes through as it is', { timeout: 60_000 }, async () => {
  await using origin = await HttpOrigin.start('http1');
  await using portcullis = await Portcullis.start(configOf(origin, ''));
  using client = new Http1Client(portcullis.port(), 'a.example.com');
  const headers = { traceparent: traceparent.toUpperCase(), tracestate: 'a=1' };
  const seen = seenIn(await client.ask({ headers: { ...headers, 'x-request-id': 'untraced' } }));
  assert.deepEqual(fieldOf(seen, 'traceparent'), [traceparent.toUpperCase()]);
  assert.deepEqual(fieldOf(seen, 'tracestate'), ['a=1']);
  assert.deepEqual(fieldOf(seenIn(await client.ask()), 'traceparent'), []);
  const line = await portcullis.line((each) => isRequestLine(each) && each.id === 'untraced');
  assert.equal(line['trace_id'], undefined);
});
