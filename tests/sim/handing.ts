import type { Delivery } from "../../lib/providers/contract.ts";
import type { Waiting } from "./agent_model.ts";
import type { ProcessModel } from "./process_model.ts";

/** Deadline of one hand-over. */
const HAND_MS = 30_000;

/**
 * Hands a delivery to a process: the bytes arrive or not, the hand-over answers, fails or hangs until its caller gives
 * up, in any combination. `arrived` is called in the process when they do.
 */
export function afterHanding(
  process: ProcessModel,
  delivery: Delivery,
  signal: AbortSignal,
  arrived: (waiting: Waiting) => void,
): Promise<void> {
  const { world } = process;
  const each = world.oracle.handing(process, delivery);
  if (!process.alive) return Promise.reject(new Error("broken pipe"));
  const { faults, random } = world;
  const { host } = world.operator;
  const arrive = (ms: number) => {
    each.handed++;
    process.later(ms, () => arrived({ deliveryId: delivery.deliveryId, case: each }));
  };
  if (faults.fires("hand.hang")) {
    if (faults.draw("hand.hang") < 0.5) arrive(random.between(1, 100));
    world.machine.later(HAND_MS + 1_000, () => {
      if (signal.aborted || !process.alive || world.operator.host !== host) return;
      world.oracle.violated("I12", `the hand-over of ${each.key} still waits after ${HAND_MS + 1_000} ms`);
    });
    return new Promise((_, reject) =>
      signal.addEventListener("abort", () => reject(signal.reason), { once: true })
    );
  }
  if (faults.fires("hand.fail")) {
    if (faults.draw("hand.fail") < 0.5) arrive(random.between(1, 10));
    return new Promise((_, reject) => world.machine.later(5, () => reject(new Error("write failed"))));
  }
  const ms = random.between(1, 5);
  arrive(ms);
  return new Promise((resolve, reject) =>
    world.machine.later(ms, () => process.alive ? resolve() : reject(new Error("broken pipe")))
  );
}
