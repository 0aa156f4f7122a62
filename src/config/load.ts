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
import type { EgressSettings } from '../model/egress-settings.ts';
import type { Settings } from '../model/settings.ts';
import { checkValues, readChecked } from './checks.ts';
import { lineIndex } from './document.ts';
import {
  egressForm,
  isEgressForm,
  overlayProxy,
  ownFormOf,
  processSections,
  toEgressSettings,
} from './egress-form.ts';
import { checkEgressForm } from './egress-form-checks.ts';
import type { Document, SyntaxFault } from './document.ts';
import { overlay, pathKey } from './environment.ts';
import type { Environment, Overlay } from './environment.ts';
import { plain, problemAt, problemsMax, quote, systemMessage } from './problem.ts';
import type { Finding, Path, Place, Problem, ProblemCode, Severity } from './problem.ts';
import { formatSize } from '../core/quantity.ts';
import { isTable } from './reader.ts';
import { schema } from './schema.ts';
import { toSettings } from './settings.ts';
import { parseToml } from './toml-document.ts';
import { parseYaml } from './yaml-document.ts';

export interface LoadedSettings {
  /** undefined when there was an error. */
  readonly settings: Settings | undefined;
  /** In the order of the file, those of variables last. */
  readonly problems: readonly Problem[];
}

export interface LoadOptions {
  /** What only the gateway can tell of the files that egress names: whether a keystore opens, a CA may sign. */
  readonly inspectEgress?: (egress: EgressSettings) => readonly EgressFault[];
}

export type EgressPart = 'authority' | 'outgoing' | 'secrets';

/** Why the files of a part do not serve; a whole clause for the operator. */
export interface EgressFault {
  readonly part: EgressPart;
  readonly fault: string;
}

export const fileBytesMax = 64 * 2 ** 20;

const parsers: Readonly<Record<string, (text: string) => Document | SyntaxFault>> = {
  '.toml': parseToml,
  '.yaml': parseYaml,
  '.yml': parseYaml,
};

/** Reads the file at `path` and the PORTCULLIS_ variables of `environment`, or the PROXY_ ones beside the YAML form. */
export function loadSettings(
  path: string,
  environment: Environment,
  options: LoadOptions = {},
): LoadedSettings {
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
  return loadDocument(document, { file, text, directory: dirname(resolve(path)) }, environment, options);
}

interface Origin {
  readonly file: string;
  readonly text: string;
  readonly directory: string;
}

function loadDocument(
  document: Document,
  origin: Origin,
  environment: Environment,
  options: LoadOptions,
): LoadedSettings {
  const { root } = document;
  const { overlaid, findings, settings, pathOf } = isEgressForm(root)
    ? readEgressForm(root, origin, environment)
    : readOwnForm(root, origin, environment);
  const made = [...findings, ...overlaid.findings].some(isError) ? undefined : settings();
  const found = made === undefined ? [] : inspected(made, options, pathOf);
  const problems = place([...findings, ...found], overlaid, document, origin);
  return { settings: problems.some(isError) ? undefined : made, problems };
}

/** A document by one of the forms, before its problems have places. */
interface ReadForm {
  readonly overlaid: Overlay;
  readonly findings: readonly Finding[];
  /** Only asked for when nothing was an error. */
  readonly settings: () => Settings;
  /** Where the form names the files of one part of egress. */
  readonly pathOf: (part: EgressPart, egress: EgressSettings) => Path;
}

function readOwnForm(root: unknown, { directory }: Origin, environment: Environment): ReadForm {
  // A root that is no table is left for the reader to refuse.
  const overlaid = overlay(schema, isTable(root) ? root : {}, environment);
  const { values, findings } = readChecked(schema, root, { directory, environment }, checkValues);
  return {
    overlaid,
    findings,
    settings: () => toSettings(values, availableParallelism()),
    pathOf: (part, { authority, outgoing }) => {
      if (part === 'authority')
        return ['egress', authority?.kind === 'keystore' ? 'mitm_keystore' : 'mitm_cert'];
      if (part === 'outgoing')
        return ['egress', outgoing.truststore === null ? 'outgoing_ca' : 'outgoing_truststore'];
      return ['egress'];
    },
  };
}

/** The YAML form of egress alone. PORTCULLIS_ variables may still say how the process runs. */
function readEgressForm(
  root: Record<string, unknown>,
  { directory }: Origin,
  environment: Environment,
): ReadForm {
  const surroundings = { directory, environment };
  const ofProxy = overlayProxy(root, environment);
  const form = readChecked(egressForm, root, surroundings, checkEgressForm);
  const own = ownFormOf(form.values);
  const ofProcess = overlay(processSections, own, environment);
  const rest = readChecked(schema, own, surroundings, checkValues);
  // What the file says of ports was reported at its own names.
  const inProcess = rest.findings.filter(({ path }) => originOf(path, ofProcess.origins) !== undefined);
  return {
    overlaid: {
      findings: ofProcess.findings,
      origins: new Map([...ofProcess.origins, ...ofProxy.origins]),
    },
    findings: [...form.findings, ...inProcess],
    settings: () => {
      const { process, traffic } = toSettings(rest.values, availableParallelism());
      return { process, traffic: { ...traffic, egress: toEgressSettings(form.values, environment) } };
    },
    pathOf: (part, { authority, outgoing }) => {
      if (part === 'authority')
        return ['proxy', authority?.kind === 'keystore' ? 'mitm_keystore_path' : 'mitm_cert_path'];
      if (part === 'outgoing')
        return ['proxy', outgoing.truststore === null ? 'outgoing_ca_bundle' : 'outgoing_truststore_path'];
      return ['proxy'];
    },
  };
}

function inspected(
  { traffic: { egress } }: Settings,
  { inspectEgress }: LoadOptions,
  pathOf: ReadForm['pathOf'],
): Finding[] {
  if (egress === null || inspectEgress === undefined) return [];
  return inspectEgress(egress).map(({ part, fault }) => ({
    ...fileError('keystore-invalid', inspectedExpected[part], plain(fault, 400)),
    path: pathOf(part, egress),
  }));
}

const inspectedExpected: Readonly<Record<EgressPart, string>> = {
  authority: 'a CA that can sign certificates for hosts',
  outgoing: 'certificates that upstreams can be verified by',
  secrets: 'secrets of one line each',
};

function isError({ severity }: { readonly severity: Severity }): boolean {
  return severity === 'error';
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
