import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatIp, parseCidr, parseIp } from '../core/ip.ts';
import { getField } from '../codec/http-message.ts';
import { CidrTable } from '../model/cidr-table.ts';
import { ForwardingFilter, isLoop, realClient, type ForwardingFacts } from './forwarded.ts';
import type { FilterContext } from './filter.ts';
import { requestHead } from './testing/scripted-streams.ts';

const trusted = CidrTable.from(
  ['10.0.0.0/8', '2001:db8::/32'].map((text) => [parseCidr(text)!.cidr, true] as const),
);

function forward(
  fields: string[],
  facts: Partial<ForwardingFacts> = {},
  client = '203.0.113.9',
): ReturnType<typeof requestHead> {
  const clientIp = parseIp('203.0.113.9')!;
  const head = requestHead({ fields });
  const filter = new ForwardingFilter({
    clientIp,
    isTrusted: false,
    version: 'HTTP/1.1',
    pseudonym: 'portcullis-aa',
    sendsForwarded: false,
    ...facts,
  });
  const exchange = {
    id: 'id-1',
    client,
    clientIp: parseIp(client)!,
    listener: '',
    serverName: null,
    routeId: null,
    trace: null,
  };
  filter.onRequestHead({ exchange } as unknown as FilterContext, head);
  return head;
}

describe('ForwardingFilter', () => {
  test('tells the backend of a client that said nothing', () => {
    assert.deepEqual(forward(['accept', '*/*']).fields, [
      ...['accept', '*/*'],
      ...['x-forwarded-for', '203.0.113.9', 'x-forwarded-proto', 'https'],
      ...['x-forwarded-host', 'app.example.com', 'x-real-ip', '203.0.113.9'],
      ...['x-request-id', 'id-1', 'via', '1.1 portcullis-aa'],
    ]);
  });

  test('what a stranger says of itself is replaced, and does not reach the backend under another name', () => {
    const { fields } = forward([
      ...['x-forwarded-for', '127.0.0.1', 'x-forwarded-for', '10.0.0.1', 'x-real-ip', '127.0.0.1'],
      ...['x-forwarded-proto', 'http', 'x-forwarded-host', 'evil', 'x-forwarded-port', '1'],
      ...['forwarded', 'for=127.0.0.1', 'x-client-ip', '127.0.0.1', 'via', '1.0 fred'],
    ]);
    assert.doesNotMatch(fields.join('\n'), /127\.0\.0\.1|evil|x-forwarded-port|x-client-ip/);
    assert.equal(getField(fields, 'x-forwarded-for'), '203.0.113.9');
    assert.equal(fields.filter((name) => name === 'x-forwarded-for').length, 1);
    assert.equal(getField(fields, 'via'), '1.0 fred, 1.1 portcullis-aa');
  });

  test('what a trusted proxy says stays, and our hop is added', () => {
    const { fields } = forward(
      ['x-forwarded-for', '198.51.100.7', 'x-forwarded-proto', 'http', 'x-forwarded-host', 'outer'],
      { isTrusted: true, version: 'HTTP/2' },
      '198.51.100.7',
    );
    assert.equal(getField(fields, 'x-forwarded-for'), '198.51.100.7, 203.0.113.9');
    assert.equal(getField(fields, 'x-forwarded-proto'), 'http');
    assert.equal(getField(fields, 'x-forwarded-host'), 'outer');
    assert.equal(getField(fields, 'x-real-ip'), '198.51.100.7');
    assert.equal(getField(fields, 'via'), '2.0 portcullis-aa');
  });

  test('Forwarded quotes what is no token', () => {
    const facts = { sendsForwarded: true, clientIp: parseIp('2001:db8::9')! };
    assert.equal(
      getField(forward([], facts).fields, 'forwarded'),
      'for="[2001:db8::9]";host=app.example.com;proto=https',
    );
    const head = requestHead({ authority: 'app.example.com:8443' });
    const filter = new ForwardingFilter({
      ...facts,
      isTrusted: false,
      version: 'HTTP/1.1',
      pseudonym: 'p',
      clientIp: parseIp('192.0.2.1')!,
    });
    const exchange = { id: 'i', client: '192.0.2.1', clientIp: parseIp('192.0.2.1')!, trace: null };
    filter.onRequestHead({ exchange } as unknown as FilterContext, head);
    assert.equal(getField(head.fields, 'forwarded'), 'for=192.0.2.1;host="app.example.com:8443";proto=https');
  });
});

describe('the real client', () => {
  const cases: [peer: string, chain: string | null, client: string][] = [
    ['203.0.113.9', '1.1.1.1', '203.0.113.9'],
    ['10.0.0.1', null, '10.0.0.1'],
    ['10.0.0.1', '1.1.1.1', '1.1.1.1'],
    ['10.0.0.1', '6.6.6.6, 1.1.1.1, 10.0.0.2', '1.1.1.1'],
    ['10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
    ['10.0.0.1', '1.1.1.1:8080', '1.1.1.1'],
    ['10.0.0.1', '[2001:db9::1]:80', '2001:db9::1'],
    ['10.0.0.1', '1.1.1.1, unknown', '10.0.0.1'],
    ['10.0.0.1', '1.1.1.1, ', '10.0.0.1'],
    ['10.0.0.1', '', '10.0.0.1'],
    ['2001:db8::1', '::ffff:9.9.9.9', '9.9.9.9'],
    ['10.0.0.1', `9.9.9.9${', 10.0.0.2'.repeat(100)}`, '10.0.0.2'],
  ];
  for (const [peer, chain, client] of cases) {
    test(`${peer} with ${chain === null ? 'nothing' : chain.slice(0, 40)} is ${client}`, () => {
      const fields = chain === null ? [] : ['x-forwarded-for', chain];
      assert.equal(formatIp(realClient(fields, parseIp(peer)!, trusted)), client);
    });
  }

  test('several fields are one chain', () => {
    const fields = ['x-forwarded-for', '6.6.6.6', 'x-forwarded-for', '1.1.1.1, 10.0.0.2'];
    assert.equal(formatIp(realClient(fields, parseIp('10.0.0.1')!, trusted)), '1.1.1.1');
  });
});

describe('loops', () => {
  test('our own Via twice is a loop, once is none, and others do not count', () => {
    const own = '1.1 portcullis-aa';
    assert.equal(isLoop([], 'portcullis-aa'), false);
    assert.equal(isLoop(['via', own], 'portcullis-aa'), false);
    assert.equal(isLoop(['via', `${own}, 1.1 portcullis-bb, 1.0 portcullis-aab`], 'portcullis-aa'), false);
    assert.equal(isLoop(['via', `${own}, 2.0 other (x)`, 'via', '2.0 portcullis-aa'], 'portcullis-aa'), true);
  });
});
