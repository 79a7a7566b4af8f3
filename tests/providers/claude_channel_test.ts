import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { systemClock } from "../../lib/base/clock.ts";
import { isNoticeLine } from "../../lib/protocol/control.ts";
import { approvalFlags } from "../../lib/providers/claude/arguments.ts";
import { MonitorChannel, SocketChannel } from "../../lib/providers/claude/channel.ts";
import { TranscriptFollower } from "../../lib/providers/claude/follower.ts";
import { noticeLine, noticeToken } from "../../lib/providers/claude/notice.ts";
import { probeTranscript, type Row } from "../../lib/providers/claude/transcript.ts";
import { chooseRung, claudeVersion, readVersion } from "../../lib/providers/claude/version.ts";
import type { Delivery, MonitorNotice, ProviderEvent } from "../../lib/providers/contract.ts";
import { withTempDir } from "../support/temp.ts";

const ID = "11111111-0000-5000-8000-000000000001";
const delivery: Delivery = {
  deliveryId: ID,
  messageId: 42,
  from: "api",
  text: "the frame",
  when: "idle",
};

Deno.test("the ladder: the socket where the version has one, the monitor below, and what a person says above all", () => {
  const rungs: [string | null, string][] = [
    ["2.1.330", "socket"],
    ["2.1.225", "socket"],
    ["2.1.224", "monitor"],
    ["2.1.197", "monitor"],
    ["2.0.999", "monitor"],
    ["2.10.0", "socket"],
    ["3.0.0", "socket"],
    ["1.9.999", "monitor"],
    [null, "socket"],
  ];
  for (const [version, rung] of rungs) assertEquals(chooseRung("auto", version), rung, String(version));
  assertEquals([chooseRung("socket", "2.1.197"), chooseRung("monitor", "2.1.330")], ["socket", "monitor"]);
  assertEquals(chooseRung("auto", "2.1.330", false), "monitor");
});

Deno.test("readVersion finds the version and nothing that only looks like one", () => {
  assertEquals(readVersion("2.1.330 (Claude Code)\n"), "2.1.330");
  assertEquals(readVersion("warning: old node\nclaude 2.1.197"), "2.1.197");
  for (const text of ["", "claude", "2.1", "1.2.3.4", "v2", "99999.1.1", "x".repeat(1_000) + "2.1.1"]) {
    assertEquals(readVersion(text), null, text.slice(0, 20));
  }
});

Deno.test("claudeVersion asks each program once, by its command and where it is looked for", async () => {
  await withTempDir(async (dir) => {
    const place = (name: string) => {
      const bin = join(dir, name);
      Deno.mkdirSync(bin);
      const script = `#!/bin/sh\necho asked >> "${bin}/asked"\necho 2.1.${name} "(Claude Code)"\n`;
      Deno.writeTextFileSync(join(bin, "claude"), script, { mode: 0o755 });
      return bin;
    };
    const [old, recent] = [place("197"), place("330")];
    const version = (cwd: string, PATH: string, command = "claude") =>
      claudeVersion({ command, cwd, env: { PATH } }, systemClock);
    for (let round = 0; round < 2; round++) {
      assertEquals(await version(dir, `${old}:/bin`), "2.1.197");
      assertEquals(await version(dir, `${recent}:/bin`), "2.1.330");
      assertEquals(await version(old, "/bin", "./claude"), "2.1.197");
      assertEquals(await version(recent, "/bin", "./claude"), "2.1.330");
    }
    for (const bin of [old, recent]) {
      assertEquals(Deno.readTextFileSync(join(bin, "asked")), "asked\n".repeat(2));
    }
  });
});

Deno.test("the mode that asks has the name that the version knows", () => {
  assertEquals(approvalFlags("guarded", "2.1.330").at(-1), "manual");
  assertEquals(approvalFlags("guarded", null).at(-1), "manual");
  assertEquals(approvalFlags("guarded", "2.1.197").at(-1), "default");
});

Deno.test("noticeLine is one short line of ASCII whoever the sender is, and names id, sender and file", () => {
  const senders = [
    "api",
    "",
    '"quoted"',
    "<b>&</b>",
    "é😀\u202e",
    "a\nb\r\u0000",
    "x".repeat(10_000),
    "\ud800",
  ];
  for (const from of senders) {
    const line = noticeLine({
      deliveryId: ID,
      messageId: Number.MAX_SAFE_INTEGER,
      from,
      bytes: 1e9,
      path: "/p".repeat(75),
    });
    assertEquals([isNoticeLine(line), /[<>&]/.test(line)], [true, false], line);
    assertMatch(line, new RegExp(`^${noticeToken(ID)}: message 9007199254740991 from "`));
    assertEquals(line.includes("/p/p/p"), true);
  }
  for (const path of ["/é", "/a\nb", "/a<b", "/x".repeat(100)]) {
    assertThrows(() => noticeLine({ deliveryId: ID, messageId: 1, from: "a", bytes: 1, path }));
  }
});

