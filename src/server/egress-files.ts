/**
 * The files and secrets that egress settings name, read by the supervisor: a bad one is refused whole, before any
 * worker learns of it.
 */
import { loadMaterials, type EgressMaterials } from '../egress/materials.ts';
import type { EgressSettings } from '../model/egress-settings.ts';
import type { ProcessSettings } from '../model/settings.ts';

/** Why egress can not run by these settings: one sentence for the operator. */
export class EgressFilesError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'EgressFilesError';
  }
}

/**
 * `listenerPorts` are those of all listeners: together with the process's own doors they are what no request may be
 * led to. Null without settings. Throws EgressFilesError.
 */
export function readEgressFiles(
  settings: EgressSettings | null,
  processSettings: ProcessSettings,
  listenerPorts: readonly number[],
): EgressMaterials | null {
  if (settings === null) return null;
  try {
    return loadMaterials(settings, process.env, [...listenerPorts, ...doorPorts(processSettings)]);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new EgressFilesError(`egress can not run: ${message}`, { cause: error });
  }
}

function doorPorts({ admin, operate }: ProcessSettings): number[] {
  const ports: number[] = [];
  for (const address of [admin.address, operate.adminHttp, operate.metrics?.address ?? null]) {
    if (address !== null && 'port' in address) ports.push(address.port);
  }
  return ports;
}
