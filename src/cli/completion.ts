/** `portcullis completion`: scripts for shells, generated from the commands themselves. */

import { Argument } from 'commander';
import type { Command, Option } from 'commander';
import { declare, pathOf } from './command.ts';
import type { Shell } from './shell.ts';

export function completionCommands(root: Command, shell: Shell): void {
  const completion = declare(root, {
    name: 'completion',
    summary: 'Print a script that completes commands and flags in your shell.',
    details:
      'bash: eval "$(portcullis completion bash)" in ~/.bashrc\n' +
      'zsh:  eval "$(portcullis completion zsh)" in ~/.zshrc, after compinit\n' +
      'fish: portcullis completion fish > ~/.config/fish/completions/portcullis.fish',
    examples: ['eval "$(portcullis completion bash)"'],
  });
  completion
    .addArgument(new Argument('<shell>', 'the shell to complete in').choices(Object.keys(generators)))
    .action((name: CompletedShell) => void shell.stdout.write(completionScript(name, root)));
}

export type CompletedShell = keyof typeof generators;

export function completionScript(name: CompletedShell, root: Command): string {
  return generators[name](describeTree(root));
}

/** A command, and what may follow it. */
interface Place {
  /** `routes add`; empty for the program itself. */
  readonly path: string;
  readonly commands: readonly Word[];
  readonly options: readonly CompletedOption[];
  /** What its first argument may be, when that is one of a few words. */
  readonly choices: readonly string[];
}

interface Word {
  readonly name: string;
  readonly summary: string;
}

interface CompletedOption {
  readonly flags: readonly string[];
  readonly summary: string;
  readonly value: 'none' | 'file' | 'text' | readonly string[];
}

const generators = { bash: bashScript, zsh: zshScript, fish: fishScript } as const;

function describeTree(root: Command): Place[] {
  const places: Place[] = [describePlace(root)];
  for (const command of root.commands)
    places.push(describePlace(command), ...command.commands.map(describePlace));
  return places;
}

function describePlace(command: Command): Place {
  const help = { flags: ['-h', '--help'], summary: 'show help', value: 'none' } as const;
  return {
    path: pathOf(command),
    commands: command.commands.map((each) => ({ name: each.name(), summary: each.summary() })),
    options: [...command.options.map(describeOption), help],
    choices: command.registeredArguments[0]?.argChoices ?? [],
  };
}

function describeOption(option: Option): CompletedOption {
  const flags = [option.short, option.long].filter((flag) => flag != null);
  return { flags, summary: option.description, value: valueOf(option) };
}

function valueOf({ flags, argChoices }: Option): CompletedOption['value'] {
  if (argChoices !== undefined) return argChoices;
  if (!flags.includes('<')) return 'none';
  return flags.includes('<file>') ? 'file' : 'text';
}

/** Every word after which the same completion finds the place it is at. */
function pathsBelow(places: readonly Place[]): string[] {
  return places.flatMap(({ path }) => (path === '' ? [] : [`'${path}'`]));
}

function wordsOf({ commands, choices, options }: Place): string[] {
  return [...commands.map(({ name }) => name), ...choices, ...options.flatMap(({ flags }) => flags)];
}

/** `'routes add --mode'` for each flag of each place that `matches`. */
function flagPatterns(places: readonly Place[], matches: (option: CompletedOption) => boolean): string[] {
  return places.flatMap(({ path, options }) =>
    options.filter(matches).flatMap(({ flags }) => flags.map((flag) => `'${path} ${flag}'`)),
  );
}

