import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { answer, DIALOG, quit } from "../support/claude_seat.ts";
import type { MockModel, MockReply } from "../support/mock_model.ts";
import { CLAUDE_VERSION, OLD_CLAUDE_VERSION, oldClaude, realClis } from "../support/real_clis.ts";
import type { RealAgent } from "../support/real_home.ts";
import { gone, receiptOf, type Seat, send, stagesOf, statusIs, withSeat } from "../support/seat.ts";
import { until } from "../support/temp.ts";

/** Variables with which this version runs no plugin monitor. */
const NO_TELEMETRY = {
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "",
  DISABLE_TELEMETRY: "",
  DISABLE_ERROR_REPORTING: "",
};

/** A Claude Code that gets its messages through the plugin's monitor. */
async function withMonitor(
  version: string,
  options: { monitors: boolean },
  work: (seat: Seat) => Promise<void>,
): Promise<void> {
  const command = version === CLAUDE_VERSION ? (await realClis()).claude : await oldClaude();
  const prepare = ({ dir, home }: RealAgent) => {
    // The new one is told to take the lower rung; the old one has no other.
    home.provider("claude", { command, ...(version === CLAUDE_VERSION ? { delivery: "monitor" } : {}) });
    const path = join(dir, "claude", ".claude.json");
    const config = JSON.parse(Deno.readTextFileSync(path)) as Record<string, unknown>;
    config.cachedGrowthBookFeatures = { tengu_amber_sentinel: options.monitors };
    Deno.writeTextFileSync(path, JSON.stringify(config));
  };
  const env = version === CLAUDE_VERSION || !options.monitors ? {} : NO_TELEMETRY;
  await withSeat("claude", [], work, { prepare, env });
}

/** The model reads the file that the newest notice names, and answers what the message in it says. */
function readsNotices(model: MockModel): void {
  model.decide = ({ history, afterTool }): MockReply | null => {
    const path = [...history.matchAll(/Read the file (\S+) now/g)].at(-1)?.[1];
    if (path === undefined) return null;
    if (!afterTool) return { kind: "tool", name: "Read", input: { file_path: path } };
    return { kind: "say", text: [...history.matchAll(/\[\[say ([^\]]*)\]\]/g)].at(-1)?.[1] ?? "nothing" };
  };
}

async function delivery({ home }: Seat): Promise<unknown> {
  return ((await home.agents())[0]?.meta as { delivery?: string } | undefined)?.delivery;
}

for (const version of [OLD_CLAUDE_VERSION, CLAUDE_VERSION]) {
  Deno.test(`claude ${version} by its plugin's monitor: pointed to, read, answered, and the file is gone`, async () => {
    await withMonitor(version, { monitors: true }, async (seat) => {
      await seat.home.untilReady("api");
      assertEquals(await delivery(seat), "plugin monitor");
      readsNotices(seat.model);
      await seat.terminal.type("half typed line");
      const text = `secret-marker ${"x".repeat(3_000)} [[say by the file]]`;
      assertEquals(await send(seat, text, "--wait-reply"), "by the file\n");
      const receipt = await receiptOf(seat, 1);
      assertEquals(stagesOf(receipt).filter((stage) => stage !== "acked"), [
        ...["received", "handed", "placed", "seen", "done"],
      ], JSON.stringify(receipt.recipients[0]!.reports.map(({ stage, evidence }) => [stage, evidence])));
      const evidence = receipt.recipients[0]!.reports.map((report) => report.evidence ?? "");
      assertStringIncludes(evidence.join("\n"), "told of the message, it has not the text yet");
      assertStringIncludes(evidence.join("\n"), "after the tool result that holds the message's file");
      // Once as a notice, once as the file.
      const requests = seat.model.requests.filter(({ history }) => history.includes("relay-notice-"));
      assertEquals(requests.map(({ history }) => history.includes("secret-marker")), [false, true]);
      await seat.terminal.untilShows(/half typed line/);
      await until("no file", () => mail(seat).length === 0);
      await statusIs(seat, "idle");
      // What a person is asked is the status here too, and a message meanwhile does not answer it.
      const tool = JSON.stringify({ command: `touch ${seat.dir}/allowed`, description: "mock" });
      seat.model.decide = null;
      await seat.terminal.press("C-u");
      await seat.terminal.type(`ask [[tool Bash ${tool}]]`);
      await seat.terminal.press("Enter");
      await seat.terminal.untilShows(DIALOG);
      await until("the reason approval", async () => {
        const meta = (await seat.home.agents())[0]!.meta as { busyReasons?: string[] };
        return meta.busyReasons?.includes("approval") === true;
      });
      await answer(seat, "Escape");
      await statusIs(seat, "idle");
      readsNotices(seat.model);
      // A second one comes over the same monitor; Claude lets a line through every 2 s.
      assertEquals(await send(seat, "again [[say twice]]", "--wait-reply"), "twice\n");
      await quit(seat);
    });
  });
}

Deno.test("claude by its monitor: a notice that the model does not follow is not seen, and comes again", async () => {
  await withMonitor(CLAUDE_VERSION, { monitors: true }, async (seat) => {
    await seat.home.untilReady("api");
    await seat.home.run(["send", "label:api", "marker [[say at last]]"]);
    await until("the retry", async () => stagesOf(await receiptOf(seat, 1)).includes("retry"));
    const stages = stagesOf(await receiptOf(seat, 1));
    assertEquals(stages.includes("seen") || stages.includes("acked"), false, stages.join());
    readsNotices(seat.model);
    await until("the end", async () => stagesOf(await receiptOf(seat, 1)).includes("done"));
    await quit(seat);
  });
});

Deno.test(`claude ${OLD_CLAUDE_VERSION} without monitors says so and holds its mail`, async () => {
  await withMonitor(OLD_CLAUDE_VERSION, { monitors: false }, async (seat) => {
    let reason = "";
    await until("the reason", async () => {
      const meta = (await seat.home.agents())[0]?.meta as { reason?: string } | undefined;
      reason = meta?.reason ?? "";
      return reason.includes("runs no plugin monitor");
    });
    assertEquals((await seat.home.agents())[0]!.ready, false);
    await seat.home.run(["send", "label:api", "waits"]);
    await until("the journal", async () => stagesOf(await receiptOf(seat, 1)).includes("received"));
    assertEquals(stagesOf(await receiptOf(seat, 1)), ["received"]);
    // The person's own work goes on.
    await seat.terminal.type("mine [[say still here]]");
    await seat.terminal.press("Enter");
    await seat.terminal.untilShows(/● still here/);
    assertEquals(seat.model.requests.some(({ history }) => history.includes("waits")), false);
    const stopped = await seat.home.run(["stop", "label:api"]);
    assertEquals(stopped.code, 0, stopped.err);
    await gone(seat, 0);
  });
});

function mail({ home }: Seat): string[] {
  return [...Deno.readDirSync(join(home.home, "state"))].flatMap(({ name }) => {
    try {
      return [...Deno.readDirSync(join(home.home, "state", name, "mail"))].map((file) => file.name);
    } catch {
      return [];
    }
  });
}
