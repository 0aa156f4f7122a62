import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isReason, reasons } from '../core/reason.ts';
import { getField } from '../codec/http-message.ts';
import { errorAnswer, renderAnswer, statusOf } from './error-answer.ts';
import { requestHead } from './testing/scripted-streams.ts';

const pseudonym = 'portcullis-aa';

describe('answers of our own', () => {
  test('every reason has a status and a Proxy-Status that names it', () => {
    for (const reason of Object.keys(reasons)) {
      assert.ok(isReason(reason));
      const { head } = renderAnswer(errorAnswer(reason), requestHead(), false, pseudonym);
      assert.ok(head.status >= 400 && head.status <= 599);
      assert.match(
        getField(head.fields, 'proxy-status')!,
        new RegExp(`^portcullis-aa.*; details="${reason}"$`),
      );
    }
    assert.equal(statusOf('upstream-limit'), 503);
    assert.equal(statusOf('loop-detected'), 508);
    assert.equal(statusOf('misdirected'), 421);
  });

  test('reasons whose meaning names a status answer with it', () => {
    for (const [reason, { meaning }] of Object.entries(reasons)) {
      const named = /\((\d{3})\)/.exec(meaning)?.[1];
      if (named !== undefined && isReason(reason)) assert.equal(statusOf(reason), Number(named), reason);
    }
  });

  test('the body fits what the client accepts, and its length is told', () => {
    const cases: [accept: string | null, type: RegExp, body: RegExp][] = [
      [null, /text\/plain/, /^502 Bad Gateway\nupstream-reset\n$/],
      ['text/html,application/json', /text\/html/, /<h1>502 Bad Gateway<\/h1>/],
      ['application/problem+json', /application\/json/, /"reason":"upstream-reset"/],
      ['*/*', /text\/plain/, /./],
    ];
    for (const [accept, type, body] of cases) {
      const request = requestHead({ fields: accept === null ? [] : ['accept', accept] });
      const answer = renderAnswer(errorAnswer('upstream-reset'), request, false, pseudonym);
      assert.match(getField(answer.head.fields, 'content-type')!, type);
      assert.match(answer.body!, body);
      assert.equal(Number(getField(answer.head.fields, 'content-length')), answer.body!.length);
    }
  });

  test('HEAD gets the head alone, with the length the body would have', () => {
    const answer = renderAnswer(errorAnswer('no-route'), requestHead({ method: 'HEAD' }), false, pseudonym);
    assert.equal(answer.body, null);
    assert.ok(Number(getField(answer.head.fields, 'content-length')) > 0);
  });

  test('nothing of the request is said back', () => {
    const evil = '<script>alert(1)</script>';
    const request = requestHead({
      path: `/${evil}`,
      authority: evil,
      fields: ['accept', 'text/html', 'user-agent', evil],
    });
    const answer = renderAnswer(errorAnswer('no-route'), request, false, pseudonym);
    assert.doesNotMatch(answer.body! + answer.head.fields.join(), /script/);
  });

  test('a gRPC client gets its status in a response of trailers only', () => {
    const cases = [
      ['upstream-timeout', '4'],
      ['dial-refused', '14'],
      ['header-missing', '7'],
      ['request-rate-limited', '8'],
      ['internal-error', '13'],
      ['no-route', '12'],
    ] as const;
    for (const [reason, code] of cases) {
      const { head, body } = renderAnswer(errorAnswer(reason), requestHead(), true, pseudonym);
      assert.equal(head.status, 200);
      assert.equal(body, null);
      assert.equal(getField(head.fields, 'grpc-status'), code);
      assert.match(getField(head.fields, 'grpc-message')!, /^[ -~]+$/);
      assert.equal(getField(head.fields, 'content-length'), undefined);
    }
  });

  test('a redirect keeps its location and says little', () => {
    const answer = renderAnswer(
      { status: 308, reason: 'redirected', ruleId: null, fields: ['location', 'https://a/'], body: '' },
      requestHead(),
      false,
      pseudonym,
    );
    assert.equal(getField(answer.head.fields, 'location'), 'https://a/');
    assert.equal(answer.body, null);
    assert.equal(getField(answer.head.fields, 'content-length'), '0');
  });
});
