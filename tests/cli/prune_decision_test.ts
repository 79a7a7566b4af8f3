import { assertEquals } from "@std/assert";
import { basename, dirname, fromFileUrl } from "@std/path";
import type { AgentFacts, LogFacts, Remnant, Rules } from "../../lib/cli/prune/contract.ts";
import { isLogToRemove, isOld, reasonToKeep, remnantsToRemove } from "../../lib/cli/prune/decide.ts";
import {
  agentEntryKind,
  type Entry,
  isAside,
  isKnownIn,
  isTemporaryBody,
  isTemporaryToken,
  quarantinedAt,
} from "../../lib/cli/prune/names.ts";
import { ownerOfLog } from "../../lib/cli/run/log_file.ts";
import { adminFileOf, controlFileOf } from "../../lib/control/contract.ts";
import { ECHO_RECORD } from "../../lib/providers/echo/protocol.ts";

const DAY = 86_400_000;
const NOW = 1_800_000_000_000;
const RULES: Rules = { now: NOW, olderThanMs: 30 * DAY };
const LONG_AGO = NOW - 31 * DAY;

function held(more: Partial<Extract<AgentFacts, { place: "held" }>> = {}): AgentFacts {
  return {
    place: "held",
    lastRun: LONG_AGO,
    killed: false,
    unknown: [],
    journal: { state: "whole", open: 0, dead: 0 },
    remnants: [],
    ...more,
  };
}

Deno.test("isOld() is true from the very age on, and never for a time that is still to come", () => {
  const cases: [number, boolean][] = [
    [NOW - 30 * DAY, true],
    [NOW - 30 * DAY + 1, false],
    [0, true],
    [NOW, false],
    [NOW + DAY, false],
    [Infinity, false],
  ];
  for (const [at, old] of cases) assertEquals(isOld(at, RULES), old, String(at));
});

Deno.test("reasonToKeep() lets an agent go only when it is long ago and nothing of it is open", () => {
  const killed = 'it was killed, and what it started may still run; "runner doctor --fix" ends that';
  const cases: [AgentFacts, string | null][] = [
    [held(), null],
    [held({ journal: { state: "none" } }), null],
    [held({ lastRun: NOW - 29 * DAY }), "it ran 29 d ago"],
    [held({ lastRun: NOW + DAY }), "it ran 0 ms ago"],
    [held({ killed: true }), killed],
    [held({ unknown: ["notes\n.txt", "x"] }), '"notes\\n.txt" in its directory is not of a runner'],
    [held({ journal: null }), "nobody looked into its journal"],
    [held({ journal: { state: "newer" } }), "its journal is of a newer runner"],
    [
      held({ journal: { state: "damaged", problem: "not a database" } }),
      "its journal is damaged: not a database",
    ],
    [held({ journal: { state: "whole", open: 1, dead: 0 } }), "1 message has not ended"],
    [held({ journal: { state: "whole", open: 2, dead: 0 } }), "2 messages have not ended"],
    [held({ journal: { state: "whole", open: 0, dead: 1 } }), "1 dead letter waits for a person's decision"],
    [
      held({ journal: { state: "whole", open: 3, dead: 2 } }),
      "3 messages have not ended, 2 dead letters wait for a person's decision",
    ],
    [{ place: "taken", ending: false, remnants: [] }, "it runs"],
    [{ place: "taken", ending: true, remnants: [] }, "it is just ending"],
    [{ place: "none", problem: "no runner has ever had it" }, "no runner has ever had it"],
  ];
  for (const [facts, reason] of cases) {
    assertEquals(reasonToKeep(facts, RULES), reason, JSON.stringify(facts));
  }
  assertEquals(reasonToKeep(held(), { now: NOW, olderThanMs: 32 * DAY }), "it ran 31 d ago");
});

Deno.test("remnantsToRemove() takes what is old, of a running agent only what no run uses, and never the latest plugin", () => {
  const remnant = (kind: Remnant["kind"], days: number): Remnant => ({
    kind,
    path: `${kind} ${days}`,
    at: NOW - days * DAY,
  });
  const all = [
    remnant("quarantine", 31),
    remnant("quarantine", 29),
    remnant("temporary", 31),
    remnant("temporary", 29),
    remnant("plugin", 90),
    remnant("plugin", 60),
    remnant("plugin", 31),
  ];
  const gone = (facts: AgentFacts) => remnantsToRemove(facts, RULES).map(({ path }) => path);
  assertEquals(gone(held({ remnants: all })), ["quarantine 31", "temporary 31", "plugin 90", "plugin 60"]);
  assertEquals(gone(held({ remnants: [...all, remnant("plugin", 1)] })).at(-1), "plugin 31");
  assertEquals(gone({ place: "taken", ending: false, remnants: all }), ["quarantine 31"]);
  assertEquals(gone({ place: "none", problem: "" }), []);
});

Deno.test("isLogToRemove() takes all logs of an agent that goes, old ones of one that is gone, old parts of one that stays", () => {
  const cases: [LogFacts["owner"], boolean, number, boolean][] = [
    ["removed", false, 0, true],
    ["removed", true, 31, true],
    ["gone", false, 31, true],
    ["gone", false, 29, false],
    ["gone", true, 31, true],
    ["stays", false, 400, false],
    ["stays", true, 31, true],
    ["stays", true, 29, false],
  ];
  for (const [owner, rotated, days, goes] of cases) {
    const facts = { owner, rotated, at: NOW - days * DAY };
    assertEquals(isLogToRemove(facts, RULES), goes, JSON.stringify({ owner, rotated, days }));
  }
});

