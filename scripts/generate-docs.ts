/**
 * Writes the pages of docs/reference, and the man page, that repeat what the code already says. `--check` writes nothing and fails when
 * a page is stale.
 */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Argument, Command, Option } from 'commander';
import { factsOf, leafCommands, pathOf, wrapExample } from '../src/cli/command.ts';
import { exitCodes, exitMeanings } from '../src/cli/exit-codes.ts';
import { buildProgram } from '../src/cli/program.ts';
import { addressVariable, serverOptionsGroup } from '../src/cli/server-address.ts';
import { Shell } from '../src/cli/shell.ts';
import { egressForm, overridable, variableOf } from '../src/config/egress-form.ts';
import { variableName } from '../src/config/environment.ts';
import type { Path } from '../src/config/problem.ts';
import { problemCodes } from '../src/config/problem.ts';
import { schema } from '../src/config/schema.ts';
import type { Entries, Fields, List, Node, Rows, Section, Setting } from '../src/config/schema.ts';
import { reasons } from '../src/core/reason.ts';
import type { Outcome } from '../src/core/reason.ts';
import { definitionOf, metricNames } from '../src/telemetry/metrics-table.ts';
import type { MetricName } from '../src/telemetry/metrics-table.ts';
import { version } from '../src/cli/version.ts';
import { manPage } from './man-page.ts';

const directory = join(import.meta.dirname, '../docs/reference');
const note = (source: string): string => `<!-- Written by scripts/generate-docs.ts from ${source}. -->\n`;

const pages: Readonly<Record<string, string>> = {
  'configuration.md': configurationPage(),
  'configuration.schema.json': `${JSON.stringify(editorSchema(), null, 2)}\n`,
  'reasons.md': reasonsPage(),
  'metrics.md': metricsPage(),
  'exit-codes.md': exitCodesPage(),
  'cli.md': commandsPage(),
  '../man/portcullis.1': manPage(buildProgram(new Shell(process.stdout, process.stderr, {})), version()),
};

if (process.argv.includes('--check')) check();
else write();

