/**
 * The commands of a page, as somebody would copy them: fenced blocks of Markdown, and what the page says they print.
 *
 * ```sh begins commands; marks behind it say how they run. A block of another language with a name behind it is a file. A ```text block right behind it is what they print: each
 * line as it stands but for its spaces, `…` for anything, a line of only `…` for any number of lines.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

export interface Commands {
  /** Of the page: the place to look at when they fail. */
  readonly line: number;
  readonly heading: string;
  readonly marks: readonly string[];
  readonly code: string;
  /** Null: the page does not say. */
  readonly prints: string | null;
}

export interface Page {
  readonly commands: readonly Commands[];
  /** Blocks of other languages: configuration files. */
  readonly blocks: readonly { readonly language: string; readonly code: string; readonly heading: string }[];
}

export function readDocument(path: string): Page {
  const commands: Commands[] = [];
  const blocks: Page['blocks'][number][] = [];
  const text = readFileSync(path, 'utf8');
  const tokens = /^(#+) (.+)$|^```(\w*) ?(.*)\n([\s\S]*?)^```$/gm;
  let heading = '';
  for (const { 0: whole, 2: title, 3: language = '', 4: marks = '', 5: code = '', index } of text.matchAll(
    tokens,
  )) {
    if (title !== undefined) heading = title;
    else if (language === 'sh') {
      const line = text.slice(0, index).split('\n').length + 1;
      const behind = /^\n\n```text\n([\s\S]*?)^```$/m.exec(text.slice(index + whole.length));
      const prints = behind?.index === 0 ? behind[1]! : null;
      commands.push({ line, heading, marks: marks.split(' ').filter((mark) => mark !== ''), code, prints });
    } else if (marks !== '') {
      const line = text.slice(0, index).split('\n').length + 1;
      commands.push({
        line,
        heading,
        marks: ['file'],
        code: `cat >${marks} <<'EOF'\n${code}EOF\n`,
        prints: null,
      });
    } else blocks.push({ language, code, heading });
  }
  return { commands, blocks };
}

/** Fails with both when the output is not what the page says. */
export function assertPrinted(output: string, said: string, where: string): void {
  const pattern = said.trimEnd().split('\n').map(linePattern).join('');
  const plain = `${output.trimEnd().split('\n').map(squeezed).join('\n')}\n`;
  assert.match(plain, new RegExp(`^${pattern}$`), `${where} prints\n${output}\nand not\n${said}`);
}

function linePattern(line: string): string {
  if (line.trim() === '…') return String.raw`(?:.*\n)*`;
  const parts = squeezed(line).split('…');
  return `${parts.map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)).join('.*')}\\n`;
}

function squeezed(line: string): string {
  return line.trim().replaceAll(/\s+/g, ' ');
}
