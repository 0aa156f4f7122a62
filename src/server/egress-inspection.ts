/**
 * Tries the files and secrets that egress settings name, as `validate` and a start do before anything runs: a keystore
 * that does not open or a CA that may not sign is then a problem of the configuration, told with its place.
 */
import type { EgressFault, EgressPart, LoadOptions } from '../config/load.ts';
import { loadMaterials } from '../egress/materials.ts';
import type { SecretEnvironment } from '../egress/secret.ts';
import { egressDefaults, type EgressSettings } from '../model/egress-settings.ts';

export function inspectEgress(environment: SecretEnvironment): NonNullable<LoadOptions['inspectEgress']> {
  return (egress) => {
    const faults: EgressFault[] = [];
    for (const [part, settings] of Object.entries(partsOf(egress)) as [EgressPart, EgressSettings][]) {
      const fault = faultOf(settings, environment);
      if (fault !== null) faults.push({ part, fault });
    }
    return faults;
  };
}

/** Each part alone, so that one that fails hides no other. */
function partsOf(egress: EgressSettings): Readonly<Record<EgressPart, EgressSettings>> {
  const { authority, outgoing, credentials, clients, parents } = egress;
  return {
    authority: { ...egressDefaults, authority },
    outgoing: { ...egressDefaults, outgoing },
    secrets: { ...egressDefaults, credentials, clients, parents },
  };
}

function faultOf(settings: EgressSettings, environment: SecretEnvironment): string | null {
  try {
    loadMaterials(settings, environment, []);
    return null;
  } catch (error) {
    // Whatever a file made a parser say is the operator's to read, not a reason to show him a stack.
    return error instanceof Error ? error.message : String(error);
  }
}
