import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { CoreWorld, message, STORE } from "./core_world.ts";

/** What one direct message may have gone through, as a person would tell it. */
type Life = "away" | "waits" | "with the agent" | "seen" | "over";

/** The reference: two messages, one agent that takes one at a time. */
class Reference {
  readonly lives = new Map<number, Life>([[1, "away"], [2, "away"], [3, "away"]]);
  alive = true;

  get busyWith(): number | undefined {
    return [...this.lives].find(([, life]) => life === "with the agent" || life === "seen")?.[0];
  }

  /** The agent takes the oldest message that waits. */
  settle(): void {
    if (!this.alive || this.busyWith !== undefined) return;
    const next = [...this.lives].find(([, life]) => life === "waits");
    if (next !== undefined) this.lives.set(next[0], "with the agent");
  }
}

type Step = fc.Command<Reference, CoreWorld>;

/** Steps that were taken, by name. */
const taken = new Map<string, number>();

/** Compares what the core believes with the reference after every step. */
function compare(model: Reference, real: CoreWorld): void {
  model.settle();
  for (const [id, life] of model.lives) {
    const state = real.row(id)?.state.state;
    if (life === "waits") assertEquals(state, "received");
    else if (life === "with the agent") {
      assert(state === "delivering" || state === "placed", `${id}: ${state}`);
    } else if (life === "seen") assertEquals(state, "seen");
  }
  for (const { messageId } of real.of("ack")) {
    const life = model.lives.get(messageId);
    assert(life === "seen" || life === "over", `message ${messageId} is acked while it is ${life}`);
  }
  assert(real.state.flight.size <= 1, "one at a time");
}

function command(
  name: string,
  check: (model: Reference) => boolean,
  run: (model: Reference, real: CoreWorld) => void,
): Step {
  return {
    check: (model) => check(model),
    run(model, real) {
      taken.set(name.replace(/\d+/g, "N"), (taken.get(name.replace(/\d+/g, "N")) ?? 0) + 1);
      run(model, real);
      compare(model, real);
    },
    toString: () => name,
  };
}

const end = (id: number, real: CoreWorld) => {
  real.post({ type: "acked", keys: [`${STORE}/${id}`] });
};

const steps = [
  fc.integer({ min: 1, max: 3 }).map((id) =>
    command(`offer ${id}`, () => true, (model, real) => {
      real.post({ type: "offered", message: message(id) });
      if (model.lives.get(id) === "away") model.lives.set(id, "waits");
    })
  ),
  fc.constant(command("placed", (model) => model.alive && model.busyWith !== undefined, (_, real) => {
    real.provider({ type: "evidence", deliveryId: real.delivery, stage: "placed", evidence: "p" });
  })),
  fc.constant(command("seen", (model) => model.alive && model.busyWith !== undefined, (model, real) => {
    real.provider({ type: "evidence", deliveryId: real.delivery, stage: "seen", evidence: "s" });
    model.lives.set(model.busyWith!, "seen");
  })),
  fc.constant(command("done", (model) => model.alive && model.busyWith !== undefined, (model, real) => {
    const id = model.busyWith!;
    real.provider({ type: "evidence", deliveryId: real.delivery, stage: "seen", evidence: "s" });
    real.provider({ type: "done", deliveryIds: [real.delivery], text: "", evidence: "d" });
    model.lives.set(id, "over");
    end(id, real);
  })),
  fc.constant(command("late evidence of nothing", () => true, (_, real) => {
    real.provider({ type: "evidence", deliveryId: "somebody-else", stage: "seen", evidence: "s" });
  })),
  fc.constant(command("ack fails", () => true, (_, real) => {
    real.post({ type: "ack.failed", keys: [`${STORE}/1`, `${STORE}/2`], reason: "503" });
  })),
  fc.constant(command("relay away and back", () => true, (_, real) => {
    real.post({ type: "bus.down", reason: "cut", auth: false });
    real.post({ type: "bus.up", storeId: STORE });
  })),
  fc.integer({ min: 1, max: 30_000 }).map((ms) =>
    command(`${ms} ms pass`, (model) => model.busyWith === undefined, (_, real) => {
      real.after(ms);
    })
  ),
];

Deno.test("the core and a small reference agree on every life of a message, 2,000 runs of 50 steps", () => {
  let ran = 0;
  fc.assert(
    fc.property(fc.commands(steps, { maxCommands: 50, size: "max" }), (commands) => {
      fc.modelRun(() => {
        ran++;
        return { model: new Reference(), real: new CoreWorld().up() };
      }, commands);
    }),
    { numRuns: 2_000, verbose: 1 },
  );
  assert(ran >= 2_000, `${ran} runs`);
  const all = [...taken.values()].reduce((sum, count) => sum + count, 0);
  assert(all >= 20_000, `${all} steps`);
  assertEquals(taken.size, steps.length, [...taken.keys()].join(", "));
  for (const [name, count] of taken) assert(count >= 500, `${name} only ${count} times`);
});
