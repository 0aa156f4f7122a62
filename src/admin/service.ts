/** portcullis.v1.ProxyAdminService: each call translated, handed to `Control`, and its answer translated back. */

import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import { actorKey } from './actor.ts';
import type { Actor, Applied, Control, Precondition } from './control.ts';
import { EventQueue } from './event-queue.ts';
import type {
  ProxyAdminService,
  WatchEventsRequest,
  WatchEventsResponse,
} from './gen/portcullis/v1/admin_pb.ts';
import type { AdminLimits } from './limits.ts';
import { Seats } from './seats.ts';
import {
  auditLimit,
  auditMessage,
  configInput,
  configMessage,
  eventMessage,
  exactNumber,
  explainQuery,
  explanationMessage,
  firewallMessage,
  listenerInput,
  listenerSummary,
  policyInput,
  rateLimitInput,
  required,
  routeInput,
  routeName,
  routeMessage,
  routeUpdate,
  ruleInput,
  statusMessage,
} from './translate.ts';

/** Watches end when `shutdown` is aborted. */
export function adminService(
  control: Control,
  limits: AdminLimits,
  shutdown: AbortSignal,
): ServiceImpl<typeof ProxyAdminService> {
  const seats = new Seats('watchers', limits.watchersMax);
  return {
    ...reads(control),
    ...listenerChanges(control),
    ...routeChanges(control),
    ...firewallChanges(control),
    ...wholeConfig(control),
    watchEvents: (request, context) =>
      watchEvents(
        control,
        request,
        seats,
        limits.eventsQueuedMax,
        AbortSignal.any([context.signal, shutdown]),
      ),
  };
}

type Service = ServiceImpl<typeof ProxyAdminService>;

export function actorIn(context: HandlerContext): Actor {
  return context.values.get(actorKey);
}

function reads(
  control: Control,
): Pick<
  Service,
  | 'getStatus'
  | 'listListeners'
  | 'listRoutes'
  | 'listL7Policies'
  | 'getFirewallRules'
  | 'getConfig'
  | 'explain'
  | 'listAuditLog'
> {
  const traffic = (): ReturnType<Control['config']>['traffic'] => control.config().traffic;
  return {
    getStatus: () => statusMessage(control.status()),
    listListeners: () => ({ listeners: traffic().listeners.map(listenerSummary) }),
    listRoutes({ listenerAddr }) {
      const { name, routes } = control.listener(listenerAddr);
      const version = BigInt(control.version);
      return { listenerAddr: name, routes: routes.map(routeMessage), version };
    },
    listL7Policies: ({ listenerAddr, ...named }) => {
      return { policies: control.route(listenerAddr, routeName(named)).policies.map(policyInput) };
    },
    getFirewallRules: () => firewallMessage(traffic().firewall),
    getConfig() {
      const { version, traffic } = control.config();
      return { version: BigInt(version), config: configMessage(traffic) };
    },
    explain: (request) => ({
      explanations: control.explain(explainQuery(request)).map(explanationMessage),
    }),
    async listAuditLog({ limit }) {
      const entries = await control.audit(auditLimit(limit));
      return { entries: entries.map(auditMessage) };
    },
  };
}

function listenerChanges(
  control: Control,
): Pick<Service, 'addListener' | 'removeListener' | 'setListenerMaxConnections'> {
  return {
    addListener: ({ listener }, context) =>
      versionOf(control.addListener(listenerInput(required(listener, 'listener')), actorIn(context))),
    removeListener: ({ listenerAddr }, context) =>
      versionOf(control.removeListener(listenerAddr, actorIn(context))),
    setListenerMaxConnections: ({ listenerAddr, maxConnections }, context) =>
      versionOf(control.setListenerMaxConnections(listenerAddr, maxConnections, actorIn(context))),
  };
}

