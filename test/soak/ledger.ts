/**
 * The account of a run: each attempt of a client, each fault that was injected, and which failure a fault explains.
 * A failure is explained by a fault that was on while the attempt ran, hit what the attempt needs, and can bring about
 * a failure of that sort. Anything else is the program's.
 */

/** How an attempt failed, seen by the client. */
export type Failure =
  /** An answer that the backend can not be reached or did not answer: 502, 503, 504, grpc-status 14 or 4. */
  | 'unavailable'
  /** An answer that there is no such route: 404, 421. */
  | 'unrouted'
  /** The connection or the stream ended early, by a reset, an alert, or an end in the midst. */
  | 'broken'
  /** Nothing for as long as the client would wait. */
  | 'timeout'
  /** A whole answer with other bytes than were sent. */
  | 'damaged'
  /** Any other answer. */
  | 'wrong';

/** What a client throws when it can say how it failed; whatever else it throws is `broken`. */
export class Failed extends Error {
  readonly failure: Failure;

  constructor(failure: Failure, detail: string) {
    super(detail);
    this.failure = failure;
  }
}

/** One thing that a client did. Times are of `performance.now()`. */
export interface Attempt {
  readonly kind: string;
  /** What stands in the server's log lines about it: a user agent, and the client's `127.0.0.1:4711`. */
  readonly tag: string;
  readonly address: string;
  /** What it needs: `link http1`, `host h1.soak.example`. */
  readonly needs: readonly string[];
  readonly startMs: number;
  readonly endMs: number;
  readonly failure: Failure | null;
  readonly detail: string;
}

export interface Fault {
  readonly name: string;
  /** What it hits; `*` is everything. */
  readonly target: string;
  readonly explains: readonly Failure[];
  readonly startMs: number;
  /** Infinity while it is on. */
  endMs: number;
}

export interface Row {
  readonly kind: string;
  attempts: number;
  ok: number;
  explained: number;
  unexplained: number;
  vanished: number;
  readonly durationsMs: number[];
}

/** After its end a fault is felt this long: by what was on its way, and by clients that are late to look. */
const aftermathMs = 400;

export class Ledger {
  readonly faults: Fault[] = [];
  readonly #rows = new Map<string, Row>();
  readonly #onUnexplained: (attempt: Attempt) => void;

  constructor(onUnexplained: (attempt: Attempt) => void) {
    this.#onUnexplained = onUnexplained;
  }

  begin(name: string, target: string, explains: readonly Failure[]): Fault {
    const fault = { name, target, explains, startMs: performance.now(), endMs: Infinity };
    this.faults.push(fault);
    return fault;
  }

  end(fault: Fault): void {
    fault.endMs = performance.now();
  }

  get rows(): readonly Row[] {
    return [...this.#rows.values()];
  }

  row(kind: string): Row {
    let row = this.#rows.get(kind);
    if (row === undefined) {
      row = { kind, attempts: 0, ok: 0, explained: 0, unexplained: 0, vanished: 0, durationsMs: [] };
      this.#rows.set(kind, row);
    }
    return row;
  }

  record(attempt: Attempt): void {
    const row = this.row(attempt.kind);
    row.attempts++;
    if (attempt.failure === null) {
      row.ok++;
      row.durationsMs.push(attempt.endMs - attempt.startMs);
    } else if (this.faults.some((fault) => explains(fault, attempt))) {
      row.explained++;
    } else {
      row.unexplained++;
      this.#onUnexplained(attempt);
    }
  }

  vanish(kind: string): void {
    const row = this.row(kind);
    row.attempts++;
    row.vanished++;
  }
}

function explains({ target, explains: failures, startMs, endMs }: Fault, attempt: Attempt): boolean {
  return (
    attempt.failure !== null &&
    failures.includes(attempt.failure) &&
    (target === '*' || attempt.needs.includes(target)) &&
    startMs <= attempt.endMs &&
    attempt.startMs <= endMs + aftermathMs
  );
}

/** The table that a run ends with. */
export function formatRows(rows: readonly Row[]): string {
  const head = ['kind', 'attempts', 'ok', 'vanished', 'explained', 'unexplained', 'p50 ms', 'p99 ms'];
  const cells = rows.map(({ kind, attempts, ok, vanished, explained, unexplained, durationsMs }) => {
    const sorted = durationsMs.toSorted((a, b) => a - b);
    const at = (share: number): string => (sorted[Math.floor(sorted.length * share)] ?? 0).toFixed(1);
    return [kind, attempts, ok, vanished, explained, unexplained, at(0.5), at(0.99)].map(String);
  });
  const widths = head.map((name, i) => Math.max(name.length, ...cells.map((row) => row[i]!.length)));
  return [head, ...cells]
    .map((row) =>
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  '),
    )
    .join('\n');
}