function write(): void {
  for (const [name, text] of Object.entries(pages)) {
    const path = join(directory, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
}

function check(): void {
  const stale = Object.entries(pages).filter(([name, text]) => readPage(name) !== text);
  for (const [name] of stale)
    console.error(`${join('docs/reference', name)} is stale: run scripts/node scripts/generate-docs.ts`);
  process.exitCode = stale.length === 0 ? 0 : 1;
}

function readPage(name: string): string | undefined {
  try {
    return readFileSync(join(directory, name), 'utf8');
  } catch {
    return undefined;
  }
}

function configurationPage(): string {
  const codes = Object.entries(problemCodes).map(([code, meaning]) => [`\`${code}\``, meaning]);
  return [
    '# Configuration\n',
    note('src/config/schema.ts'),
    introduction(),
    ...Object.entries(schema).map(([name, node]) => tablePart(node, [name])),
    egressFormPart(),
    '## Problem codes\n',
    'What `portcullis validate --json` calls the problems it finds. Codes are stable.\n',
    markdownTable(['Code', 'Meaning'], codes),
  ].join('\n');
}

function introduction(): string {
  return `Portcullis reads one file, TOML or YAML by its ending: \`.toml\`, \`.yaml\`, \`.yml\`. \`portcullis validate -c FILE\`
names every problem of it, with file, line and column. Editors complete and check it by
[configuration.schema.json](configuration.schema.json).

\`\`\`toml
[firewall]
blocked_cidrs = ["198.51.100.0/24"]
rate_limit = 100

[[listeners]]
addr = ":443"

  [[listeners.routes]]
  hostname = "app.example.com"
  backend = "10.0.0.5:8443"

  [[listeners.routes]]
  hostname = "*.example.com"
  backend = "unix:/run/web.sock"
\`\`\`

- **Durations** are text with units, \`"30s"\`, \`"500ms"\`, \`"1h30m"\`, \`"2d"\`; **sizes** are \`"16KiB"\`, \`"1MiB"\`. A number
  without its unit is refused.
- **Paths** that are relative count from the directory of the file, wherever they are set.
- **Environment**: a variable overrides each setting. Its name is \`PORTCULLIS_\` and the key path in capitals, joined by
  \`_\`; a list is written with commas; an empty value is an empty list, or a setting left out. Elements of
  \`[[listeners]]\` and their routes are counted from 0, and the next index adds one: \`PORTCULLIS_LISTENERS_0_ADDR=:8443\`.
  A \`PORTCULLIS_\` variable that names no setting is a warning.
- An error keeps Portcullis from starting; a warning does not.
`;
}

function egressFormPart(): string {
  const text = `A YAML file with a table \`proxy\` configures one egress gateway and nothing else, with no database. Where \`serve\` and
\`validate\` are not given a file they read \`$CONFIG_PATH\`, or else \`config.yaml\`. Of \`domain\` and the lists of \`acl\`: \`*.x\` is every
name below x; an entry with one of \`\\ ^ $ * + ? ( ) [ ] { } |\` is a regular expression used as written, which may match
anywhere in the host unless \`^\` and \`$\` tie it; all others are hosts. What \`whitelist\` and \`passthrough\` name may be in RFC
1918, unique-local and shared (CGNAT) space. Variables \`PORTCULLIS_\` still say how the process runs; an empty text is a
setting left out.
`;
  const parts = Object.entries(egressForm).flatMap(([name, { form, fields }]) => [
    `### \`${name}\`${form === 'rows' ? ', a list' : ''}\n`,
    markdownTable(
      ['Setting', 'Takes', 'Default', 'Meaning', 'Variable'],
      Object.entries(fields).map(([field, leaf]) => {
        const [setting, takes, fallback, meaning] = leafRow(field, leaf as Leaf, []) as [
          string,
          string,
          string,
          string,
        ];
        const known = overridable.find((each) => name === 'proxy' && each === field);
        return [setting, takes, fallback, meaning, known === undefined ? '' : `\`${variableOf(known)}\``];
      }),
    ),
  ]);
  return ['## The YAML form of egress\n', text, ...parts].join('\n');
}

function tablePart(node: Node, path: Path): string {
  if (node.form !== 'section' && node.form !== 'rows') return '';
  const inner = Object.entries(node.fields).filter(
    ([, each]) => each.form === 'section' || each.form === 'rows',
  );
  const leaves = Object.entries(node.fields).filter(
    ([, each]) => each.form !== 'section' && each.form !== 'rows',
  );
  const keys = path.filter((part) => typeof part === 'string').join('.');
  const below = node.form === 'rows' ? [...path, 0] : path;
  return [
    `## \`${node.form === 'rows' ? `[[${keys}]]` : `[${keys}]`}\`\n`,
    `${node.description}${node.form === 'rows' ? ` At most ${node.countMax.toLocaleString('en')}.` : ''}\n`,
    markdownTable(
      ['Setting', 'Takes', 'Default', 'Meaning', 'Variable'],
      leaves.map(([name, leaf]) => leafRow(name, leaf as Leaf, [...below, name])),
    ),
    ...inner.map(([name, each]) => tablePart(each, [...below, name])),
  ].join('\n');
}

type Leaf = Setting<unknown> | List<unknown> | Entries;

function leafRow(name: string, leaf: Leaf, path: Path): readonly string[] {
  if (leaf.form === 'entries') {
    const each = `${leaf.kind.expected}${leaf.isRepeatable ? ', or a list of such' : ''}`;
    return [`\`${name}\``, `a table of names, each with ${each}`, '`{}`', leaf.description, ''];
  }
  const isList = leaf.form === 'list';
  const takes = isList ? `a list, each ${leaf.kind.expected}` : leaf.kind.expected;
  return [`\`${name}\``, takes, defaultText(leaf), leaf.description, `\`${variableName(path)}\``];
}

function defaultText(leaf: Setting<unknown> | List<unknown>): string {
  if (leaf.form === 'list') return leaf.fallback.map((item) => `\`${item}\``).join(', ') || '`[]`';
  if (leaf.fallback === undefined) return 'required';
  return leaf.fallback === null ? 'none' : `\`${JSON.stringify(leaf.fallback)}\``;
}

function editorSchema(): object {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Portcullis configuration',
    ...tableSchema(schema),
  };
}

function tableSchema(fields: Fields): object {
  const entries = Object.entries(fields);
  const required = entries.filter(([, node]) => isRequired(node)).map(([name]) => name);
  return {
    type: 'object',
    additionalProperties: false,
    ...(required.length === 0 ? {} : { required }),
    properties: Object.fromEntries(entries.map(([name, node]) => [name, nodeSchema(node)])),
  };
}

function isRequired(node: Node): boolean {
  return node.form === 'rows' ? node.countMin > 0 : node.form === 'setting' && node.fallback === undefined;
}

function nodeSchema(node: Node): object {
  const { description } = node;
  switch (node.form) {
    case 'setting':
      return { description, ...node.kind.json, ...(node.fallback == null ? {} : { default: node.fallback }) };
    case 'list':
      return {
        description,
        type: 'array',
        maxItems: node.countMax,
        items: node.kind.json,
        ...(node.fallback.length === 0 ? {} : { default: node.fallback }),
      };
    case 'entries':
      return entriesSchema(node);
    case 'section':
      return sectionSchema(node);
    case 'rows':
      return rowsSchema(node);
  }
}

function sectionSchema({ description, fields }: Section<Fields>): object {
  return { description, ...tableSchema(fields) };
}

function entriesSchema({ description, kind, isRepeatable, countMax }: Entries): object {
  const value = isRepeatable ? { anyOf: [kind.json, { type: 'array', items: kind.json }] } : kind.json;
  return { description, type: 'object', maxProperties: countMax, additionalProperties: value };
}

function rowsSchema({ description, fields, countMin, countMax, shorthand }: Rows<Fields>): object {
  const items =
    shorthand === null ? tableSchema(fields) : { anyOf: [{ type: 'string' }, tableSchema(fields)] };
  return { description, type: 'array', minItems: countMin, maxItems: countMax, items };
}

function reasonsPage(): string {
  const titles: Readonly<Record<Outcome, string>> = {
    served: 'Served: the connection was relayed',
    refused: 'Refused: Portcullis would not serve it',
    failed: 'Failed: Portcullis could not serve it',
  };
  const parts = Object.entries(titles).map(([outcome, title]) => {
    const rows = Object.entries(reasons).filter(([, facts]) => facts.outcome === outcome);
    const cells = rows.map(([code, { meaning }]) => [`\`${code}\``, meaning]);
    return `## ${title}\n\n${markdownTable(['Reason', 'Meaning'], cells)}`;
  });
  const text =
    'Why a connection ended the way it did, in logs, metrics and the API. Codes are stable and never reused.\n';
  return ['# Reasons\n', note('src/core/reason.ts'), text, ...parts].join('\n');
}

function metricsPage(): string {
  const text = `Portcullis serves these at \`[metrics] addr\`, and at \`/stats/prometheus\` of the admin HTTP address: as Prometheus text, or
as OpenMetrics with exemplars that carry request ids, by what the scraper accepts. Each metric keeps a bounded number of
label sets apart; beyond it they share one whose label values are all \`other\`, and \`portcullis_metric_overflow_total\`
counts them.
`;
  const rows = metricNames.map((name) => {
    const { type, labels, help, note, seriesMax } = definitionOf(name);
    const names = labels.map((label) => `\`${label}\``).join(', ');
    return [
      `\`${name}\``,
      type,
      names,
      labels.length === 0 ? '' : String(seriesMax),
      [help, note ?? ''].join(' ').trim(),
    ];
  });
  const bucketed = metricNames.filter((name) => definitionOf(name).type === 'histogram');
  return [
    '# Metrics\n',
    note('src/telemetry/metrics-table.ts'),
    text,
    markdownTable(['Metric', 'Type', 'Labels', 'Label sets at most', 'Meaning'], rows),
    '## Buckets\n',
    markdownTable(['Histogram', 'Upper bounds'], bucketed.map(bucketCells)),
  ].join('\n');
}

function bucketCells(name: MetricName): readonly string[] {
  return [`\`${name}\``, (definitionOf(name).buckets ?? []).join(', ')];
}

function exitCodesPage(): string {
  const rows = Object.entries(exitMeanings).map(([name, meaning]) => {
    return [String(exitCodes[name as keyof typeof exitCodes]), meaning];
  });
  const text =
    'Of every `portcullis` command. A process that a second SIGINT or SIGTERM ends does not come to choose one.\n';
  return [
    '# Exit codes\n',
    note('src/cli/exit-codes.ts'),
    text,
    markdownTable(['Code', 'Meaning'], rows),
  ].join('\n');
}

function commandsPage(): string {
  const root = buildProgram(new Shell(process.stdout, process.stderr, {}));
  const commands = [...leafCommands(root)];
  const asking = commands.find((command) => command.options.some(isServerOption))!;
  const text = `What \`--help\` of each command says, on one page. \`portcullis completion\` makes your shell complete all of it.

- Commands end with one of a few [exit codes](exit-codes.md); what went wrong is one sentence on standard error.
- Tables fit the terminal, cells that do not end in \`…\`; elsewhere nothing is cut. Colour is for terminals, and
  \`NO_COLOR\` turns it off.
- \`--json\` prints what the API answers, as its JSON has it: 64-bit numbers are text, durations are seconds.
- Text that came from elsewhere is shown with control characters escaped.
`;
  const server = `Every command that asks a running server takes these. \`--addr\` beats \`-c\`, which beats \`${addressVariable}\`. A Unix
socket needs no TLS. A TCP address is spoken to by TLS: with \`-c\` exactly the certificate of \`[admin] tls_cert\` is trusted,
with \`--addr\` the certificates of \`--ca\`, or the system's.
`;
  return [
    '# Commands\n',
    note('src/cli'),
    text,
    '## Which server\n',
    server,
    optionTable([...asking.options.filter(isServerOption)]),
    ...commands.map(commandPart),
  ].join('\n');
}

function commandPart(command: Command): string {
  const { details, examples, summary } = factsOf(command)!;
  const args = command.registeredArguments.map(argumentCells);
  const own = command.options.filter((option) => !isServerOption(option));
  const asksServer = own.length < command.options.length;
  const usage = ['portcullis', pathOf(command), ...args.map(([name]) => name)].join(' ');
  const about = [summary, ...(details === undefined ? [] : [details.replaceAll('\n', '  \n')])].join('\n\n');
  return [
    `## \`${usage}\`\n`,
    `${about}\n`,
    ...(args.length === 0
      ? []
      : [
          markdownTable(
            ['Argument', 'Meaning'],
            args.map(([name, meaning]) => [`\`${name}\``, meaning]),
          ),
        ]),
    ...(own.length === 0 ? [] : [optionTable(own)]),
    ...(asksServer ? ['And the flags of [which server](#which-server).\n'] : []),
    `\`\`\`sh\n${examples.map(wrapExample).join('\n')}\n\`\`\`\n`,
  ].join('\n');
}

/** `<hostname>` and what it is. */
function argumentCells(argument: Argument): readonly [string, string] {
  const { required, description, argChoices } = argument;
  const name = argument.name();
  return [required ? `<${name}>` : `[${name}]`, `${description}${choicesText(argChoices)}`];
}

function isServerOption({ helpGroupHeading }: Option): boolean {
  return helpGroupHeading === serverOptionsGroup;
}

function optionTable(options: readonly Option[]): string {
  const rows = options.map(({ flags, description, argChoices, mandatory }) => {
    return [`\`${flags}\``, `${description}${choicesText(argChoices)}${mandatory ? '; required' : ''}`];
  });
  return markdownTable(['Flag', 'Meaning'], rows);
}

function choicesText(choices: readonly string[] | undefined): string {
  return choices === undefined ? '' : `: ${choices.map((each) => `\`${each}\``).join(', ')}`;
}

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return `${[line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')}\n`;
}
