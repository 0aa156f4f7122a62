import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { exitCodes } from './exit-codes.ts';
import { buildProgram } from './program.ts';
import { Shell, type Output } from './shell.ts';
import { validateCommand } from './validate.ts';

const directory = mkdtempSync(join(tmpdir(), 'portcullis-validate-'));
after(() => rmSync(directory, { recursive: true }));

const good = `
[firewall]
blocked_ips = ["192.0.2.1", "192.0.2.2"]
blocked_cidrs = ["198.51.100.0/24"]
[[listeners]]
addr = ":443"
routes = [{ hostname = "a.example", backend = "10.0.0.1:443" }]
`;

function validate(text: string, { json = false, isTTY = false, env = {} } = {}) {
  const config = join(directory, 'x.toml');
  writeFileSync(config, text);
  const written = { stdout: '', stderr: '' };
  const output = (name: 'stdout' | 'stderr'): Output => ({
    isTTY,
    write: (part) => (written[name] += part.replaceAll(`${directory}/`, '')),
  });
  const code = validateCommand({ config, json, env, stdout: output('stdout'), stderr: output('stderr') });
  return { code, ...written };
}

test('a good file is ok, with what it holds', () => {
  assert.deepEqual(validate(good), {
    code: exitCodes.ok,
    stdout: 'x.toml: ok (1 listener, 1 route, 3 firewall rules)\n',
    stderr: '',
  });
});

test('warnings are printed and do not fail', () => {
  const { code, stdout, stderr } = validate(good.replace('192.0.2.2', '192.0.2.1'));
  assert.equal(code, exitCodes.ok);
  assert.match(stdout, /^x\.toml: ok /);
  assert.match(stderr, /^warning x\.toml:3:29 firewall\.blocked_ips\[1\]: [^\n]+\n$/);
});

test('errors go to standard error, with their number, and the exit code says configuration', () => {
  const { code, stdout, stderr } = validate(good.replace('addr', 'adr').replace('192.0.2.2', '192.0.2.1'));
  assert.equal(code, exitCodes.configuration);
  assert.equal(stdout, '');
  assert.match(stderr, /\nx\.toml: 2 errors, 1 warning\n$/);
});

test('JSON is an array of problems on standard output, empty for a good file', () => {
  assert.deepEqual(validate(good, { json: true }), { code: exitCodes.ok, stdout: '[]\n', stderr: '' });
  const { code, stdout, stderr } = validate(good.replace('192.0.2.2', '192.0.2'), { json: true });
  assert.equal(code, exitCodes.configuration);
  assert.equal(stderr, '');
  assert.deepEqual(JSON.parse(stdout), [
    {
      severity: 'error',
      code: 'value-invalid',
      file: 'x.toml',
      variable: null,
      line: 3,
      column: 29,
      path: 'firewall.blocked_ips[1]',
      expected: 'an IP address such as "192.0.2.1" or "2001:db8::1"',
      found: '"192.0.2"',
      suggestion: null,
      message: 'expected an IP address such as "192.0.2.1" or "2001:db8::1", found "192.0.2"',
    },
  ]);
});

test('colour is for terminals only, and NO_COLOR turns it off', () => {
  const bad = good.replace('addr', 'adr');
  assert.match(validate(bad, { isTTY: true }).stderr, /^\x1b\[1;31merror\x1b\[0m /);
  assert.match(validate(bad).stderr, /^error /);
  assert.match(validate(bad, { isTTY: true, env: { NO_COLOR: '1' } }).stderr, /^error /);
});

test('the YAML form of egress is found by CONFIG_PATH, with what it holds', async () => {
  const path = join(directory, 'egress.yaml');
  writeFileSync(path, 'proxy:\n  default_policy: BLOCK\nacl:\n  whitelist: ["github.com"]\n');
  const written = { stdout: '', stderr: '' };
  const output = (name: 'stdout' | 'stderr'): Output => ({
    isTTY: false,
    write: (part) => (written[name] += part.replaceAll(`${directory}/`, '')),
  });
  const shell = new Shell(output('stdout'), output('stderr'), { CONFIG_PATH: path });
  await buildProgram(shell).parseAsync(['validate'], { from: 'user' });
  assert.deepEqual(written, {
    stdout: 'egress.yaml: ok (1 listener, 0 routes, 0 firewall rules, 1 egress rule)\n',
    stderr: '',
  });
});
