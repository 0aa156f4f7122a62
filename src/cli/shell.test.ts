import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Shell } from './shell.ts';

function shellOn({ isTTY = false, columns = 40, env = {} } = {}) {
  const written = { stdout: '', stderr: '' };
  const output = (name: 'stdout' | 'stderr') => ({
    isTTY,
    columns,
    write: (text: string) => (written[name] += text),
  });
  return { shell: new Shell(output('stdout'), output('stderr'), env), written };
}

const hostile = 'evil\x1b[2J\u202e\u0007';

test('what a peer wrote never moves a cursor, on whatever way it is shown', () => {
  const { shell, written } = shellOn({ isTTY: true, env: { NO_COLOR: '1' } });
  shell.line(hostile);
  shell.lines([hostile]);
  shell.note(hostile);
  shell.warning(hostile);
  shell.error(hostile);
  shell.table([{ title: 'VALUE' }], [[hostile]], '');
  shell.json([hostile]);
  shell.jsonLine([hostile]);
  assert.doesNotMatch(written.stdout + written.stderr, /[\x00-\x09\x0b-\x1f\x7f\u202e]/);
});

test('JSON parses to what was given, indented or on one line', () => {
  const { shell, written } = shellOn();
  shell.json({ text: hostile, list: [1, '\n'] });
  assert.deepEqual(JSON.parse(written.stdout), { text: hostile, list: [1, '\n'] });
  assert.equal(written.stdout.split('\n').length, 8);
  written.stdout = '';
  shell.jsonLine([hostile]);
  assert.deepEqual([JSON.parse(written.stdout), written.stdout.split('\n').length], [[hostile], 2]);
});

test('colour and cutting are for terminals', () => {
  const rows = [['a.long.hostname.example.com', '10.0.0.5:8443']];
  const print = (options: object): string => {
    const { shell, written } = shellOn({ columns: 30, ...options });
    shell.table([{ title: 'NAME' }, { title: 'BACKEND' }], rows, '');
    shell.error('no');
    return written.stdout + written.stderr;
  };
  assert.match(
    print({ isTTY: true }),
    /^\x1b\[1mNAME .*\x1b\[0m\na\.long\.host.*….*\n\x1b\[1;31mportcullis\x1b\[0m: no\n$/,
  );
  assert.match(
    print({ isTTY: true, env: { NO_COLOR: '1' } }),
    /^NAME .*\na\.long\.host.*….*\nportcullis: no\n$/,
  );
  assert.match(print({}), /^NAME .*\na\.long\.hostname\.example\.com {2}10\.0\.0\.5:8443\nportcullis: no\n$/);
});

test('an empty table is a sentence for people, and nothing for programs', () => {
  const { shell, written } = shellOn();
  shell.table([{ title: 'NAME' }], [], 'no routes');
  assert.deepEqual(written, { stdout: '', stderr: 'no routes\n' });
});
