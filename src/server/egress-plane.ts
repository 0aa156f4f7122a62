/**
 * Egress in a worker: the gateway as the current settings and materials have it, what it counts, and the log of
 * what it refused. Without egress settings there is no gateway, and no listener that would need one.
 */
import type { Reason } from '../core/reason.ts';
import { reasons } from '../core/reason.ts';
import { BlockedLog } from '../egress/blocked-log.ts';
import { Egress } from '../egress/egress.ts';
import type { EgressMaterials } from '../egress/materials.ts';
import { EgressRuntime } from '../egress/runtime.ts';
import type { EgressServices, Judgement } from '../egress/services.ts';
import type { Gate } from '../gate/gate.ts';
import type { DownstreamFacts } from '../http/exchange-context.ts';
import type { HttpVersion } from '../http/stream.ts';
import type { EgressAction, EgressSettings } from '../model/egress-settings.ts';
import type { Network } from '../net/network.ts';
import type { TlsIdentity } from '../net/tls.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { RequestLog, RequestSummary } from '../telemetry/request-log.ts';
import type { EgressMetrics } from '../telemetry/traffic-metrics.ts';
import type { HttpPlane } from './http-plane.ts';

/** By ALPN on a listener with a certificate of its own. */
const protocols = ['h2', 'http/1.1'];

export interface EgressPlaneOptions {
  readonly network: Network;
  readonly http: HttpPlane;
  readonly log: RequestLog;
  readonly logger: Logger;
  readonly metrics: EgressMetrics;
}

export class EgressPlane implements EgressServices {
  readonly pool: EgressServices['pool'];
  readonly flushes: EgressServices['flushes'];
  readonly terminator: EgressServices['terminator'];
  readonly pseudonym: string;
  readonly #network: Network;
  readonly #http: HttpPlane;
  readonly #log: RequestLog;
  readonly #logger: Logger;
  readonly #metrics: EgressMetrics;
  #gate: Gate | null = null;
  #egress: Egress | null = null;
  #blockedPath: string | null = null;
  #blockedLog: BlockedLog | null = null;

  constructor({ network, http, log, logger, metrics }: EgressPlaneOptions) {
    this.pool = http.pool;
    this.flushes = http.flushes;
    this.terminator = http.terminator;
    this.pseudonym = http.pseudonym;
    this.#network = network;
    this.#http = http;
    this.#log = log;
    this.#logger = logger;
    this.#metrics = metrics;
  }

  /** Once the gate exists. */
  set gate(gate: Gate) {
    this.#gate = gate;
    if (this.#egress !== null) this.#egress.gate = gate;
  }

  /** The gateway; null while no version has egress settings. */
  get handler(): Egress | null {
    return this.#egress;
  }

  /** What requests from now on are judged by. Both null: there is no egress any more; what is under way goes on. */
  adopt(settings: EgressSettings | null, materials: EgressMaterials | null): void {
    if (settings === null || materials === null) return;
    const runtime = new EgressRuntime(settings, materials, this.#network);
    if (this.#egress === null) {
      this.#egress = new Egress(this, runtime, (listener) => this.#identityOf(listener));
      if (this.#gate !== null) this.#egress.gate = this.#gate;
    } else {
      this.#egress.adopt(runtime);
    }
    this.#openBlockedLog(settings.blockedLog);
  }

  /** A rotator has moved the file away. */
  reopenLogs(): void {
    try {
      this.#blockedLog?.reopen();
    } catch (error) {
      this.#logger.error('the log of what was refused can not be opened again, the old file stays', {
        path: this.#blockedPath,
        reason: error instanceof Error ? error.message : String(error),
      });
    }
  }

  close(): void {
    this.#blockedLog?.close();
    this.#blockedLog = null;
  }

  /** A connection came to a listener of egress. */
  opened(): void {
    this.#metrics.opened();
  }

  closed(): void {
    this.#metrics.closed();
  }

  onJudged(judgement: Judgement): void {
    const { verdict, host } = judgement;
    this.#metrics.judged(verdict.pattern ?? host, verdict.action);
    this.#blockedLog?.write(judgement);
  }

  onRequestEnd(record: RequestSummary, action: EgressAction | null): void {
    const { status, reason, bytesIn, bytesOut, totalMs, id } = record;
    this.#log.write(record, action);
    this.#metrics.bytes(bytesIn, bytesOut);
    if (status > 0) this.#metrics.response(status);
    if (reasons[reason].outcome === 'failed') this.#metrics.upstreamError(reason);
    if (action !== null) this.#metrics.request(action, totalMs, id, this.#network.nowMs);
  }

  onRefusal(
    facts: DownstreamFacts,
    version: HttpVersion,
    reason: Reason,
    status: number,
    detail: string | undefined,
  ): void {
    this.#http.onRefusal(facts, version, reason, status, detail);
  }

  #identityOf(listener: string): TlsIdentity | null {
    const tls = this.#gate!.snapshot.listeners.get(listener)?.settings.tls ?? null;
    if (tls === null) return null;
    const identity = this.#http.certificates.identity(tls, protocols);
    return typeof identity === 'string' ? null : identity;
  }

  #openBlockedLog(path: string | null): void {
    if (path === this.#blockedPath) return;
    this.#blockedLog?.close();
    this.#blockedLog = null;
    this.#blockedPath = path;
    if (path === null) return;
    try {
      this.#blockedLog = new BlockedLog(path);
    } catch (error) {
      this.#logger.error('the log of what was refused can not be opened', {
        path,
        reason: error instanceof Error ? error.message : String(error),
      });
    }
  }
}
