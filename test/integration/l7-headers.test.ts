/** What a backend is told beside the request, what it never sees, and what rules and policies make of a request. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { Http1Client, Http2Client, fieldOf, raw, seenIn, type Ask } from '../support/http-client.ts';
import { HttpOrigin } from '../support/http-origin.ts';
import { isRequestLine, listener, route, type RequestLine } from '../support/layer7.ts';
import type { Portcullis } from '../support/portcullis.ts';
import { Suite } from '../support/suite.ts';

const host = 'app.example.com';

describe('fields', () => {
  const suite = new Suite();
  let portcullis: Portcullis;

  before(async () => {
    const origin = suite.use(await HttpOrigin.start('http1'));
    const plain = 'backend_protocol = "http1"';
    const routes = [
      route(host, origin.port, plain),
      route(
        'rules.example.com',
        origin.port,
        plain,
        'forwarded = true',
        'request_headers = { remove = ["x-drop"], set = { x-team = "a" }, add = { x-list = "2" } }',
        'response_headers = { remove = ["x-secret"], set = { x-frame-options = "DENY" }, add = { vary = "origin" } }',
      ),
      route(
        'policies.example.com',
        origin.port,
        plain,
        `policies = [
          { type = "block_user_agent", value = "BadBot" },
          { type = "require_header", value = "x-api-key" },
          { type = "allow_methods", value = "GET,POST" },
          { type = "max_body", value = "1KiB" },
          { type = "rate_limit", value = "3/1m by x-api-key" },
        ]`,
      ),
    ];
    const trusting = listener(
      ['addr = "127.0.0.2:0"', 'protocol = "http"', 'trusted_proxies = ["127.0.0.0/8"]'],
      [route(host, origin.port, plain)],
    );
    const config = listener(['addr = "127.0.0.1:0"', 'protocol = "http"'], routes) + trusting;
    portcullis = await suite.portcullis(config, {});
  });

  /** What the backend saw, over HTTP/1.1 and over HTTP/2. */
  async function seenBoth(name: string, ask: Ask) {
    using client1 = new Http1Client(portcullis.port(), name);
    using client2 = await Http2Client.connect(portcullis.port(), name);
    return [seenIn(await client1.ask(ask)), seenIn(await client2.ask(ask))] as const;
  }

  test('the backend is told client, scheme, host and id', async () => {
    for (const seen of await seenBoth(host, {})) {
      assert.deepEqual(fieldOf(seen, 'host'), [host]);
      assert.deepEqual(fieldOf(seen, 'x-forwarded-for'), ['127.0.0.1']);
      assert.deepEqual(fieldOf(seen, 'x-forwarded-proto'), ['http']);
      assert.deepEqual(fieldOf(seen, 'x-forwarded-host'), [host]);
      assert.deepEqual(fieldOf(seen, 'x-real-ip'), ['127.0.0.1']);
      assert.equal(fieldOf(seen, 'x-request-id').length, 1);
      assert.match(fieldOf(seen, 'via')[0]!, /^[12](\.[01])? \S+$/);
      assert.deepEqual(fieldOf(seen, 'forwarded'), []);
    }
  });

  test('claims of a stranger are replaced, those of a trusted proxy added to', async () => {
    const headers = {
      'x-forwarded-for': '203.0.113.7',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'evil.example',
      'x-real-ip': '203.0.113.7',
    };
    for (const seen of await seenBoth(host, { headers })) {
      assert.deepEqual(fieldOf(seen, 'x-forwarded-for'), ['127.0.0.1']);
      assert.deepEqual(fieldOf(seen, 'x-forwarded-proto'), ['http']);
      assert.deepEqual(fieldOf(seen, 'x-forwarded-host'), [host]);
      assert.deepEqual(fieldOf(seen, 'x-real-ip'), ['127.0.0.1']);
    }
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const request = `GET /echo HTTP/1.1\r\nHost: ${host}\r\n${lines.join('')}Connection: close\r\n\r\n`;
    const answer = await raw(portcullis.port('127.0.0.2:0'), request, '127.0.0.2');
    const seen = JSON.parse(answer.slice(answer.indexOf('{'), answer.lastIndexOf('}') + 1)) as {
      fields: [string, string][];
    };
    const fields = new Map(seen.fields);
    assert.match(fields.get('x-forwarded-for')!, /^203\.0\.113\.7, ?127\.0\.0\.\d$/);
    assert.equal(fields.get('x-forwarded-proto'), 'https');
    assert.equal(fields.get('x-real-ip'), '203.0.113.7');
  });

  test('a sane request id is kept and logged, another is made', async () => {
    const [kept] = await seenBoth(host, { headers: { 'x-request-id': 'abc-123' }, path: '/echo/kept' });
    assert.deepEqual(fieldOf(kept, 'x-request-id'), ['abc-123']);
    const line = await portcullis.line<RequestLine>(
      (each) => isRequestLine(each) && each.path === '/echo/kept',
    );
    assert.equal(line.id, 'abc-123');
    const [made] = await seenBoth(host, { headers: { 'x-request-id': '<script>'.repeat(40) } });
    assert.doesNotMatch(fieldOf(made, 'x-request-id').join(), /script/);
  });

  test('hop-by-hop fields and what Connection names end at the proxy', async () => {
    using client = new Http1Client(portcullis.port(), host);
    const headers = {
      connection: 'keep-alive, x-private',
      'x-private': '1',
      'keep-alive': 'timeout=5',
      'proxy-connection': 'keep-alive',
      te: 'gzip',
      'x-public': '2',
    };
    const seen = seenIn(await client.ask({ headers }));
    for (const name of ['x-private', 'proxy-connection', 'keep-alive'])
      assert.deepEqual(fieldOf(seen, name), [], name);
    assert.deepEqual(fieldOf(seen, 'x-public'), ['2']);
    assert.doesNotMatch(fieldOf(seen, 'te').join(), /gzip/);
  });

  test('header rules: remove, set, add, on requests and on responses', async () => {
    const headers = {
      'x-drop': '1',
      'x-team': 'b',
      'x-list': '1',
      'x-echo-x-secret': 's',
      'x-echo-vary': 'accept',
    };
    for (const seen of await seenBoth('rules.example.com', { headers })) {
      assert.deepEqual(fieldOf(seen, 'x-drop'), []);
      assert.deepEqual(fieldOf(seen, 'x-team'), ['a']);
      assert.equal(fieldOf(seen, 'x-list').join(', '), '1, 2');
      assert.match(fieldOf(seen, 'forwarded')[0]!, /for="?127\.0\.0\.1"?/);
      assert.match(fieldOf(seen, 'forwarded')[0]!, /proto=http/);
    }
    using client = await Http2Client.connect(portcullis.port(), 'rules.example.com');
    const answer = await client.ask({ path: '/fields', headers });
    assert.equal(answer.headers['x-secret'], undefined);
    assert.equal(answer.headers['x-frame-options'], 'DENY');
    assert.equal(answer.headers['vary'], 'accept, origin');
  });

  test('policies answer in order, each with its rule in the log', async () => {
    using client = new Http1Client(portcullis.port(), 'policies.example.com');
    const key = { 'x-api-key': 'k' };
    const cases: readonly [Ask, number, string][] = [
      [{ headers: { 'user-agent': 'x BadBot/1' } }, 403, 'user-agent-blocked'],
      [{ headers: {} }, 403, 'header-missing'],
      [{ method: 'DELETE', headers: key }, 405, 'method-refused'],
      [{ method: 'POST', headers: key, body: 'x'.repeat(1025) }, 413, 'body-oversized'],
      [{ headers: { 'x-api-key': 'other' } }, 200, 'answered'],
    ];
    for (const [i, [ask, status, reason]] of cases.entries()) {
      const path = `/echo/policy-${i}`;
      const answer = await client.ask({ ...ask, path });
      assert.equal(answer.status, status, path);
      const line = await portcullis.line<RequestLine>((each) => isRequestLine(each) && each.path === path);
      assert.equal(line.reason, reason);
      if (status !== 200) assert.equal(typeof line.rule, 'string');
    }
  });

  test('a rate limit answers 429 and says when to come again', async () => {
    using client = await Http2Client.connect(portcullis.port(), 'policies.example.com');
    const statuses: number[] = [];
    for (let i = 0; i < 4; i++) {
      const answer = await client.ask({ headers: { 'x-api-key': 'busy' } });
      statuses.push(answer.status);
      if (answer.status === 429) assert.match(String(answer.headers['retry-after']), /^\d+$/);
    }
    assert.deepEqual(statuses, [200, 200, 200, 429]);
  });

  test('a request that has come through this server before is 508', async () => {
    using client = new Http1Client(portcullis.port(), host);
    const [via] = fieldOf(seenIn(await client.ask()), 'via');
    const answer = await client.ask({ headers: { via: `${via}, ${via}` }, path: '/echo/loop' });
    assert.equal(answer.status, 508);
    const line = await portcullis.line<RequestLine>(
      (each) => isRequestLine(each) && each.path === '/echo/loop',
    );
    assert.equal(line.reason, 'loop-detected');
  });
});
