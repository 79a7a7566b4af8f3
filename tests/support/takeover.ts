import { join } from "@std/path";
import { deliveryIdOf } from "../../lib/base/uuid.ts";
import { ECHO_RECORD } from "../../lib/providers/echo/protocol.ts";
import type { Receipt } from "../../lib/protocol/message.ts";
import { RelayHttpClient } from "../../lib/sdk/mod.ts";
import type { RunningCommand, TestHome } from "./runner_process.ts";
import { until } from "./temp.ts";

const HOSTS = ["host-1", "host-2", "host-3"];
const WORKERS = ["worker-1", "worker-2"];
const SENDERS = 4;
/** A take-over, with 25 times the promised 2 s: the machine may be busy with other tests. */
const TAKEOVER_MS = 50_000;

/** What a run of take-overs did and found. */
export interface TakeoverReport {
  takeovers: number;
  killed: number;
  yielded: number;
  /** Sends that were answered with 201, or with 200 for a key whose first answer was lost. */
  accepted: number;
  claimable: number;
  /** Sends without an answer, each repeated under its key. */
  unanswered: number;
  /** Take-overs during which sends were refused or cut and later accepted: the load that met one. */
  underLoad: number;
  lost: number;
  claimedTwice: number;
  slowestMs: number;
}

/**
 * Lets runners of one home take the relay over from each other `times` times, by SIGKILL of the serving process and by
 * `runner relay` asking it to yield, while senders send; then waits until everything that was accepted is done.
 */
export async function takeovers(home: TestHome, times: number): Promise<TakeoverReport> {
  const url = `http://127.0.0.1:${home.port}`;
  const running = new Map<string, RunningCommand>();
  const startedAt = new Map<string, string>();
  const startHost = (name: string) => {
    startedAt.set(name, new Date().toISOString());
    running.set(name, home.start(["echo", "--headless", "--agent-id", name]));
  };
  /** The host that says in its log that it serves, among those that live. */
  const serving = (): string | undefined =>
    HOSTS.flatMap((name) => {
      const at = running.has(name) ? servedSince(home, name) : undefined;
      return at !== undefined && at >= startedAt.get(name)! ? [{ name, at }] : [];
    }).sort((a, b) => a.at < b.at ? 1 : -1)[0]?.name;

  for (const name of HOSTS) startHost(name);
  await until("a relay", () => serving() !== undefined, TAKEOVER_MS);
  const token = Deno.readTextFileSync(join(home.home, "relay.token")).trim();
  const http = new RelayHttpClient({ url, token });
  for (const name of WORKERS) {
    running.set(
      name,
      home.start(["echo", "--headless", "--agent-id", name], {
        env: { AGENT_RELAY_URL: url, AGENT_RELAY_TOKEN: token, AGENT_RELAY_CAPS: "work" },
      }),
    );
  }
  const targets = [...WORKERS, ...HOSTS];
  for (const name of targets) {
    await until(`${name} on the bus`, async () => (await http.getAgent(name)).ok, TAKEOVER_MS);
  }
  const load = startLoad(http, targets);
  const report = { takeovers: 0, killed: 0, yielded: 0, underLoad: 0, slowestMs: 0 };
  let relay: RunningCommand | null = null;
  for (let i = 0; i < times; i++) {
    const before = load.accepted.size;
    await until("load before the take-over", () => load.accepted.size >= before + 20, TAKEOVER_MS);
    const unanswered = load.unanswered;
    const began = performance.now();
    if (relay !== null) {
      await relay.kill9();
      relay = null;
      report.killed++;
    } else if (i % 5 === 3) {
      relay = home.start(["relay", "--json"]);
      const asked = relay;
      await until("the relay that took over", () => asked.out.includes("\n"), TAKEOVER_MS)
        .catch((error) => Promise.reject(new Error(`${error.message}: ${asked.err}`)));
      report.yielded++;
    } else {
      const name = serving();
      if (name === undefined) throw new Error("nobody says that it serves");
      await running.get(name)!.kill9();
      running.delete(name);
      report.killed++;
      startHost(name);
    }
    const accepted = load.accepted.size;
    await until("sends after the take-over", () => load.accepted.size > accepted + 2 * SENDERS, TAKEOVER_MS);
    report.slowestMs = Math.max(report.slowestMs, Math.round(performance.now() - began));
    report.takeovers++;
    if (load.unanswered > unanswered) report.underLoad++;
  }
  await load.stop();
  const receipts = await settled(http, [...load.accepted.keys()]);
  const lost = receipts.filter((receipt) => !isDone(home, receipt)).length;
  const claimedTwice =
    receipts.filter((receipt) => receipt.message.claimable && doneBy(home, receipt).length > 1).length;
  for (const each of [...running.values(), ...(relay === null ? [] : [relay])]) each.kill("SIGTERM");
  for (const each of running.values()) await each.ended();
  await relay?.ended();
  return {
    ...report,
    accepted: load.accepted.size,
    claimable: receipts.filter((receipt) => receipt.message.claimable).length,
    unanswered: load.unanswered,
    lost,
    claimedTwice,
  };
}

