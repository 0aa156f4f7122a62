/** Which route a hello takes. The one place that decides it: the data path and `explain` both ask here. */
import type { Reason } from '../core/reason.ts';
import type { ListenerSnapshot, Route } from '../model/snapshot.ts';

/** The route, or why there is none. An exact name beats the longest wildcard; the default backend takes the rest. */
export function chooseRoute(listener: ListenerSnapshot, serverName: string | null): Route | Reason {
  if (serverName === null) return listener.defaultRoute ?? 'no-sni';
  return listener.routes.get(serverName)?.routes[0] ?? listener.defaultRoute ?? 'no-route';
}
