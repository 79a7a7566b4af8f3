import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { RunnerError } from "../../lib/base/errors.ts";
import { systemClock } from "../../lib/base/clock.ts";
import { claudeAdapter } from "../../lib/providers/claude/adapter.ts";
import { splitArguments } from "../../lib/providers/claude/own_arguments.ts";
import { TranscriptFollower } from "../../lib/providers/claude/follower.ts";
import { hookSettings, readHook } from "../../lib/providers/claude/hooks.ts";
import { mergedSettings, writeSettings } from "../../lib/providers/claude/settings_file.ts";
import type { ProviderEvent, ProviderLaunch, ProviderPorts } from "../../lib/providers/contract.ts";
import { withTempDir } from "../support/temp.ts";

const CONTROL = { url: "http://127.0.0.1:1", hookToken: "h00k" };
const ours = hookSettings({ control: CONTROL, incarnation: 7 });

Deno.test("hook settings name the control server, the start and a timeout of 1 s, for no event per tool call", () => {
  const events = Object.keys(ours.hooks);
  assertEquals(events.filter((name) => /Tool/.test(name)), []);
  assertEquals(events.includes("UserPromptSubmit") && events.includes("StopFailure"), true);
  for (const [name, groups] of Object.entries(ours.hooks)) {
    assertEquals(groups, [{
      hooks: [{
        type: "http",
        url: `http://127.0.0.1:1/hook/${name}`,
        timeout: 1,
        headers: { authorization: "Bearer h00k", "x-agent-relay-incarnation": "7" },
      }],
    }]);
  }
});

Deno.test("a person's settings, from a file or in argv, keep their hooks beside ours in one 0600 file", async () => {
  await withTempDir((dir) => {
    const mine = { model: "m", hooks: { Stop: [{ hooks: [{ type: "command", command: "mine" }] }] } };
    Deno.writeTextFileSync(join(dir, "own.json"), JSON.stringify(mine));
    for (const args of [["--settings", "own.json"], [`--settings=${JSON.stringify(mine)}`]]) {
      const merged = mergedSettings({ args, cwd: dir }, [{ crossSessionInbound: "accept" }, ours]);
      const path = writeSettings({ stateDir: dir }, merged)!;
      const written = JSON.parse(Deno.readTextFileSync(path)) as typeof mine & Record<string, unknown>;
      assertEquals(Deno.statSync(path).mode! & 0o777, 0o600);
      assertEquals([written.model, written.crossSessionInbound], ["m", "accept"]);
      assertEquals(written.hooks.Stop, [mine.hooks.Stop[0]!, ours.hooks.Stop![0] as never]);
    }
  });
});

Deno.test("a settings flag after the end of the flags is the person's prompt", () => {
  const args = ["--model", "m", "--", "--settings", "text"];
  const { opening, settings, prompt } = splitArguments(args);
  assertEquals({ opening, settings, prompt }, { opening: args, settings: null, prompt: "--settings" });
});

Deno.test("settings that cannot be read end the start with their place, before anything runs", async () => {
  await withTempDir((cwd) => {
    for (const given of ["missing.json", "{broken", '["a list"]', "{}x"]) {
      const launch = { args: ["--settings", given], cwd, headless: true } as unknown as ProviderLaunch;
      const error = assertThrows(
        () => claudeAdapter.prepare!(launch, { clock: systemClock } as ProviderPorts),
        RunnerError,
      );
      assertEquals(error.code, "E_CONFIG");
      assertMatch(error.message, /--settings/);
    }
  });
});

Deno.test("readHook takes any body, and only a prompt's text as more than a poke", () => {
  const bodies: Record<string, unknown>[] = [
    {},
    { prompt: null },
    { prompt: { toString: "x" } },
    { prompt: ["text"] },
    { prompt: 7, session_id: [], hook_event_name: "Stop" },
    Object.create(null) as Record<string, unknown>,
    { __proto__: { prompt: 1 } },
  ];
  for (const body of bodies) {
    for (const name of ["UserPromptSubmit", "Stop", "SessionEnd", "__proto__", ""]) {
      assertEquals(readHook({ name, body }), { kind: "poke" });
    }
  }
  assertEquals(readHook({ name: "Stop", body: { prompt: "text" } }), { kind: "poke" });
  assertEquals(readHook({ name: "UserPromptSubmit", body: { prompt: "text" } }), {
    kind: "prompt",
    text: "text",
  });
});

function follow(): { events: ProviderEvent[]; follower: TranscriptFollower } {
  const events: ProviderEvent[] = [];
  return { events, follower: new TranscriptFollower((event) => events.push(event)) };
}
const answer = { type: "assistant", uuid: "a", message: { stop_reason: "end_turn", content: "text" } };

Deno.test("a hook with exactly our text is placed, but rows that are read late are no answer to it", () => {
  const { events, follower } = follow();
  follower.handed("id", "the frame", null);
  for (const text of ["", "the fram", "the frame ", "x the frame"]) follower.prompt(text);
  assertEquals(events, []);
  follower.prompt("the frame");
  follower.prompt("the frame");
  // The end of the turn before, written before ours and read after the hook.
  follower.take(answer, "C");
  assertEquals(events.map((event) => event.type), ["evidence"]);
  follower.take({ type: "user", uuid: "id" }, "C");
  follower.take(answer, "C");
  assertEquals(events.map((event) => event.type === "evidence" ? event.stage : event.type), [
    "placed",
    "seen",
    "done",
  ]);
});

Deno.test("rows of another conversation, such as one taken up with /resume, prove nothing", () => {
  const { events, follower } = follow();
  follower.handed("id", "the frame", null);
  follower.take({ type: "user", uuid: "id" }, "C");
  follower.take(answer, "OLD");
  follower.take({ type: "user", message: { content: "[Request interrupted by user]" } }, "OLD");
  assertEquals(events.length, 1);
  follower.take({ type: "user", message: { content: "[Request interrupted by user]" } }, "C");
  assertEquals(events.at(-1)!.type, "failed");
});
