/**
 * From a file and the environment to `Settings`, with every problem at once.
 *
 *   text → document (toml, yaml) → overlay (environment) → reader (schema) → checks → problems with places → Settings
 *
 * The only file here that reads the configuration file. It never throws for what an operator wrote.
 */

import { readFileSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, extname, resolve } from 'node:path';
import { listenerDefaults } from '../model/settings.ts';
import type { Settings } from '../model/settings.ts';
import { formatListenAddress } from './address.ts';
import { checkValues, readChecked } from './checks.ts';
import { lineIndex } from './document.ts';
import {
  checkEgressForm,
  egressForm,
  isEgressForm,
  overlayProxy,
  processOf,
  toEgressSettings,
} from './egress-form.ts';
import type { Document, SyntaxFault } from './document.ts';
import { overlay, pathKey } from './environment.ts';
import type { Environment, Overlay } from './environment.ts';
import { plain, problemAt, problemsMax, quote, systemMessage } from './problem.ts';
import type { Finding, Path, Place, Problem, ProblemCode } from './problem.ts';
import { formatSize } from '../core/quantity.ts';
import { isTable, readTable } from './reader.ts';
import { schema } from './schema.ts';
import { toSettings, toTraffic } from './settings.ts';
import { parseToml } from './toml-document.ts';
import { parseYaml } from './yaml-document.ts';

export interface LoadedSettings {
  /** undefined when there was an error. */
  readonly settings: Settings | undefined;
  /** In the order of the file, those of variables last. */
  readonly problems: readonly Problem[];
}

export const fileBytesMax = 64 * 2 ** 20;

const parsers: Readonly<Record<string, (text: string) => Document | SyntaxFault>> = {
  '.toml': parseToml,
  '.yaml': parseYaml,
  '.yml': parseYaml,
};

/** Reads the file at `path` and the PORTCULLIS_ variables of `environment`. */
export function loadSettings(path: string, environment: Environment): LoadedSettings {
  const file = plain(path, 4096);
  const parse = parsers[extname(path)];
  if (parse === undefined) {
    return failure(
      file,
      'file-unsupported',
      'a name that ends in .toml, .yaml or .yml',
      quote(extname(path)),
    );
  }
  const text = readText(path, file);
  if (typeof text !== 'string') return text;
  const document = parse(text);
  if (document.kind === 'fault') return syntaxFailure(file, text, document, extname(path));
  return loadDocument(document, { file, text, directory: dirname(resolve(path)) }, environment);
}

interface Origin {
  readonly file: string;
  readonly text: string;
  readonly directory: string;
}

function loadDocument(document: Document, origin: Origin, environment: Environment): LoadedSettings {
  const { root } = document;
  if (isEgressForm(root)) return loadEgressForm(document, root, origin, environment);
  // A root that is no table is left for the reader to refuse.
  const overlaid = overlay(schema, isTable(root) ? root : {}, environment);
  const surroundings = { directory: origin.directory, environment };
  const { values, findings } = readChecked(schema, root, surroundings, checkValues);
  const problems = place(findings, overlaid, document, origin);
  const hasErrors = problems.some(({ severity }) => severity === 'error');
  return { settings: hasErrors ? undefined : toSettings(values, availableParallelism()), problems };
}

/** The YAML form of egress alone: no database, no admin API, and everything else at its default. */
function loadEgressForm(
  document: Document,
  root: Record<string, unknown>,
  origin: Origin,
  environment: Environment,
): LoadedSettings {
  const overlaid = overlayProxy(root, environment);
  const surroundings = { directory: origin.directory, environment };
  const { values, findings } = readChecked(egressForm, root, surroundings, checkEgressForm);
  const problems = place(findings, overlaid, document, origin);
  if (problems.some(({ severity }) => severity === 'error')) return { settings: undefined, problems };
  const rest = readTable(schema, processOf(values), origin.directory);
  const { process } = toSettings(rest.values, availableParallelism());
  const address = { host: '', port: values.proxy.port! };
  const name = formatListenAddress(address);
  const listener = {
    ...listenerDefaults,
    kind: 'egress',
    name,
    address,
    protocol: 'http',
    routes: [],
  } as const;
  const { firewall } = toTraffic(rest.values);
  const settings = {
    process,
    traffic: { listeners: [listener], firewall, egress: toEgressSettings(values, environment) },
  };
  return { settings, problems };
}

