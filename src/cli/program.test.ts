import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Command } from 'commander';
import { factsOf, leafCommands, pathOf, wrapExample } from './command.ts';
import { buildProgram } from './program.ts';
import { Shell } from './shell.ts';
import { completionScript } from './completion.ts';

const root = buildProgram(new Shell({ write: () => true }, { write: () => true }, {}));

test('every command that does something was declared with an example that calls it', () => {
  const commands = [...leafCommands(root)];
  const undeclared = all(root).filter((each) => each.commands.length === 0 && factsOf(each) === undefined);
  assert.deepEqual(undeclared.map(pathOf), []);
  for (const command of commands) {
    for (const example of factsOf(command)!.examples) {
      assert.ok(example.includes(`portcullis ${pathOf(command)}`), example);
    }
  }
});

test('every command has --json, but for those whose output is for one reader', () => {
  const without = [...leafCommands(root)].filter(({ options }) =>
    options.every(({ long }) => long !== '--json'),
  );
  assert.deepEqual(without.map(pathOf), ['serve', 'upgrade', 'config export', 'learn', 'completion']);
});

test('a long example is broken before a flag, and is the same line to a shell', () => {
  const line =
    'portcullis routes add api.example.com --listener :443 --backend 10.0.0.5:8443 -c portcullis.toml';
  const wrapped = wrapExample(line);
  assert.ok(wrapped.split('\n').every((each) => each.length <= 78));
  assert.equal(wrapped.replaceAll(/ \\\n +/g, ' '), line);
});

for (const name of ['bash', 'zsh', 'fish'] as const) {
  test(`the completion script of ${name} knows every command and flag`, () => {
    const script = completionScript(name, root);
    for (const command of [...leafCommands(root)]) {
      assert.ok(script.includes(`'${pathOf(command)}'`), pathOf(command));
      for (const { long } of command.options) assert.ok(script.includes(long!.slice(2)), long!);
    }
  });
}

function all(command: Command): Command[] {
  return [command, ...command.commands.flatMap(all)];
}
