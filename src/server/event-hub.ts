/** Who watches what happens. Workers are told to report ended connections only while somebody wants them. */
import type { ControlEvent, EventFilter } from '../admin/control.ts';
import type { ConnectionSummary } from '../telemetry/connection-log.ts';
import type { EndedObserver } from './supervisor.ts';

interface Watcher {
  readonly filter: EventFilter;
  readonly observe: (event: ControlEvent) => void;
}

export class EventHub {
  readonly #setSource: (observe: EndedObserver | null) => void;
  readonly #watchers = new Set<Watcher>();

  /** `setSource` switches the report of ended connections on and off. */
  constructor(setSource: (observe: EndedObserver | null) => void) {
    this.#setSource = setSource;
  }

  /** Calls `observe` from now on, until the answered function is called. */
  watch(filter: EventFilter, observe: (event: ControlEvent) => void): () => void {
    const watcher = { filter, observe };
    this.#watchers.add(watcher);
    this.#switchSource();
    return () => {
      this.#watchers.delete(watcher);
      this.#switchSource();
    };
  }

  emit(event: ControlEvent): void {
    for (const { filter, observe } of this.#watchers) {
      const isWanted = event.kind === 'change' ? filter.changes : filter.connections;
      if (isWanted) observe(event);
    }
  }

  #switchSource(): void {
    const isWanted = [...this.#watchers].some(({ filter }) => filter.connections);
    this.#setSource(isWanted ? (summaries, missed) => this.#onEnded(summaries, missed) : null);
  }

  #onEnded(summaries: readonly ConnectionSummary[], missed: number): void {
    for (const summary of summaries) this.emit(connectionEvent(summary));
    if (missed > 0) this.emit({ kind: 'missed', count: missed });
  }
}

function connectionEvent(summary: ConnectionSummary): ControlEvent {
  return {
    kind: 'connection',
    at: new Date(),
    id: String(summary.id),
    client: summary.client,
    listener: summary.listener,
    sni: summary.sni,
    route: summary.route,
    backend: summary.backend,
    bytesIn: summary.bytesIn,
    bytesOut: summary.bytesOut,
    durationMs: summary.durationMs,
    verdict: summary.verdict,
    reason: summary.reason,
    rule: summary.rule,
  };
}