function readText(path: string, file: string): string | LoadedSettings {
  try {
    const facts = statSync(path);
    if (!facts.isFile()) return failure(file, 'file-unreadable', 'a regular file', 'something else');
    if (facts.size > fileBytesMax) {
      return failure(file, 'file-oversized', `at most ${formatSize(fileBytesMax)}`, `${facts.size} bytes`);
    }
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') return failure(file, 'syntax', 'UTF-8', 'other bytes');
    return failure(file, 'file-unreadable', 'a file that can be read', systemMessage(error));
  }
}

/** A problem of the file as a whole. */
function failure(file: string, code: ProblemCode, expected: string, found: string): LoadedSettings {
  const place = { file, variable: null, line: null, column: null };
  return { settings: undefined, problems: [problemAt(place, fileError(code, expected, found))] };
}

function syntaxFailure(file: string, text: string, fault: SyntaxFault, extension: string): LoadedSettings {
  const position = fault.offset === null ? { line: null, column: null } : lineIndex(text)(fault.offset);
  const language = extension === '.toml' ? 'TOML' : 'YAML';
  const expected = `valid ${language}: ${plain(fault.message, 200)}`;
  const problem = problemAt({ file, variable: null, ...position }, fileError('syntax', expected, null));
  return { settings: undefined, problems: [problem] };
}

function fileError(code: ProblemCode, expected: string, found: string | null): Finding {
  return { severity: 'error', code, path: [], at: 'value', expected, found, suggestion: null };
}

/** Gives each finding its place: the variable that wrote there, or line and column. Errors are never cut for warnings. */
function place(
  all: readonly Finding[],
  { findings: ofVariables, origins }: Overlay,
  document: Document,
  { file, text }: Origin,
): readonly Problem[] {
  const findings = [...all].sort(bySeverity).slice(0, problemsMax);
  const variables = findings.map(({ path }) => originOf(path, origins));
  const inFile = findings.filter((_, index) => variables[index] === undefined);
  const problems = findings.flatMap((finding, index) => {
    const variable = variables[index];
    return variable === undefined ? [] : [problemAt(variablePlace(variable), finding)];
  });
  for (const finding of ofVariables) problems.push(problemAt(variablePlace(finding.variable), finding));
  const placed = inFile.length === 0 ? [] : placeInFile(inFile, document, file, text);
  if (all.length <= problemsMax) return [...placed, ...problems];
  // As severe as the worst that was cut or listed: ten thousand warnings keep nothing from starting.
  const { severity } = findings[0]!;
  const cut: Finding = {
    ...fileError('problems-cut', `at most ${problemsMax} problems`, `${all.length}`),
    severity,
  };
  return [...placed, ...problems, problemAt({ file, variable: null, line: null, column: null }, cut)];
}

function bySeverity(a: Finding, b: Finding): number {
  return Number(a.severity === 'warning') - Number(b.severity === 'warning');
}

function placeInFile(
  findings: readonly Finding[],
  document: Document,
  file: string,
  text: string,
): Problem[] {
  const offsets = document.locate(findings);
  const position = lineIndex(text);
  const placed = findings.map((finding, index) => {
    const offset = offsets[index];
    const lineColumn = offset === undefined ? { line: null, column: null } : position(offset);
    return problemAt({ file, variable: null, ...lineColumn }, finding);
  });
  return placed.sort((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0));
}

/** The variable that wrote the value at `path`, or made the row it is in. */
function originOf(path: Path, origins: ReadonlyMap<string, string>): string | undefined {
  if (origins.size === 0) return undefined;
  for (let length = path.length; length > 0; length--) {
    const variable = origins.get(pathKey(path.slice(0, length)));
    if (variable !== undefined) return variable;
  }
  return undefined;
}

function variablePlace(variable: string): Place {
  return { file: null, variable: plain(variable), line: null, column: null };
}
