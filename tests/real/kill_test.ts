import { DatabaseSync } from "node:sqlite";
import { join } from "@std/path";
import { assert, assertEquals } from "@std/assert";
import { RelayHttpClient } from "agent-relay-sdk";
import type { Receipt } from "../../lib/protocol/message.ts";
import type { MockReply, MockRequest } from "../support/mock_model.ts";
import { type RealAgent, withRealAgent } from "../support/real_home.ts";
import { describeProcesses, processesWith } from "../support/runner_process.ts";
import { stagesOf } from "../support/seat.ts";
import { until } from "../support/temp.ts";

/** Kills wanted that found a message handed or placed, and not seen. */
const WANTED = 20;
/** Attempts at most: a kill that came too early or too late counts as none. */
const MOST = 40;
/** Agents at a time, each with a home, a relay and a model of its own. */
const LANES = 4;

/** When the runner is killed. */
interface Moment {
  /**
   * `handed`: as soon as the relay knows of it, which is before, or just as, the model is asked. `asked`: the model has
   * been asked and says nothing. `unread`: the agent is stopped, so that the message lies in its channel.
   */
  after: "handed" | "asked" | "unread";
  waitMs: number;
}

const MOMENTS: readonly Moment[] = [
  { after: "handed", waitMs: 0 },
  { after: "asked", waitMs: 0 },
  { after: "handed", waitMs: 40 },
  { after: "asked", waitMs: 250 },
];

/** Codex answers for what it took, so that there is nothing handed that it has not read. */
const MOMENTS_OF: Record<"claude" | "codex", readonly Moment[]> = {
  claude: [{ after: "unread", waitMs: 0 }, ...MOMENTS],
  codex: MOMENTS,
};

interface Tally {
  kills: number;
  inWindow: number;
  handed: number;
  placed: number;
  lost: number;
  seenTwice: number;
}

/** One agent that is killed again and again while its relay lives on. */
class Victim {
  readonly #agent: RealAgent;
  readonly #http: RelayHttpClient;
  /** Answers by marker. Only these count as seen: a request that was cut before a word of answer showed nothing. */
  readonly answered = new Map<string, number>();
  #held: { marker: string; cut: PromiseWithResolvers<void> } | null = null;

  constructor(agent: RealAgent) {
    this.#agent = agent;
    const token = Deno.readTextFileSync(join(agent.home.home, "relay.token")).trim();
    this.#http = new RelayHttpClient({ url: `http://127.0.0.1:${agent.home.port}`, token: () => token });
    agent.model.decide = (request) => this.#decide(request);
  }

