/** mc_proxy.v1.ProxyAdminService: the same calls under the names that older scripts use. */

import type { ServiceImpl } from '@connectrpc/connect';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { Control } from './control.ts';
import type { ProxyAdminService } from './gen/mc_proxy/v1/admin_pb.ts';
import { actorIn } from './service.ts';
import {
  exactNumber,
  policyInput,
  required,
  routeInput,
  routeMessage,
  ruleInput,
  ruleMessages,
} from './translate.ts';

type Service = ServiceImpl<typeof ProxyAdminService>;

export function dropInService(control: Control): Service {
  return { ...reads(control), ...changes(control) };
}

function reads(
  control: Control,
): Pick<Service, 'getStatus' | 'listRoutes' | 'listL7Policies' | 'getFirewallRules'> {
  return {
    getStatus() {
      const { programVersion, startedAt, accepted, listeners } = control.status();
      return {
        version: programVersion,
        startedAt: timestampFromDate(startedAt),
        totalConnections: BigInt(accepted),
        listeners: listeners.map(({ name, routes, active, maxConnections }) => ({
          addr: name,
          routeCount: routes,
          activeConnections: BigInt(active),
          maxConnections: BigInt(maxConnections),
        })),
      };
    },
    listRoutes({ listenerAddr }) {
      const { name, routes } = control.listener(listenerAddr);
      return { listenerAddr: name, routes: routes.map(routeMessage) };
    },
    listL7Policies({ listenerAddr, hostname }) {
      const { policies } = control.route(listenerAddr, { hostname });
      return { policies: policies.map(policyInput) };
    },
    getFirewallRules: () => ({ rules: ruleMessages(control.config().traffic.firewall) }),
  };
}

function changes(control: Control): Omit<Service, keyof ReturnType<typeof reads>> {
  return {
    async addRoute({ listenerAddr, route }, context) {
      await control.addRoute(listenerAddr, routeInput(required(route, 'route')), actorIn(context));
      return {};
    },
    async removeRoute({ listenerAddr, hostname }, context) {
      await control.removeRoute(listenerAddr, { hostname }, actorIn(context));
      return {};
    },
    async addL7Policy({ listenerAddr, hostname, policy }, context) {
      const input = policyInput(required(policy, 'policy'));
      await control.addPolicy(listenerAddr, { hostname }, input, actorIn(context));
      return {};
    },
    async removeL7Policy({ listenerAddr, hostname, policy }, context) {
      const input = policyInput(required(policy, 'policy'));
      await control.removePolicy(listenerAddr, { hostname }, input, actorIn(context));
      return {};
    },
    async addFirewallRule({ rule }, context) {
      await control.addFirewallRule(ruleInput(required(rule, 'rule'), 'rule'), false, actorIn(context));
      return {};
    },
    async removeFirewallRule({ rule }, context) {
      await control.removeFirewallRule(ruleInput(required(rule, 'rule'), 'rule'), actorIn(context));
      return {};
    },
    async setListenerMaxConnections({ listenerAddr, maxConnections }, context) {
      const count = exactNumber(maxConnections, 'max_connections');
      await control.setListenerMaxConnections(listenerAddr, count, actorIn(context));
      return {};
    },
  };
}
