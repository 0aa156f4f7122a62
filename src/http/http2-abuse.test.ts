/** Every known way to make an HTTP/2 server work for nothing, by name. Each ends with ENHANCE_YOUR_CALM and its kind. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { abuseFacts, abuseKinds, type AbuseKind } from '../codec/http2/abuse.ts';
import { errorCodes, flags, frameTypes } from '../codec/http2/protocol.ts';
import * as wire from '../codec/http2/testing/frames.ts';
import { bytesOf, Http2Peer } from './testing/http2-peer.ts';

const proven = new Set<AbuseKind>();

function assertCalmed(peer: Http2Peer, kind: AbuseKind): void {
  proven.add(kind);
  const last = peer.frames().at(-1);
  assert.match(last ?? '', new RegExp(`^GOAWAY \\d+ ${errorCodes.enhanceYourCalm}$`));
  peer.wait(1500);
  assert.equal(peer.closed, `http2-abuse: ${kind}`);
  assert.deepEqual(peer.faults, []);
  assert.equal(peer.session.streamCount, 0);
}

/** Sends `piece` until the session has enough of it, and answers how often; never more than `most`. */
function flood(peer: Http2Peer, most: number, piece: (index: number) => string): number {
  for (let index = 0; index < most; index++) {
    peer.send(piece(index));
    if (peer.session.streamCount === 0 && peer.refusesMore) return index + 1;
  }
  return most;
}

describe('a connection that', () => {
  it('opens streams and resets them at once (rapid reset, CVE-2023-44487)', () => {
    const peer = new Http2Peer().open();
    const rounds = flood(peer, 2000, (index) => {
      const id = index * 2 + 1;
      return wire.headers(id, wire.request()) + wire.resetStream(id, errorCodes.cancel);
    });
    assert.equal(rounds, abuseFacts['rapid-reset'].burst + 1);
    assert.equal(peer.requests.at(-1)?.failure?.reason, 'client-cancelled');
    assertCalmed(peer, 'rapid-reset');
  });

  it('makes us reset its streams by faults of its own (made you reset, CVE-2025-8671)', () => {
    const faults = [
      (id: number) => wire.windowUpdate(id, 0),
      (id: number) => wire.windowUpdate(id, 0x7fffffff),
      (id: number) => wire.data(id, 'after the end'),
      (id: number) => wire.frame(frameTypes.priority, 0, id, '1234'),
      (id: number) => wire.headers(id, wire.literals('a', 'b')),
    ];
    for (const fault of faults) {
      const peer = new Http2Peer().open();
      const rounds = flood(peer, 500, (index) => {
        const id = index * 2 + 1;
        return wire.headers(id, wire.request()) + fault(id);
      });
      assert.equal(rounds, abuseFacts['made-you-reset'].burst + 1);
      assertCalmed(peer, 'made-you-reset');
    }
  });

  it('never ends a header block (CONTINUATION flood, CVE-2024-27316)', () => {
    const peer = new Http2Peer().open();
    peer.send(wire.frame(frameTypes.headers, 0, 1, wire.request()));
    const rounds = flood(peer, 100, () =>
      wire.frame(frameTypes.continuation, 0, 1, wire.literals('a', 'x'.repeat(8000))),
    );
    assert.ok(rounds <= 9, `stopped at head_bytes_max: ${rounds}`);
    assert.equal(peer.requests.length, 0);
    assertCalmed(peer, 'continuation-flood');
  });

  it('cuts a header block into crumbs', () => {
    const peer = new Http2Peer().open();
    peer.send(wire.frame(frameTypes.headers, 0, 1, wire.request()));
    const rounds = flood(peer, 100, () => wire.frame(frameTypes.continuation, 0, 1, 'x'));
    assert.equal(rounds, 17);
    assertCalmed(peer, 'continuation-flood');
  });

  it('sends SETTINGS without end (CVE-2019-9515)', () => {
    const peer = new Http2Peer().open();
    const rounds = flood(peer, 500, () => wire.emptySettings);
    assert.equal(rounds, abuseFacts['settings-flood'].burst);
    assertCalmed(peer, 'settings-flood');
  });

  it('acknowledges SETTINGS that nobody sent', () => {
    const peer = new Http2Peer().open();
    flood(peer, 500, () => wire.settingsAck);
    assertCalmed(peer, 'settings-flood');
  });

  it('sends PINGs without end (CVE-2019-9512)', () => {
    const peer = new Http2Peer().open();
    const rounds = flood(peer, 2000, () => wire.frame(frameTypes.ping, 0, 0, '12345678'));
    assert.equal(rounds, abuseFacts['ping-flood'].burst + 1);
    assertCalmed(peer, 'ping-flood');
  });

  it('names a long field again and again (HPACK bomb, CVE-2016-6581)', () => {
    const peer = new Http2Peer().open();
    const long = `\x40\x01a\x7f\x81\x0e${'x'.repeat(1920)}`;
    const rounds = flood(peer, 100, (index) =>
      wire.headers(index * 2 + 1, wire.request() + (index === 0 ? long : '') + '\xbe'.repeat(2000)),
    );
    assert.equal(rounds, abuseFacts['hpack-bomb'].burst + 1);
    assert.equal(peer.requests.length, 0);
    assert.equal(peer.refused[0], 'head-oversized 431');
    assertCalmed(peer, 'hpack-bomb');
  });

  it('asks for responses and lets nothing out (zero window, CVE-2019-9517)', () => {
    const settings = wire.settings([4, 0]);
    const peer = new Http2Peer({ bodyIdleTimeoutMs: 2000 }).open(settings);
    const count = abuseFacts['zero-window-stall'].burst + 2;
    for (let index = 0; index < count; index++) peer.send(wire.headers(index * 2 + 1, wire.request()));
    for (const { stream } of peer.requests) {
      stream.sendHead({ status: 200, fields: [] }, false);
      assert.equal(stream.sendData(bytesOf('body'), true), false);
    }
    peer.wait(1500);
    assert.equal(peer.requests[0]!.failure, null);
    peer.wait(2000);
    assert.deepEqual(peer.requests[0]!.failure, {
      reason: 'body-stalled',
      detail: 'zero window',
      isUnprocessed: false,
    });
    assertCalmed(peer, 'zero-window-stall');
  });

  it('sends DATA that carry nothing (CVE-2019-9518)', () => {
    const peer = new Http2Peer().open().send(wire.headers(1, wire.request('POST'), false));
    const rounds = flood(peer, 500, () => wire.data(1, ''));
    assert.equal(rounds, abuseFacts['empty-frames'].burst + 1);
    assertCalmed(peer, 'empty-frames');
  });

  it('sends DATA that are all padding', () => {
    const peer = new Http2Peer().open().send(wire.headers(1, wire.request('POST'), false));
    flood(peer, 500, () => wire.frame(frameTypes.data, flags.padded, 1, `\x05${'\0'.repeat(5)}`));
    assertCalmed(peer, 'empty-frames');
  });

  it('opens the window by one byte, again and again', () => {
    const peer = new Http2Peer().open();
    const rounds = flood(peer, 3000, () => wire.windowUpdate(0, 1));
    assert.equal(rounds, abuseFacts['window-update-flood'].burst + 1);
    assertCalmed(peer, 'window-update-flood');
  });

  it('lets out a byte at a time (data dribble, CVE-2019-9511)', () => {
    const peer = new Http2Peer().open(wire.settings([4, 0])).send(wire.headers(1, wire.request()));
    peer.requests[0]!.stream.sendHead({ status: 200, fields: [] }, false);
    peer.requests[0]!.stream.sendData(bytesOf('x'.repeat(10_000)), false);
    flood(peer, 3000, () => wire.windowUpdate(1, 1));
    assertCalmed(peer, 'window-update-flood');
  });

  it('rearranges priorities for ever (CVE-2019-9513)', () => {
    const peer = new Http2Peer().open();
    const rounds = flood(peer, 2000, () => wire.frame(frameTypes.priority, 0, 1, '\0\0\0\0\x10'));
    assert.equal(rounds, abuseFacts['priority-flood'].burst + 1);
    assertCalmed(peer, 'priority-flood');
  });

  it('sends frames of types nobody knows', () => {
    const peer = new Http2Peer().open();
    flood(peer, 2000, () => wire.frame(0xbb, 0, 0, 'grease'));
    assertCalmed(peer, 'priority-flood');
  });

  it('resets what has ended, again and again (CVE-2019-9514)', () => {
    const peer = new Http2Peer().open().send(wire.headers(1, wire.request()));
    peer.requests[0]!.stream.sendHead({ status: 200, fields: [] }, true);
    const rounds = flood(peer, 1000, () => wire.resetStream(1, errorCodes.cancel));
    assert.equal(rounds, abuseFacts['reset-flood'].burst + 1);
    assertCalmed(peer, 'reset-flood');
  });
});

