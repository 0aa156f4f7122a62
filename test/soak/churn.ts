/**
 * An operator who never rests: routes, policies, listeners and firewall rules come and go through the admin API, and
 * routes that carry traffic are changed in ways that no client may notice. In the end everything is as it was.
 */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { HeaderRulesSchema } from '../../src/admin/gen/portcullis/v1/admin_pb.ts';
import { ipRule } from '../support/admin.ts';
import type { Random } from '../fuzz/mutation.ts';
import type { Failure, Ledger } from './ledger.ts';
import { ingressKinds } from './traffic.ts';
import { listenerAddr, type World } from './world.ts';

const kind = 'admin';
const retryMs = 50;

export class Churn {
  readonly #world: World;
  readonly #ledger: Ledger;
  readonly #random: Random;
  readonly #routesAtStart: Promise<string>;
  #number = 0;

  constructor(world: World, ledger: Ledger, random: Random) {
    this.#world = world;
    this.#ledger = ledger;
    this.#random = random;
    this.#routesAtStart = this.#routes();
  }

  /** One round, after which all is as before. */
  async round(pauseMs: number): Promise<void> {
    const { admin, links } = this.#world;
    const number = this.#number++;
    const hostname = `churn-${number}.example`;
    const backend = links.get('http1')!.address;
    const policy = { type: 'require_header', value: `x-${number}` };
    const rule = ipRule(`198.18.${(number >> 8) & 255}.${number & 255}`);
    const addr = `127.9.${(number >> 8) & 127}.${number & 255}:0`;
    for (const step of [
      () => admin.addRoute({ listenerAddr, route: { hostname, backend } }),
      () => admin.addFirewallRule({ rule, disconnect: true }),
      () => admin.updateRoute({ listenerAddr, route: { hostname, backend, sendProxyProtocol: true } }),
      () => admin.addL7Policy({ listenerAddr, hostname, policy }),
      () => admin.addListener({ listener: { addr, routes: [{ hostname, backend }] } }),
      () => admin.removeFirewallRule({ rule }),
      () => admin.removeListener({ listenerAddr: addr }),
      () => admin.removeRoute({ listenerAddr, hostname }),
    ]) {
      await this.call(step);
      await delay(pauseMs);
    }
    await this.#touchServed(number);
  }

  /** Calls until it is done, and accounts for each time. */
  async call(step: () => Promise<unknown>, ...needs: readonly string[]): Promise<void> {
    while (!(await this.#attempt(step, needs))) await delay(retryMs);
  }

  /** Throws unless every route is there that was, and nothing else. */
  async assertRestored(): Promise<void> {
    assert.equal(await this.#routes(), await this.#routesAtStart, 'routes after the run');
    const { listeners } = await this.#world.admin.listListeners({});
    assert.equal(listeners.length, 2, 'listeners after the run');
  }

  /** A route in use gets a header more, and loses it again. */
  async #touchServed(number: number): Promise<void> {
    const { admin } = this.#world;
    const { host } = ingressKinds[1 + this.#random.below(ingressKinds.length - 1)]!;
    for (const set of [[{ name: 'x-soak', value: String(number) }], []]) {
      await this.call(async () => {
        const { routes } = await admin.listRoutes({ listenerAddr });
        const route = routes.find(({ hostname }) => hostname === host);
        // Another fault has it out of service just now.
        if (route === undefined) return;
        await admin.updateRoute({
          listenerAddr,
          route: { ...route, responseHeaders: create(HeaderRulesSchema, { set }) },
        });
      }, `host ${host}`);
    }
  }

  /** Answers whether it need not be tried again. */
  async #attempt(step: () => Promise<unknown>, needs: readonly string[]): Promise<boolean> {
    const startMs = performance.now();
    let failure: Failure | null = null;
    let detail = '';
    try {
      await step();
    } catch (error) {
      failure = failureOf(error);
      detail = String(error);
    }
    const endMs = performance.now();
    const account = { kind, tag: kind, address: '', needs: ['admin', ...needs] };
    this.#ledger.record({ ...account, startMs, endMs, failure, detail });
    return failure !== 'unavailable';
  }

  async #routes(): Promise<string> {
    const { routes } = await this.#world.admin.listRoutes({ listenerAddr });
    return routes
      .map(({ hostname, backend }) => `${hostname} ${backend}`)
      .toSorted()
      .join('\n');
  }
}

function failureOf(error: unknown): Failure {
  if (!(error instanceof ConnectError)) return 'broken';
  if (error.code === Code.Unavailable) return 'unavailable';
  return error.code === Code.NotFound ? 'unrouted' : 'wrong';
}