Deno.test("the monitor's channel keeps a message's text in a 0600 file until its turn is over", async () => {
  await withTempDir(async (stateDir) => {
    const given: MonitorNotice[] = [];
    const port = {
      deliver: (_id: string, notices: readonly MonitorNotice[]) =>
        Promise.resolve(void given.push(...notices)),
      watch: () => () => {},
    };
    Deno.mkdirSync(join(stateDir, "mail"));
    Deno.writeTextFileSync(join(stateDir, "mail", "left-over.txt"), "of an earlier start");
    const channel = new MonitorChannel({ stateDir }, port);
    assertEquals([...Deno.readDirSync(channel.dir)], []);
    await channel.deliver(delivery, new AbortController().signal);
    const path = channel.pathOf(ID);
    assertEquals([Deno.readTextFileSync(path), Deno.statSync(path).mode! & 0o777], ["the frame", 0o600]);
    assertEquals(Deno.statSync(channel.dir).mode! & 0o777, 0o700);
    assertEquals([given.length, given[0]!.messageId, given[0]!.line.includes(path)], [1, "42", true]);
    channel.over(ID);
    assertThrows(() => Deno.statSync(path), Deno.errors.NotFound);
    channel.dispose();
    assertThrows(() => Deno.statSync(channel.dir), Deno.errors.NotFound);
  });
});

Deno.test("paths that do not fit move to a directory of their own: sockets over 100 bytes, files over what a notice holds", async () => {
  await withTempDir((dir) => {
    const stateDir = join(dir, "x".repeat(120));
    Deno.mkdirSync(stateDir);
    const socket = new SocketChannel({ stateDir, incarnation: 3 });
    const monitor = new MonitorChannel({ stateDir }, {
      deliver: () => Promise.resolve(),
      watch: () => () => {},
    });
    assertEquals([socket.socketPath.length <= 100, monitor.dir.startsWith(stateDir)], [true, false]);
    socket.dispose();
    monitor.dispose();
    assertThrows(() => Deno.statSync(join(socket.socketPath, "..")), Deno.errors.NotFound);
  });
});

const PATH = `/mail/${ID}.txt`;
const notice: Row = { type: "user", message: { content: `<event>${noticeToken(ID)}: Read ${PATH}</event>` } };
const reads: Row = {
  type: "assistant",
  message: { stop_reason: "tool_use", content: [{ type: "tool_use", id: "t", input: { file_path: PATH } }] },
};
const result = (isError: boolean): Row => ({
  type: "user",
  message: { content: [{ type: "tool_result", tool_use_id: "t", is_error: isError }] },
});
const ends: Row = { type: "assistant", uuid: "a", message: { stop_reason: "end_turn", content: "answer" } };

Deno.test("a notice proves placed only; seen needs the file's tool result and what the model said after it", async () => {
  const cases: [string, Row[], string[], string][] = [
    ["read", [notice, reads, result(false), ends], ["placed", "seen", "done"], "done"],
    ["not read", [notice, ends], ["placed", "cancelled"], "failed"],
    ["denied", [notice, reads, result(true), ends], ["placed", "cancelled"], "failed"],
    ["another file", [notice, result(false), ends], ["placed", "cancelled"], "failed"],
    ["read, then cut", [notice, reads, result(false)], ["placed"], "failed"],
    ["told late", [reads, notice, result(false), ends], ["placed", "seen", "done"], "done"],
    [
      "read twice",
      [notice, reads, result(true), reads, result(false), ends],
      ["placed", "seen", "done"],
      "done",
    ],
    ["never there", [result(false), ends], [], "absent"],
    ["queue row", [{ type: "queue-operation", ...{ content: noticeToken(ID) } }], [], "absent"],
  ];
  await withTempDir(async (dir) => {
    for (const [name, rows, expected, probed] of cases) {
      const events: ProviderEvent[] = [];
      const follower = new TranscriptFollower((event) => events.push(event));
      follower.handed(ID, "the frame", PATH);
      for (const row of rows) follower.take(row, "C");
      const kinds = events.map((event) =>
        event.type === "evidence" ? event.stage : event.type === "failed" ? event.failure : event.type
      );
      assertEquals(kinds, expected, name);
      const path = join(dir, "transcript.jsonl");
      Deno.writeTextFileSync(path, rows.map((row) => JSON.stringify(row) + "\n").join(""));
      const found = await probeTranscript(path, [ID], { notices: true });
      assertEquals(found.get(ID)!.state, probed, name);
    }
  });
});
