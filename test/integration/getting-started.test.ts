/** The pages that somebody reads first, block by block, in an empty directory. */
import assert from 'node:assert/strict';
import { lookup } from 'node:dns/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertPrinted, readDocument } from '../support/document.ts';
import { Installation } from '../support/installation.ts';
import { lacks } from '../support/tools.ts';

const docs = join(import.meta.dirname, '../../docs');
const ready = /serving on|"msg":"ready"/;
/** Nobody else's, so that the ports of the page need not be free ones. */
const host = `127.${20 + (process.pid % 200)}.${(process.pid >> 8) % 256}.2`;

async function follow(name: string, machine: Installation, skips: readonly string[]): Promise<void> {
  for (const { code, marks, prints, line } of readDocument(join(docs, name)).commands) {
    const where = `docs/${name}:${line}`;
    if (marks.some((mark) => skips.includes(mark))) continue;
    if (marks.includes('background')) {
      await machine.leave(code, ready);
      continue;
    }
    const { code: status, output } = await machine.run(code);
    assert.equal(status, 0, `${where}\n${code}\n${output}`);
    if (prints !== null) assertPrinted(output, machine.translate(prints), where);
  }
}

async function freePort(): Promise<string> {
  const server = createServer().listen(0);
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return String(port);
}

async function hasInternet(): Promise<boolean> {
  return lookup('github.com').then(
    () => true,
    () => false,
  );
}

const missing = lacks('openssl') || lacks('curl') || lacks('node');

test('the page about ingress works as printed', { skip: missing, timeout: 60_000 }, async () => {
  await using machine = new Installation([
    [/(?:localhost)?:8443\b/g, `${host}:8443`],
    ['127.0.0.1:9901', `${host}:9901`],
    ['127.0.0.1:3000', `${host}:3000`],
    ['3000, "127.0.0.1"', `3000, "${host}"`],
  ]);
  await follow('getting-started-ingress.md', machine, ['install']);
});

test('the page about egress works as printed', { skip: missing, timeout: 60_000 }, async () => {
  await using machine = new Installation([
    ['127.0.0.1:3443', `${host}:3443`],
    ["target_ip: '127.0.0.1'", `target_ip: '${host}'`],
    [/\b8080\b/g, await freePort()],
    [/\b9090\b/g, await freePort()],
  ]);
  await follow('getting-started-egress.md', machine, (await hasInternet()) ? [] : ['network']);
});
