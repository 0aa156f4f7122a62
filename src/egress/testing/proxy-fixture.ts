/** A whole egress proxy in this process, on loopback, behind a real gate and real sockets; what it judged and logged. */
import { SharedCounters } from '../../core/shared-counters.ts';
import { SharedGauges } from '../../core/shared-gauges.ts';
import { Firewall } from '../../firewall/firewall.ts';
import { Gate } from '../../gate/gate.ts';
import { FlushQueue } from '../../http/flush-queue.ts';
import { HttpSessionFactory } from '../../http/session-factory.ts';
import { UpstreamPool, type PoolContext } from '../../http/upstream-pool.ts';
import type { EgressAction, EgressSettings } from '../../model/egress-settings.ts';
import { httpDefaults, type HttpSettings, type ListenerProtocol } from '../../model/http-settings.ts';
import { listenerDefaults } from '../../model/settings.ts';
import { buildSnapshot } from '../../model/snapshot.ts';
import type { Acceptor } from '../../net/channel.ts';
import { Network } from '../../net/network.ts';
import { PublicTransport } from '../../net/public-transport.ts';
import { Resolver, type ResolverOptions } from '../../net/resolver.ts';
import { OpenSslConnector } from '../../net/tls-connector.ts';
import { OpenSslTerminator } from '../../net/tls-terminator.ts';
import type { TlsIdentity } from '../../net/tls.ts';
import { ConnectionLog, type ConnectionSummary } from '../../telemetry/connection-log.ts';
import { createLogger } from '../../telemetry/logger.ts';
import { SharedMetrics } from '../../telemetry/metrics.ts';
import type { RequestSummary } from '../../telemetry/request-log.ts';
import { ConnectionMetrics } from '../../telemetry/traffic-metrics.ts';
import { Egress } from '../egress.ts';
import { loadMaterials } from '../materials.ts';
import { EgressRuntime } from '../runtime.ts';
import type { SecretEnvironment } from '../secret.ts';
import type { Judgement } from '../services.ts';

export interface FixtureOptions {
  readonly settings: EgressSettings;
  readonly environment?: SecretEnvironment;
  readonly protocol?: ListenerProtocol;
  readonly identity?: TlsIdentity;
  readonly resolver?: ResolverOptions;
  readonly http?: Partial<HttpSettings>;
  readonly helloTimeoutMs?: number;
}

/** What a log takes of a request. */
type ToldRequest = Pick<
  RequestSummary,
  | 'id'
  | 'routeId'
  | 'method'
  | 'host'
  | 'path'
  | 'status'
  | 'reason'
  | 'ruleId'
  | 'detail'
  | 'bytesIn'
  | 'bytesOut'
>;

const listenerName = '127.0.0.1:0';

export class ProxyFixture implements AsyncDisposable {
  readonly judged: Judgement[] = [];
  readonly requests: { readonly record: ToldRequest; readonly action: EgressAction | null }[] = [];
  readonly connections: ConnectionSummary[] = [];
  readonly faults: string[] = [];
  readonly egress: Egress;
  readonly gate: Gate;
  readonly pool: UpstreamPool;
  readonly #network: Network;
  readonly #resolver: Resolver;
  #acceptor: Acceptor | null = null;
  #waiting: (() => void)[] = [];

