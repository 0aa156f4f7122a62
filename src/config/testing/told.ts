/** What an operator is told about a file, line by line, with the directory of the test left out. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Environment } from '../environment.ts';
import { loadSettings } from '../load.ts';
import { formatProblem } from '../problem.ts';

export function told(directory: string, text: string, environment: Environment = {}): readonly string[] {
  const path = join(directory, 'x.toml');
  writeFileSync(path, text);
  const { problems } = loadSettings(path, environment);
  return problems.map((problem) => formatProblem(problem, false).replaceAll(`${directory}/`, ''));
}
