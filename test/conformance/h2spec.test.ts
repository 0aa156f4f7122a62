/** h2spec, the conformance suite of HTTP/2 and HPACK: every one of its cases must pass, the strict ones too. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Authority } from '../support/authority.ts';
import { HttpOrigin } from '../support/http-origin.ts';
import { answerAll, startHttp2Server } from '../support/http2-server.ts';
import { listener, route, tls } from '../support/layer7.ts';
import { Portcullis } from '../support/portcullis.ts';
import { lacks, run } from '../support/tools.ts';

const cached = join(import.meta.dirname, '../../node_modules/.cache/conformance/h2spec');
const command = existsSync(cached) ? cached : 'h2spec';
const skip =
  command === cached || lacks('h2spec') === false
    ? false
    : 'h2spec is missing: scripts/conformance installs it where Go is present';

for (const section of ['generic', 'hpack', 'http2']) {
  test(`h2spec ${section} passes over plain TCP`, { skip }, async () => {
    await using server = await startHttp2Server(answerAll);
    const { stdout } = await run(command, ['--strict', '-p', String(server.port), section]);
    assert.match(stdout, /\d+ tests, \d+ passed, 0 skipped, 0 failed/, stdout);
    assert.deepEqual(server.faults, []);
  });
}

/** The program itself, in front of backends of both versions. `/echo` answers when the request is complete. */
for (const [sockets, backend] of [
  ['fast', 'http1'],
  ['public', 'h2c'],
] as const) {
  test(`h2spec passes over TLS and h2c through the proxy, on ${sockets} sockets`, { skip }, async () => {
    await using origin = await HttpOrigin.start(backend);
    const identity = new Authority('h2spec').issue();
    const spoken = `backend_protocol = "${backend}"`;
    const config = listener(
      ['addr = "127.0.0.1:0"', 'protocol = "auto"'],
      [route('localhost', origin.port, tls(identity), spoken)],
    );
    await using portcullis = await Portcullis.start(config, { sockets, server: { workers: 1 } });
    const where = ['--strict', '-h', 'localhost', '-p', String(portcullis.port()), '-P', '/echo'];
    for (const transport of [[], ['-t', '-k']]) {
      const { stdout } = await run(command, [...where, ...transport]);
      assert.match(
        stdout,
        /\d+ tests, \d+ passed, 0 skipped, 0 failed/,
        stdout.split('Failures:')[1] ?? stdout,
      );
    }
    assert.ok(!portcullis.lines.some(({ level }) => level === 'error'));
  });
}
