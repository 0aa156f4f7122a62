/** The HTTP addresses for operators: opened with the server, handed to a successor, closed last. */
import { adminPages, metricsPages } from '../admin/http-admin.ts';
import { HttpDoor, type Pages } from '../admin/http-door.ts';
import { httpLimits } from '../admin/http-limits.ts';
import type { Control } from '../admin/control.ts';
import type { Operations } from '../admin/operations.ts';
import type { OperateSettings } from '../model/operate-settings.ts';
import type { AdminAddress } from '../model/settings.ts';
import type { Logger } from '../telemetry/logger.ts';
import { EnvironmentError } from './ledger.ts';

export const doorNames = ['metrics', 'admin'] as const;
export type DoorName = (typeof doorNames)[number];

export interface DoorsOptions {
  readonly settings: OperateSettings;
  readonly operations: Operations;
  readonly control: Control;
  readonly logger: Logger;
  /** Listening sockets of a predecessor. */
  readonly inherited: ReadonlyMap<DoorName, number>;
}

export class Doors {
  readonly #doors = new Map<DoorName, HttpDoor>();

  /** Throws EnvironmentError with none left open. */
  static async open(options: DoorsOptions): Promise<Doors> {
    const doors = new Doors();
    const { settings, operations, control } = options;
    const { metrics, adminHttp } = settings;
    try {
      if (metrics.address !== null) {
        const address = { kind: 'tcp', ...metrics.address } as const;
        await doors.#open('metrics', address, metricsPages(metrics.path, operations), options);
      }
      if (adminHttp !== null) {
        await doors.#open('admin', adminHttp, adminPages(operations, control, httpLimits), options);
      }
      return doors;
    } catch (error) {
      await doors.close(0);
      throw error;
    }
  }

  /** Where one answers, with the real port; null: nowhere. */
  address(name: DoorName): string | null {
    return this.#doors.get(name)?.address ?? null;
  }

  /** What a successor can take over. A Unix socket it binds anew: its file goes with the old one. */
  sockets(): ReadonlyMap<DoorName, number> {
    const sockets = new Map<DoorName, number>();
    for (const [name, { fd }] of this.#doors) if (fd !== null) sockets.set(name, fd);
    return sockets;
  }

  async close(graceMs: number): Promise<void> {
    await Promise.all([...this.#doors.values()].map((door) => door.close(graceMs)));
  }

  async #open(
    name: DoorName,
    address: AdminAddress,
    pages: Pages,
    { logger, inherited }: DoorsOptions,
  ): Promise<void> {
    try {
      const door = await HttpDoor.open({
        name,
        address,
        pages,
        guardsHost: name === 'admin',
        limits: httpLimits,
        logger,
        inheritedFd: inherited.get(name) ?? null,
      });
      this.#doors.set(name, door);
    } catch (error) {
      const setting = name === 'admin' ? 'admin.http_addr' : 'metrics.addr';
      throw new EnvironmentError(`${setting}: ${(error as Error).message}`, { cause: error });
    }
  }
}