/** When a host last said that it serves the relay. */
function servedSince(home: TestHome, name: string): string | undefined {
  let text: string;
  try {
    text = Deno.readTextFileSync(join(home.home, "logs", `${name}.log`));
  } catch {
    return undefined;
  }
  const line = text.split("\n").findLast((each) => each.includes('"serving the relay"'));
  return line === undefined ? undefined : (JSON.parse(line) as { at: string }).at;
}

/** Sends mail and claimable work until it is stopped, each under a key of its own, again and again until accepted. */
function startLoad(http: RelayHttpClient, targets: string[]) {
  const accepted = new Map<number, string>();
  let unanswered = 0;
  let stopping = false;
  let next = 0;
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const sender = async () => {
    while (!stopping) {
      const n = next++;
      const work = n % 3 === 0;
      const to = work ? "cap:work" : targets[n % targets.length]!;
      const input = {
        from: "load",
        to,
        body: `message ${n}`,
        claimable: work,
        idempotencyKey: `load-${n}`,
        queue: true,
      };
      for (;;) {
        const sent = await http.send(input);
        if (sent.ok) {
          accepted.set(sent.value.message.id, sent.value.message.storeId);
          break;
        }
        unanswered++;
        await pause(20);
      }
      await pause(10);
    }
  };
  const senders = Array.from({ length: SENDERS }, sender);
  return {
    accepted,
    get unanswered() {
      return unanswered;
    },
    async stop() {
      stopping = true;
      await Promise.all(senders);
    },
  };
}

/** The receipts of all messages, once each is read by whoever it was for, or when that takes too long. */
async function settled(http: RelayHttpClient, ids: number[]): Promise<Receipt[]> {
  const receipts = new Map<number, Receipt>();
  // A claim whose holder was killed lapses after a minute.
  const deadline = performance.now() + 150_000;
  for (const id of ids) {
    for (;;) {
      const result = await http.receipt(id);
      if (result.ok) receipts.set(id, result.value);
      const recipients = result.ok ? result.value.recipients : [];
      const read = recipients.filter((each) => each.read).length;
      const enough = result.ok && result.value.message.claimable ? read > 0 : read === recipients.length;
      if ((result.ok && recipients.length > 0 && enough) || performance.now() > deadline) break;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  return ids.map((id) => receipts.get(id)!);
}

/** True when the record of the agent that was to get it, or of one that could claim it, has the message. */
function isDone(home: TestHome, receipt: Receipt | undefined): boolean {
  if (receipt === undefined) return false;
  const done = doneBy(home, receipt);
  return receipt.message.claimable
    ? done.length > 0
    : receipt.recipients.every(({ agentId }) => done.includes(agentId));
}

const records = new Map<string, Set<string>>();

/** Agents whose own record has the message, whatever the relay was told. */
function doneBy(home: TestHome, { message, recipients }: Receipt): string[] {
  return recipients.map(({ agentId }) => agentId).filter((agentId) => {
    const path = join(home.home, "state", agentId, ECHO_RECORD);
    let record = records.get(path);
    if (record === undefined) records.set(path, record = new Set(Deno.readTextFileSync(path).split("\n")));
    return [1, 2, 3, 4, 5].some((attempt) =>
      record.has(deliveryIdOf(message.storeId, agentId, message.id, attempt))
    );
  });
}