const file = (name: string): Entry => ({ name, isFile: true, isDirectory: false, isSymlink: false });
const directory = (name: string): Entry => ({ name, isFile: false, isDirectory: true, isSymlink: false });
const link = (name: string): Entry => ({ name, isFile: false, isDirectory: false, isSymlink: true });
const socket = (name: string): Entry => ({ name, isFile: false, isDirectory: false, isSymlink: false });

Deno.test("agentEntryKind() knows what runners make by name and by nature, and nothing else", () => {
  const cases: [Entry, string][] = [
    [file("lock"), "own"],
    [file("journal.db-wal"), "own"],
    [file(basename(adminFileOf("/a"))), "own"],
    [file(basename(controlFileOf("/a"))), "own"],
    [file(ECHO_RECORD), "own"],
    [directory("bodies"), "own"],
    [socket("claude-12.sock"), "own"],
    [directory("plugin-0123456789ab"), "plugin"],
    [directory(".plugin-0123456789ab.tmp"), "temporary"],
    [file(".run.json.0123456789ab.tmp"), "temporary"],
    [file(".notes.txt.0123456789ab.tmp"), "unknown"],
    [file(".run.json.0123.tmp"), "unknown"],
    [file("notes.txt"), "unknown"],
    [file("bodies"), "unknown"],
    [file("plugin-0123456789ab"), "unknown"],
    [file("claude-1.sock"), "unknown"],
    [directory("lock"), "unknown"],
    [directory("plugin-mine"), "unknown"],
    [link("lock"), "unknown"],
    [link("bodies"), "unknown"],
    [link("plugin-0123456789ab"), "unknown"],
    [link("claude-1.sock"), "unknown"],
  ];
  for (const [entry, kind] of cases) assertEquals(agentEntryKind(entry), kind, JSON.stringify(entry));
});

Deno.test("names of what may go are taken whole, and links never", () => {
  const body = "0123456789abcdef0123456789abcdef01234567";
  assertEquals(isTemporaryBody(file(`.${body}.0123456789ab.tmp`)), true);
  assertEquals(isTemporaryBody(file(body)), false);
  assertEquals(isTemporaryBody(link(`.${body}.0123456789ab.tmp`)), false);
  assertEquals(isTemporaryToken(file(".relay.token.0123456789ab.tmp")), true);
  assertEquals([file("relay.token"), file(".config.json.0123456789ab.tmp")].map(isTemporaryToken), [
    false,
    false,
  ]);
  assertEquals(
    ([["bodies", body], ["bodies", `.${body}.0123456789ab.tmp`], [
      "mail",
      `${crypto.randomUUID()}.txt`,
    ]] as const)
      .map(([directory, name]) => isKnownIn(directory, file(name))),
    [true, true, true],
  );
  assertEquals(
    [file("notes.txt"), link(body), directory(body), file(`${body}.bak`)].map((each) =>
      isKnownIn("bodies", each)
    ),
    [false, false, false, false],
  );
  const stamp = "2026-11-28T19-41-53-123Z";
  const at = Date.UTC(2026, 10, 28, 19, 41, 53, 123);
  assertEquals(quarantinedAt(file(`${stamp}-journal.db`)), at);
  assertEquals(quarantinedAt(file(`${stamp}-journal.db-wal`)), at);
  assertEquals(
    [
      file(`${stamp}-other.db`),
      link(`${stamp}-journal.db`),
      directory(`${stamp}-journal.db`),
      file("journal.db"),
    ]
      .map(quarantinedAt),
    [null, null, null, null],
  );
  assertEquals(quarantinedAt(file("2026-99-99T99-99-99-999Z-journal.db")), null);
  assertEquals(
    [directory(".pruned-0123456789ab"), link(".pruned-0123456789ab"), directory(".pruned-x"), file("pruned")]
      .map(
        isAside,
        isKnownIn,
      ),
    [true, false, false, false],
  );
});

Deno.test("ownerOfLog() reads whose log a file is, also of an agent whose own name looks like one", () => {
  assertEquals(ownerOfLog("a.log"), { agentId: "a", rotated: false });
  assertEquals(ownerOfLog("a.log.4"), { agentId: "a", rotated: true });
  assertEquals(ownerOfLog("a.log.1.log"), { agentId: "a.log.1", rotated: false });
  assertEquals(["a.log.5", "a.log.gz", ".log", "a.txt"].map(ownerOfLog), [null, null, null, null]);
});

Deno.test("prune is not loaded for any other verb", async () => {
  const lib = `${dirname(dirname(dirname(fromFileUrl(import.meta.url))))}/lib`;
  const importers: string[] = [];
  const look = async (room: string): Promise<void> => {
    for await (const { name, isDirectory } of Deno.readDir(`${lib}/${room}`)) {
      const path = `${room}/${name}`;
      if (isDirectory) await look(path);
      else if (
        /["/](?:prune\/\w+|verbs\/prune|inbox\/look)\.ts"/.test(await Deno.readTextFile(`${lib}/${path}`))
      ) {
        importers.push(path);
      }
    }
  };
  await look("");
  const others = importers.filter((path) => !/^\/cli\/(?:prune\/\w+|verbs\/prune)\.ts$/.test(path));
  assertEquals(others, ["/cli/loaders.ts"]);
});