function routeChanges(
  control: Control,
): Pick<Service, 'addRoute' | 'updateRoute' | 'removeRoute' | 'addL7Policy' | 'removeL7Policy'> {
  return {
    addRoute: ({ listenerAddr, route }, context) =>
      versionOf(control.addRoute(listenerAddr, routeInput(required(route, 'route')), actorIn(context))),
    updateRoute({ listenerAddr, route, replaceL7Policies, ifVersion }, context) {
      const update = routeUpdate(required(route, 'route'), replaceL7Policies);
      return versionOf(control.updateRoute(listenerAddr, update, precondition(ifVersion), actorIn(context)));
    },
    removeRoute: ({ listenerAddr, ...named }, context) =>
      versionOf(control.removeRoute(listenerAddr, routeName(named), actorIn(context))),
    addL7Policy({ listenerAddr, policy, ...named }, context) {
      const input = policyInput(required(policy, 'policy'));
      return versionOf(control.addPolicy(listenerAddr, routeName(named), input, actorIn(context)));
    },
    removeL7Policy({ listenerAddr, policy, ...named }, context) {
      const input = policyInput(required(policy, 'policy'));
      return versionOf(control.removePolicy(listenerAddr, routeName(named), input, actorIn(context)));
    },
  };
}

function firewallChanges(
  control: Control,
): Pick<Service, 'addFirewallRule' | 'removeFirewallRule' | 'setRateLimit' | 'reloadGeoIP'> {
  return {
    async addFirewallRule({ rule, disconnect }, context) {
      const input = ruleInput(required(rule, 'rule'), 'rule');
      const { version, disconnected } = await control.addFirewallRule(input, disconnect, actorIn(context));
      return { version: BigInt(version), disconnected: BigInt(disconnected) };
    },
    removeFirewallRule: ({ rule }, context) =>
      versionOf(control.removeFirewallRule(ruleInput(required(rule, 'rule'), 'rule'), actorIn(context))),
    setRateLimit: ({ rateLimit }, context) =>
      versionOf(control.setRateLimit(rateLimitInput(required(rateLimit, 'rate_limit')), actorIn(context))),
    async reloadGeoIP(_request, context) {
      await control.reloadGeoip(actorIn(context));
      return {};
    },
  };
}

function wholeConfig(control: Control): Pick<Service, 'applyConfig' | 'snapshot'> {
  return {
    async applyConfig({ config, ifVersion, dryRun }, context) {
      const input = configInput(required(config, 'config'));
      const applied = await control.applyConfig(
        input,
        { ...precondition(ifVersion), dryRun },
        actorIn(context),
      );
      return {
        version: BigInt(applied.version),
        changes: [...applied.changes],
        warnings: [...applied.warnings],
      };
    },
    async snapshot({ path }, context) {
      const written = await control.snapshot(path, actorIn(context));
      return { path: written.path, bytes: BigInt(written.bytes) };
    },
  };
}

function precondition(ifVersion: bigint | undefined): Precondition {
  return ifVersion === undefined ? {} : { ifVersion: exactNumber(ifVersion, 'if_version') };
}

async function versionOf(applied: Promise<Applied>): Promise<{ version: bigint }> {
  return { version: BigInt((await applied).version) };
}

async function* watchEvents(
  control: Control,
  { connections, changes }: WatchEventsRequest,
  seats: Seats,
  eventsQueuedMax: number,
  ended: AbortSignal,
): AsyncGenerator<WatchEventsResponse, void, undefined> {
  const leave = seats.take();
  const queue = new EventQueue(eventsQueuedMax);
  const all = !connections && !changes;
  const filter = { connections: all || connections, changes: all || changes };
  const unwatch = control.watch(filter, (event) => queue.push(event));
  const end = (): void => queue.end();
  ended.addEventListener('abort', end, { once: true });
  if (ended.aborted) end();
  try {
    for await (const event of queue) yield eventMessage(event);
  } finally {
    ended.removeEventListener('abort', end);
    unwatch();
    leave();
  }
}