  static async start(options: FixtureOptions): Promise<ProxyFixture> {
    const fixture = new ProxyFixture(options);
    fixture.#acceptor = await fixture.#network.transport.listen('127.0.0.1', 0, (channel) => {
      fixture.gate.accept(listenerName, channel);
    });
    fixture.adopt(options.settings, options.environment);
    return fixture;
  }

  private constructor({
    settings,
    environment = {},
    protocol,
    identity,
    resolver,
    http,
    helloTimeoutMs,
  }: FixtureOptions) {
    this.#resolver = new Resolver(resolver);
    const network = new Network(new PublicTransport(), this.#resolver);
    this.#network = network;
    const flushes = new FlushQueue();
    const httpSettings = { ...httpDefaults, ...http };
    const context: PoolContext = {
      network,
      tls: new OpenSslConnector(network),
      sessions: new HttpSessionFactory(network, flushes, httpSettings),
      http: httpSettings,
      connectTimeoutMs: 2000,
      onDialEnded() {},
      onFault: (error) => void this.faults.push(String(error)),
    };
    this.pool = new UpstreamPool(context);
    const services = {
      pool: this.pool,
      flushes,
      terminator: new OpenSslTerminator(network, { secret: new Uint8Array(32), handshakesMax: 100 }),
      pseudonym: 'portcullis-test',
      onJudged: (judgement: Judgement) => void this.judged.push(judgement),
      onRequestEnd: (record: RequestSummary, action: EgressAction | null) => {
        const { id, routeId, method, host, path, status, reason, ruleId, detail, bytesIn, bytesOut } = record;
        const told = { id, routeId, method, host, path, status, reason, ruleId, detail, bytesIn, bytesOut };
        this.requests.push({ record: told, action });
        this.#wake();
      },
      onRefusal() {},
    };
    const runtime = new EgressRuntime(settings, loadMaterials(settings, environment, []), network);
    this.egress = new Egress(services, runtime, () => identity ?? null);
    this.gate = this.#makeGate(network, httpSettings, protocol ?? 'http', helloTimeoutMs ?? 2000);
    this.egress.gate = this.gate;
  }

  get port(): number {
    return this.#acceptor!.port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Other settings, from now on. */
  adopt(settings: EgressSettings, environment: SecretEnvironment = {}): void {
    const materials = loadMaterials(settings, environment, [this.port]);
    this.egress.adopt(new EgressRuntime(settings, materials, this.#network));
  }

  /** Waits until `isDone`, looked at after each end of a request or connection. */
  async until(isDone: () => boolean): Promise<void> {
    while (!isDone()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#acceptor?.close();
    this.gate.abortAll('drained');
    this.pool.drain();
    // Upstream sessions say goodbye before they close, and time has to pass for those that are not answered.
    for (let turn = 0; turn < 300 && this.pool.counts().connections > 0; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    this.#resolver.close();
    this.#network.close();
  }

  #makeGate(network: Network, http: HttpSettings, protocol: ListenerProtocol, helloTimeoutMs: number): Gate {
    const listener = {
      ...listenerDefaults,
      name: listenerName,
      address: { host: '127.0.0.1', port: 0 },
      protocol,
      routes: [],
    };
    const firewall = {
      geoipDatabase: null,
      blockedIps: [],
      blockedCidrs: [],
      blockedCountries: [],
      rateLimitExempt: [],
      rateLimit: null,
    };
    const traffic = { listeners: [listener], firewall, egress: null };
    const snapshot = buildSnapshot(1, traffic, { hashSeed: 7 });
    const output = {
      write: (line: string): void => {
        const { msg, err } = JSON.parse(line) as { msg: string; err?: { stack: string } };
        if (err !== undefined) this.faults.push(`${msg}: ${err.stack}`);
      },
    };
    const gate = new Gate(
      {
        network,
        gauges: SharedGauges.create(1),
        counters: SharedCounters.create(1),
        metrics: new ConnectionMetrics(SharedMetrics.create(1)),
        log: new ConnectionLog(output, 'error'),
        logger: createLogger({ level: 'error', output }),
        server: {
          workers: 1,
          shutdownTimeoutMs: 1000,
          connectTimeoutMs: 2000,
          idleTimeoutMs: 60_000,
          clientHelloTimeoutMs: helloTimeoutMs,
          maxConnections: 0,
          sockets: 'public',
        },
        http,
        connectionsMax: 1000,
        idPrefix: 't-',
        slotOf: () => 1,
      },
      this.egress,
      snapshot,
      new Firewall(snapshot.firewall, null),
    );
    gate.onEnd = (summary) => {
      this.connections.push(summary);
      this.#wake();
    };
    return gate;
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