function bashScript(places: readonly Place[]): string {
  const choices = places.flatMap(({ path, options }) =>
    options.flatMap(({ flags, value }) =>
      typeof value === 'string'
        ? []
        : [`    ${flags.map((flag) => `'${path} ${flag}'`).join('|')}) words='${value.join(' ')}' ;;`],
    ),
  );
  return `# bash completion for portcullis: eval "$(portcullis completion bash)"
_portcullis() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} path= words= index
  COMPREPLY=()
  for ((index = 1; index < COMP_CWORD; index++)); do
    case "\${path:+$path }\${COMP_WORDS[index]}" in
      ${pathsBelow(places).join('|')}) path="\${path:+$path }\${COMP_WORDS[index]}" ;;
    esac
  done
  case "$path $before" in
${choices.join('\n')}
    ${flagPatterns(places, ({ value }) => value === 'file').join('|')})
      compopt -o filenames
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      return ;;
    ${flagPatterns(places, ({ value }) => value === 'text').join('|')}) return ;;
    *)
      case "$path" in
${places.map((place) => `        '${place.path}') words='${wordsOf(place).join(' ')}' ;;`).join('\n')}
      esac ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o default -F _portcullis portcullis
`;
}

function zshScript(places: readonly Place[]): string {
  const described = (name: string, summary: string): string => quoteShell(`${name}:${summary}`);
  const choices = places.flatMap(({ path, options }) =>
    options.flatMap(({ flags, value }) =>
      typeof value === 'string'
        ? []
        : [`    ${flags.map((flag) => `'${path} ${flag}'`).join('|')}) compadd -- ${value.join(' ')} ;;`],
    ),
  );
  const words = places.map(({ path, commands, choices, options }) => {
    const all = [
      ...commands.map(({ name, summary }) => described(name, summary)),
      ...choices.map((choice) => quoteShell(choice)),
      ...options.flatMap(({ flags, summary }) => flags.map((flag) => described(flag, summary))),
    ];
    return `        '${path}') offered=(\n${all.map((each) => `          ${each}\n`).join('')}        ) ;;`;
  });
  return `#compdef portcullis
# zsh completion for portcullis: eval "$(portcullis completion zsh)", after compinit
_portcullis() {
  local at='' before=$words[CURRENT-1] next
  local -a offered
  integer index
  for ((index = 2; index < CURRENT; index++)); do
    next="\${at:+$at }$words[index]"
    case $next in
      ${pathsBelow(places).join('|')}) at=$next ;;
    esac
  done
  case "$at $before" in
${choices.join('\n')}
    ${flagPatterns(places, ({ value }) => value === 'file').join('|')}) _files ;;
    ${flagPatterns(places, ({ value }) => value === 'text').join('|')}) ;;
    *)
      case $at in
${words.join('\n')}
      esac
      _describe portcullis offered || _files ;;
  esac
}
if [[ $funcstack[1] == _portcullis ]]; then _portcullis "$@"; else compdef _portcullis portcullis; fi
`;
}

function fishScript(places: readonly Place[]): string {
  const lines = places.flatMap(({ path, commands, choices, options }) => {
    const here = `complete -c portcullis -n ${quoteShell(`__portcullis_at '${path}'`)}`;
    return [
      ...commands.map(({ name, summary }) => `${here} -f -a ${name} -d ${quoteFish(summary)}`),
      ...(choices.length === 0 ? [] : [`${here} -f -a '${choices.join(' ')}'`]),
      ...options.map((option) => `${here} ${fishOption(option)}`),
    ];
  });
  return `# fish completion for portcullis: portcullis completion fish > ~/.config/fish/completions/portcullis.fish
function __portcullis_at
  set -l at ''
  for word in (commandline -opc)[2..-1]
    set -l next (string trim -- "$at $word")
    switch $next
      case ${pathsBelow(places).join(' ')}
        set at $next
    end
  end
  test "$at" = "$argv[1]"
end
complete -c portcullis -e
${lines.join('\n')}
`;
}

function fishOption({ flags, summary, value }: CompletedOption): string {
  const names = flags.map((flag) => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`));
  const takes =
    value === 'none'
      ? '-f'
      : value === 'file'
        ? '-r -F'
        : value === 'text'
          ? '-x'
          : `-x -a '${value.join(' ')}'`;
  return `${names.join(' ')} ${takes} -d ${quoteFish(summary)}`;
}

function quoteShell(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function quoteFish(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", String.raw`\'`)}'`;
}