  /** The model holds its answer to the message that is about to be cut off, and answers every other one. */
  async #decide(request: MockRequest): Promise<MockReply | null> {
    const marker = request.text.match(/\bkill-\w+\b/g)?.at(-1);
    if (marker === undefined) return null;
    if (this.#held?.marker === marker) {
      await this.#held.cut.promise;
      return { kind: "error", status: 500 };
    }
    // Of several markers the newest is asked for; the others are in the conversation since a turn was cut off.
    this.answered.set(marker, (this.answered.get(marker) ?? 0) + 1);
    return { kind: "say", text: `answer to ${marker}` };
  }

  async receipt(id: number): Promise<Receipt> {
    const result = await this.#http.receipt(id);
    if (!result.ok) throw new Error(result.message);
    return result.value;
  }

  /** Sends a message that is held at the model, and resolves at the moment of the kill. */
  async catch(marker: string, moment: Moment): Promise<number> {
    if (moment.after === "unread") { for (const pid of await this.agents()) Deno.kill(pid, "SIGSTOP"); }
    this.#held = { marker, cut: Promise.withResolvers() };
    const sent = await this.#http.send({
      from: "tester",
      to: "label:api",
      body: `please ${marker}`,
      idempotencyKey: crypto.randomUUID(),
    });
    if (!sent.ok) throw new Error(sent.message);
    const { id } = sent.value.message;
    if (moment.after === "asked") await this.#agent.model.untilAsked(marker);
    else {
      await until(
        "the hand-over",
        async () => stagesOf(await this.receipt(id)).some((each) => each !== "received"),
      );
    }
    if (moment.waitMs > 0) await new Promise((resolve) => setTimeout(resolve, moment.waitMs));
    return id;
  }

  /** Processes of the agent. */
  agents(): Promise<number[]> {
    return processesWith(`AGENT_RELAY_CONTROL_FILE=${this.#agent.home.home}`);
  }

  /** The agent of the killed runner is gone: whatever asks the model now is answered. */
  release(): void {
    this.#held!.cut.resolve();
    this.#held = null;
  }

  /** State of a message in the journal of the runner that was killed. */
  journaled(id: number): string | null {
    for (const { name } of Deno.readDirSync(join(this.#agent.home.home, "state"))) {
      const path = join(this.#agent.home.home, "state", name, "journal.db");
      const db = new DatabaseSync(path, { readOnly: true });
      try {
        const row = db.prepare("SELECT state FROM message WHERE ordinal = ?").get(id) as
          | { state: string }
          | undefined;
        if (row !== undefined) return row.state;
      } finally {
        db.close();
      }
    }
    return null;
  }
}

async function lane(provider: "claude" | "codex", number: number, tally: Tally): Promise<void> {
  await withRealAgent(provider, async (agent) => {
    const { home } = agent;
    const relay = home.start(["relay"]);
    await until("the relay", () => {
      if (relay.err !== "") throw new Error(relay.err);
      return relay.out.includes("\n");
    });
    const victim = new Victim(agent);
    const moments = MOMENTS_OF[provider];
    const start = () => home.start([provider, "--headless", "--label", "api"]);
    let runner = start();
    await home.untilReady("api");
    for (let i = 0; tally.inWindow < WANTED && tally.kills < MOST; i++) {
      const moment = moments[(number + i) % moments.length]!;
      const marker = `kill-${number}x${i}`;
      const id = await victim.catch(marker, moment);
      runner.kill("SIGKILL");
      await runner.ended();
      tally.kills++;
      // The relay cannot have heard more than the runner wrote down, and the runner hears of the model last of all.
      const stages = stagesOf(await victim.receipt(id));
      const state = victim.journaled(id);
      const found = state === "placed" || (state === "delivering" && stages.includes("handed"));
      if (found && !stages.includes("seen")) {
        tally.inWindow++;
        tally[state === "placed" ? "placed" : "handed"]++;
      }
      await until("the end of the agent", async () => (await victim.agents()).length === 0);
      victim.release();
      runner = start();
      const acked = await until(
        `the ack of ${marker}`,
        async () => (await victim.receipt(id)).recipients[0]!.read,
        60_000,
      ).then(() => true, () => false);
      if (!acked || !victim.answered.has(marker)) tally.lost++;
      // The stage travels apart from the ack.
      if (acked) await until("the stage", async () => stagesOf(await victim.receipt(id)).includes("seen"));
      // The next one goes to an agent at rest, so that its kill finds one message and not two.
      await until("an idle agent", async () => (await home.agents())[0]?.status === "idle", 30_000);
    }
    runner.kill("SIGTERM");
    assertEquals(await runner.ended(), 0, runner.err);
    // Counted when all is over: a second delivery may come late.
    for (const times of victim.answered.values()) if (times > 1) tally.seenTwice++;
    relay.kill("SIGTERM");
    assertEquals(await relay.ended(), 0, relay.err);
    assertEquals(await describeProcesses(await victim.agents()), []);
  });
}

for (const provider of ["claude", "codex"] as const) {
  /**
   * What counts as seen by the model: a request whose newest user text carries the marker and that was answered. The
   * request that hangs at the time of the kill gets no word of an answer, and its connection dies with the agent; when
   * the message is then asked for again, by the agent itself or after a new delivery, the model sees it for the first
   * time. Two answered requests for one message would be a duplicate.
   */
  Deno.test(`${provider}: SIGKILL of the runner between handed and seen loses nothing and doubles nothing`, async () => {
    const tally: Tally = { kills: 0, inWindow: 0, handed: 0, placed: 0, lost: 0, seenTwice: 0 };
    await Promise.all(Array.from({ length: LANES }, (_, number) => lane(provider, number, tally)));
    const { kills, inWindow, handed, placed, lost, seenTwice } = tally;
    const line = {
      test: "kill",
      provider,
      kills,
      kills_in_window: inWindow,
      handed,
      placed,
      lost,
      seen_twice: seenTwice,
    };
    Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(line) + "\n"));
    assert(
      inWindow >= WANTED,
      `only ${inWindow} of ${kills} kills found a message handed or placed, and not seen`,
    );
    assert(placed > 0 && (provider === "codex" || handed > 0), "both stages have to be met");
    assertEquals([lost, seenTwice], [0, 0]);
  });
}