describe('an honest connection', () => {
  it('may ping and update windows as long as data flow', () => {
    const peer = new Http2Peer().open().send(wire.headers(1, wire.request('POST'), false));
    const { stream } = peer.requests[0]!;
    stream.sendHead({ status: 200, fields: [] }, false);
    for (let index = 0; index < 3000; index++) {
      stream.sendData(bytesOf('x'.repeat(1000)), false);
      peer.send(
        wire.windowUpdate(0, 1000) +
          wire.windowUpdate(1, 1000) +
          wire.data(1, 'up') +
          wire.frame(frameTypes.ping, 0, 0, '12345678'),
      );
    }
    assert.equal(peer.refusesMore, false);
    assert.equal(peer.requests[0]!.body.length, 6000);
  });

  it('may cancel as many requests as it lets finish, as busy gRPC clients with deadlines do', () => {
    const peer = new Http2Peer().open();
    for (let index = 0; index < 2000; index++) {
      const id = index * 2 + 1;
      peer.send(wire.headers(id, wire.request()));
      if (index % 2 === 0) peer.send(wire.resetStream(id, errorCodes.cancel));
      else peer.requests.at(-1)!.stream.sendHead({ status: 200, fields: [] }, true);
    }
    assert.equal(peer.settle().refusesMore, false);
  });

  it('gets its tokens back with time', () => {
    const peer = new Http2Peer({ keepAliveTimeoutMs: 1_000_000 }).open();
    for (let round = 0; round < 10; round++) {
      for (let index = 0; index < 40; index++) peer.send(wire.emptySettings);
      peer.wait(8000);
    }
    assert.equal(peer.refusesMore, false);
  });
});

it('each kind has a test above that names it', () => {
  assert.deepEqual([...proven].toSorted(), abuseKinds.toSorted());
});
