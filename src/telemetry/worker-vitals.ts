/** How a worker thread feels: how late its event loop runs and how much heap it holds, looked at every few seconds. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import type { Counter } from './metrics-cells.ts';
import type { SharedMetrics } from './metrics.ts';

const lookEveryMs = 5_000;
/** The delay is how much later than this a timer fires. */
const resolutionMs = 20;
const quantiles = [0.5, 0.99, 1] as const;

export class WorkerVitals {
  readonly #delays: readonly Counter[];
  readonly #heap: Counter;
  readonly #histogram: ReturnType<typeof monitorEventLoopDelay>;
  readonly #timer: NodeJS.Timeout;

  constructor(metrics: SharedMetrics, worker: number) {
    const name = String(worker);
    const delays = metrics.gauges('portcullis_worker_event_loop_delay_seconds');
    this.#delays = quantiles.map((quantile) => delays.at(name, String(quantile)));
    this.#heap = metrics.gauges('portcullis_worker_heap_bytes').at(name);
    this.#histogram = monitorEventLoopDelay({ resolution: resolutionMs });
    this.#histogram.enable();
    this.#timer = setInterval(() => this.look(), lookEveryMs);
    this.#timer.unref();
    this.look();
  }

  look(): void {
    for (const [at, quantile] of quantiles.entries()) {
      const nanoseconds = this.#histogram.count === 0 ? 0 : this.#histogram.percentile(quantile * 100);
      this.#delays[at]!.set(Math.max(0, nanoseconds / 1e9 - resolutionMs / 1_000));
    }
    this.#histogram.reset();
    this.#heap.set(getHeapStatistics().used_heap_size);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#histogram.disable();
  }
}
