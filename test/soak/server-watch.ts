/**
 * Reads the program's log along, keeps the last of it for whoever has a failure to explain, and notes what no fault of
 * a run brings about: errors, and connections or requests that ended by a fault of the program itself.
 */
import { get, type IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { LogLine, Portcullis } from '../support/portcullis.ts';

const linesKeptMax = 20_000;
const intervalMs = 250;
/** Errors that faults cause. */
const expected: ReadonlySet<string> = new Set(['worker died, starting another', 'worker failed']);
/** A line is written some time after the client saw the end. */
const lineDelayMs = 700;
const linesShownMax = 6;

export class ServerWatch implements Disposable {
  readonly complaints: string[] = [];
  /** Workers that came back to life since the start. */
  replacedCount = 0;
  readonly #metricsUrl: string;
  readonly #portcullis: Portcullis;
  readonly #timer: NodeJS.Timeout;
  #seen = 0;

  constructor(portcullis: Portcullis) {
    this.#portcullis = portcullis;
    const { address } = portcullis.lines.find(({ msg }) => msg === 'metrics HTTP listening')!;
    this.#metricsUrl = `http://${String(address)}/metrics`;
    this.#timer = setInterval(() => this.read(), intervalMs);
  }

  metrics(): Promise<string> {
    return fetchPage(this.#metricsUrl);
  }

  /** Takes up what was logged since. */
  read(): void {
    const { lines } = this.#portcullis;
    for (; this.#seen < lines.length; this.#seen++) this.#judge(lines[this.#seen]!);
    const surplus = lines.length - linesKeptMax;
    if (surplus < linesKeptMax / 4) return;
    lines.splice(0, surplus);
    this.#seen -= surplus;
    this.#portcullis.stdout = '';
  }

  /** The lines that speak of a client, once they are there. */
  async linesOf(tag: string, address: string): Promise<string[]> {
    await delay(lineDelayMs);
    return this.#portcullis.lines
      .filter((line) => line['user_agent'] === tag || (address !== '' && line['client'] === address))
      .slice(-linesShownMax)
      .map((line) => JSON.stringify(line));
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.read();
  }

  #judge(line: LogLine): void {
    if (line.msg === 'worker replaced') this.replacedCount++;
    const isFault = line['reason'] === 'internal-error' || line.level === 'error' || line.level === 'fatal';
    if (isFault && !expected.has(line.msg)) this.complaints.push(JSON.stringify(line));
  }
}

/** A page over a connection of its own, which is closed at once: descriptors are counted. */
function fetchPage(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, { agent: false }, (response: IncomingMessage) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('end', () => resolve(text)).on('error', reject);
    }).on('error', reject);
  });
}
