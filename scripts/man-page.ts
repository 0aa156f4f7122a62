/** portcullis(1) in roff, from the same table of commands as docs/reference/cli.md. */

import type { Argument, Command, Option } from 'commander';
import { factsOf, leafCommands, pathOf, wrapExample } from '../src/cli/command.ts';
import { exitCodes, exitMeanings } from '../src/cli/exit-codes.ts';
import { addressVariable, serverOptionsGroup } from '../src/cli/server-address.ts';

const files: readonly (readonly [path: string, meaning: string])[] = [
  ['/etc/portcullis/portcullis.toml', 'The configuration, as the systemd unit has it.'],
  [
    '/var/lib/portcullis/portcullis.db',
    'The database; once it is seeded, the truth about listeners and routes.',
  ],
  ['/run/portcullis/admin.sock', 'Where the admin API answers the commands of this page.'],
];

const signals: readonly (readonly [name: string, meaning: string])[] = [
  ['SIGTERM, SIGINT', 'Drain and end; a second one ends at once.'],
  ['SIGHUP', 'Read the GeoIP database, certificates and process settings again.'],
  ['SIGUSR2', 'Open the log file again, after it was moved away.'],
];

export function manPage(root: Command, version: string): string {
  const commands = [...leafCommands(root)];
  const asking = commands.find((command) => command.options.some(isServerOption))!;
  return [
    '.\\" Written by scripts/generate-docs.ts from src/cli.',
    `.TH PORTCULLIS 1 "" "portcullis ${version}" "User Commands"`,
    ...section('Name', [`portcullis \\- ${roff(firstSentence(root.description()))}`]),
    ...section('Synopsis', ['.B portcullis', '.I command', '[\\fIargument\\fR ...] [\\fIflag\\fR ...]']),
    ...section('Description', [
      ...paragraph(
        'One program that accepts connections, decides, and relays or proxies them; and the commands that',
      ),
      roff('show and change what it does while it runs.'),
      ...paragraph(
        'Every command has --help. The pages of the documentation stand beside the program, in docs.',
      ),
    ]),
    ...section('Commands', commands.flatMap(commandPart)),
    ...section('Which server', [
      ...paragraph(
        `Every command that asks a running server takes these. --addr beats -c, which beats ${addressVariable}.`,
      ),
      ...asking.options.filter(isServerOption).flatMap(optionPart),
    ]),
    ...section(
      'Exit status',
      Object.entries(exitMeanings).flatMap(([name, meaning]) =>
        tagged(String(exitCodes[name as keyof typeof exitCodes]), meaning.replaceAll('`', '')),
      ),
    ),
    ...section(
      'Signals',
      signals.flatMap(([name, meaning]) => tagged(name, meaning)),
    ),
    ...section('Environment', [
      ...tagged(addressVariable, 'Where the server is, when neither --addr nor -c says it.'),
      ...tagged('PORTCULLIS_…', 'Overrides the setting that the rest of the name spells.'),
      ...tagged('NO_COLOR', 'No colour on terminals.'),
    ]),
    ...section(
      'Files',
      files.flatMap(([path, meaning]) => tagged(path, meaning)),
    ),
    ...section('See also', ['.BR systemctl (1),', '.BR journalctl (1),', '.BR curl (1)']),
    '',
  ].join('\n');
}

function section(title: string, lines: readonly string[]): string[] {
  return [`.SH ${title.toUpperCase()}`, ...lines];
}

function commandPart(command: Command): string[] {
  const { summary, details, examples } = factsOf(command)!;
  const args = command.registeredArguments;
  const usage = ['portcullis', pathOf(command), ...args.map(argumentName)].join(' ');
  const own = command.options.filter((option) => !isServerOption(option));
  const isAsking = own.length < command.options.length;
  return [
    `.SS ${roff(usage)}`,
    roff(summary),
    ...(details === undefined ? [] : paragraph(details.replaceAll('\n', ' '))),
    ...args.flatMap((each) => tagged(argumentName(each), withChoices(each.description, each.argChoices))),
    ...own.flatMap(optionPart),
    ...(isAsking ? paragraph('And the flags of “Which server” below.') : []),
    '.PP',
    '.nf',
    '.RS',
    ...examples.flatMap((example) => wrapExample(example).split('\n')).map(roff),
    '.RE',
    '.fi',
  ];
}

function argumentName(argument: Argument): string {
  return argument.required ? `<${argument.name()}>` : `[${argument.name()}]`;
}

function optionPart({ flags, description, argChoices, mandatory }: Option): string[] {
  return tagged(flags, `${withChoices(description, argChoices)}${mandatory ? '; required' : ''}`);
}

function withChoices(description: string, choices: readonly string[] | undefined): string {
  return choices === undefined ? description : `${description}: ${choices.join(', ')}`;
}

function isServerOption({ helpGroupHeading }: Option): boolean {
  return helpGroupHeading === serverOptionsGroup;
}

function paragraph(text: string): string[] {
  return ['.PP', roff(text)];
}

function tagged(tag: string, text: string): string[] {
  return ['.TP', `\\fB${roff(tag)}\\fR`, roff(text)];
}

function firstSentence(text: string): string {
  return text.replace(/\.$/, '').replace(/^One/, 'one');
}

const glyphs: Readonly<Record<string, string>> = {
  '\\': '\\e',
  '-': '\\-',
  '…': '...',
  '’': '\\(cq',
  '“': '\\(lq',
  '”': '\\(rq',
  '→': '\\(->',
};

/** Text in which nothing is a request or an escape; what is beyond ASCII by its number. */
function roff(text: string): string {
  const safe = [...text].map((each) => glyphs[each] ?? (each > '~' ? numbered(each) : each)).join('');
  return /^[.']/.test(safe) ? `\\&${safe}` : safe;
}

function numbered(character: string): string {
  return `\\[u${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}]`;
}
