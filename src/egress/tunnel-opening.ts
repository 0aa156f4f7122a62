/**
 * From a tunnel that was judged to one that runs. Where its bytes are relayed the target is dialled first, so that a
 * client learns by an answer, not by silence, that there is none.
 */
import type { Reason } from '../core/reason.ts';
import type { Channel } from '../net/channel.ts';
import { credentialsFor, type Subject, type Verdict } from './decision.ts';
import type { EgressHost } from './http-face.ts';
import type { EgressPolicy } from './policy.ts';
import type { EgressRuntime } from './runtime.ts';
import { wayOf } from './runtime.ts';
import type { Target } from './target.ts';

export interface OpeningObserver {
  /** `upstream` is what to relay to, paused; null: TLS ends here. */
  onOpen(upstream: Channel | null): void;
  onNotOpened(reason: Reason, detail: string | undefined): void;
}

/** A tunnel that is being opened. */
export interface Opening {
  cancel(): void;
}

const settled: Opening = { cancel() {} };

/** Calls back exactly once, perhaps before it returns, unless it is cancelled. */
export function openTunnel(
  host: EgressHost,
  runtime: EgressRuntime,
  target: Target,
  subject: Subject,
  verdict: Verdict,
  observer: OpeningObserver,
): Opening {
  if (runtime.authority !== null && !verdict.isPassthrough) {
    observer.onOpen(null);
    return settled;
  }
  // Without a CA a name may still be relayed, as long as no rule wants to see what is inside.
  if (!verdict.isPassthrough && needsInspection(runtime.policy, subject, verdict)) {
    observer.onNotOpened('authority-unavailable', undefined);
    return settled;
  }
  const { destination } = wayOf(target, verdict, false);
  return runtime.dialer(target.host, destination).dial(host.gate.context.server.connectTimeoutMs, {
    onDialed: (channel) => observer.onOpen(channel),
    onDialFailed: (reason, detail) => observer.onNotOpened(reason, detail),
    onDialFault: (error) => {
      host.gate.reportFault(error);
      observer.onNotOpened('internal-error', undefined);
    },
  });
}

/** Whether a rule speaks of methods, paths or headers, or adds something. */
export function needsInspection(policy: EgressPolicy, subject: Subject, { rewrite }: Verdict): boolean {
  const { host } = subject;
  const lists = [...policy.whitelist.matching(host), ...policy.blacklist.matching(host)];
  if (lists.some(({ methods, path }) => methods !== null || path !== null)) return true;
  if (policy.rewrites.matching(host).some(({ path }) => path !== null)) return true;
  if (credentialsFor(policy, subject).length > 0) return true;
  if (rewrite === null) return false;
  const { headers, dropHeaders, targetScheme } = rewrite.settings;
  return headers.length > 0 || dropHeaders.length > 0 || (targetScheme !== null && targetScheme !== 'https');
}
