/** How commands are declared: none without a sentence on what it does and an example that works as printed. */

import { Command, Option } from 'commander';

export interface CommandFacts {
  readonly name: string;
  /** `<hostname>` must be there, `[hostname]` may; what it is; and how it is read, if not as text. */
  readonly arguments?: readonly (readonly [
    name: string,
    meaning: string,
    read?: (text: string) => unknown,
  ])[];
  readonly summary: string;
  /** What is worth knowing beyond the summary. */
  readonly details?: string;
  /** Whole command lines. test/integration/cli.test.ts runs them. */
  readonly examples: readonly [string, ...string[]];
}

const facts = new WeakMap<Command, CommandFacts>();

/** A command that does something. */
export function declare(parent: Command, declared: CommandFacts): Command {
  const { name, summary, details, examples } = declared;
  const command = parent
    .command(name)
    .summary(summary)
    .description(details === undefined ? summary : `${summary}\n\n${details}`);
  for (const [name, meaning, read] of declared.arguments ?? []) {
    if (read === undefined) command.argument(name, meaning);
    else command.argument(name, meaning, read);
  }
  const title = examples.length === 1 ? 'Example' : 'Examples';
  const lines = examples.map((line) => `  ${wrapExample(line)}`);
  command.addHelpText('after', `\n${title}:\n${lines.join('\n')}`);
  facts.set(command, declared);
  return command;
}

/** A command that only holds others. */
export function declareGroup(parent: Command, name: string, summary: string): Command {
  return parent.command(name).summary(summary).description(summary).helpCommand(false);
}

/** Broken before a flag where a terminal of 80 columns would break it anywhere; a shell joins it again. */
export function wrapExample(line: string): string {
  let wrapped = '';
  let room = exampleWidth;
  for (const part of line.split(/ (?=--?[a-z])/)) {
    const isFirst = wrapped === '';
    if (!isFirst && part.length + 1 > room) {
      wrapped += ` \\\n      ${part}`;
      room = exampleWidth - 4 - part.length;
    } else {
      wrapped += isFirst ? part : ` ${part}`;
      room -= part.length + (isFirst ? 0 : 1);
    }
  }
  return wrapped;
}

const exampleWidth = 74;

/** Undefined for a group. */
export function factsOf(command: Command): CommandFacts | undefined {
  return facts.get(command);
}

/** Every command that does something, in the order of the help. */
export function* leafCommands(command: Command): Generator<Command> {
  if (factsOf(command) !== undefined) yield command;
  for (const each of command.commands) yield* leafCommands(each);
}

/** `routes add` */
export function pathOf(command: Command): string {
  const names: string[] = [];
  for (let each: Command | null = command; each?.parent != null; each = each.parent)
    names.unshift(each.name());
  return names.join(' ');
}

/** An option that takes one of a few words, which completion offers. */
export function choice(flags: string, description: string, choices: readonly string[]): Option {
  return new Option(flags, description).choices(choices);
}

/** Of an option that may be given more than once. */
export function collect(value: string, earlier: readonly string[] | undefined): readonly string[] {
  return [...(earlier ?? []), value];
}
