import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { systemClock } from "../../lib/base/clock.ts";
import { RunnerError } from "../../lib/base/errors.ts";
import { noLog } from "../../lib/base/log.ts";
import { resolvePaths } from "../../lib/config/paths.ts";
import type { Outcome } from "../../lib/cli/prune/contract.ts";
import { pruneHome } from "../../lib/cli/prune/prune.ts";
import type { JournalRow, MessageState } from "../../lib/inbox/contract.ts";
import { openJournal } from "../../lib/inbox/journal.ts";
import { noteRun } from "../../lib/process/leftovers.ts";
import { lockInstance, lockInstanceAfterEnd } from "../../lib/process/lock.ts";
import { whileForking } from "../support/forker.ts";
import { NOW, testRow } from "../support/rows.ts";
import { withTempDir } from "../support/temp.ts";

const DAY = 86_400_000;
const LONG_AGO = NOW - 40 * DAY;
const LATELY = NOW - 3 * DAY;
const HEX = "0123456789ab";

/** A home with things in it that are as old as the test wants. */
class OldHome {
  readonly state: string;
  readonly logs: string;

  constructor(readonly home: string) {
    this.state = join(home, "state");
    this.logs = join(home, "logs");
    for (const dir of [this.state, this.logs, join(home, "providers")]) Deno.mkdirSync(dir);
    for (const name of ["relay.db", "relay.token", "config.json", "providers/claude.json"]) this.file(name);
  }

  /** Writes a file, with its directories. */
  file(name: string, text = "x"): string {
    const path = join(this.home, name);
    Deno.mkdirSync(join(path, ".."), { recursive: true });
    Deno.writeTextFileSync(path, text);
    return path;
  }

  /** An agent that ran once, in order; its journal has these messages. */
  agent(id: string, ...states: MessageState[]): string {
    const dir = join(this.state, id);
    lockInstance({ stateDir: this.state, agentId: () => id, fixed: true, pid: 7 }).release();
    const journal = openJournal({ path: join(dir, "journal.db"), clock: systemClock, log: noLog });
    journal.write({ rows: states.map(row), commands: [] });
    journal.close();
    this.file(`logs/${id}.log`, "log\n");
    return dir;
  }

  /** Makes everything in the home as old as that, or only what is below. */
  age(at: number, below = ""): void {
    const walk = (path: string): void => {
      const info = Deno.lstatSync(path);
      if (info.isSymlink) return;
      if (info.isDirectory) { for (const { name } of Deno.readDirSync(path)) walk(join(path, name)); }
      Deno.utimeSync(path, new Date(at), new Date(at));
    };
    walk(join(this.home, below));
  }

  prune(more: { dryRun?: boolean; days?: number } = {}): Outcome {
    return pruneHome({
      paths: resolvePaths({ AGENT_RELAY_HOME: this.home }),
      rules: { now: NOW, olderThanMs: (more.days ?? 30) * DAY },
      dryRun: more.dryRun ?? false,
      pid: 1,
    });
  }

  /** Everything that is there, by its path. */
  all(below = ""): string[] {
    const found: string[] = [];
    const walk = (dir: string): void => {
      for (const { name, isDirectory } of Deno.readDirSync(join(this.home, dir))) {
        const path = dir === "" ? name : `${dir}/${name}`;
        found.push(path);
        if (isDirectory) walk(path);
      }
    };
    walk(below);
    return found.sort();
  }
}

function row(state: MessageState, index: number): JournalRow {
  return testRow(index + 1, state, {
    receivedAt: LONG_AGO,
    updatedAt: LONG_AGO,
    acked: state.state === "done",
  });
}

const DONE: MessageState = { state: "done", deliveryId: "d", evidence: "e" };
const DEAD: MessageState = { state: "dead", reason: "r" };
const RECEIVED: MessageState = { state: "received" };

async function withHome(work: (home: OldHome) => void | Promise<void>): Promise<void> {
  await withTempDir((dir) => work(new OldHome(dir)));
}

/** What was removed, without the place of the home. */
const removed = (home: OldHome, outcome: Outcome) =>
  outcome.removed.map(({ kind, path }) => `${kind} ${path.slice(home.home.length + 1)}`).sort();

const reasons = (outcome: Outcome) =>
  Object.fromEntries(outcome.kept.map(({ agentId, reason }) => [agentId, reason]));

Deno.test("prune removes an agent of long ago with its logs, and touches nothing else", async () => {
  await withHome((home) => {
    home.agent("old", DONE, { state: "skipped", reason: "r" });
    home.file("state/old/bodies/0123456789abcdef0123456789abcdef01234567", "y".repeat(1_000));
    home.file("state/old/quarantine/2025-01-01T00-00-00-000Z-journal.db");
    home.file(`state/old/plugin-${HEX}/hooks/hooks.json`);
    for (const n of [1, 2, 3, 4]) home.file(`logs/old.log.${n}`);
    home.file("logs/old.log.5");
    home.file("notes/keep.txt");
    home.age(LONG_AGO);
    home.agent("new", DONE);
    home.age(LATELY, "state/new");
    const before = home.all();
    const size = (path: string): number => {
      const info = Deno.lstatSync(path);
      if (!info.isDirectory) return info.size;
      return [...Deno.readDirSync(path)].reduce((sum, { name }) => sum + size(join(path, name)), 0);
    };
    // With the note of who holds the place.
    const bytes = size(join(home.state, "old")) + "1 ending\n".length;
    assert(bytes > 1_000);
    const expected = ["agent state/old", ...["", ".1", ".2", ".3", ".4"].map((n) => `log logs/old.log${n}`)];

    const wouldBe = home.prune({ dryRun: true });
    assertEquals(removed(home, wouldBe), expected);
    assertEquals(home.all(), before, "a dry run changes nothing");
    const outcome = home.prune();
    assertEquals(outcome, wouldBe, "a dry run says what is done");
    assertEquals(outcome.removed.find(({ kind }) => kind === "agent"), {
      kind: "agent",
      path: join(home.state, "old"),
      agentId: "old",
      bytes,
    });
    assertEquals(reasons(outcome), { new: "it ran 3 d ago" });
    assertEquals(home.all(), before.filter((path) => !/^(?:state\/old|logs\/old\.log)(?!\.5)/.test(path)));
    assertEquals(home.prune(), { removed: [], kept: outcome.kept, failed: [] });
  });
});

Deno.test("prune keeps what is not certain to be needed no more, and says why", async () => {
  await withHome((home) => {
    home.agent("open", RECEIVED, { state: "delivering", deliveryId: "d", incarnation: 1 });
    home.agent("letters", DONE, DEAD);
    noteRun(home.agent("killed"), "00000000-0000-0000-0000-000000000000");
    home.agent("person");
    home.file("state/person/notes.txt");
    home.agent("deeper");
    home.file("state/deeper/quarantine/copy of journal.db");
    Deno.writeTextFileSync(join(home.agent("damaged"), "journal.db"), "x".repeat(5_000));
    const linked = home.agent("linked");
    Deno.renameSync(join(linked, "journal.db"), home.file("elsewhere"));
    Deno.symlinkSync(join(home.home, "elsewhere"), join(linked, "journal.db"));
    home.file("state/strange/file");
    home.file("state/plain");
    Deno.symlinkSync(home.agent("target", RECEIVED), join(home.state, "link"));
    home.agent("none");
    Deno.removeSync(join(home.state, "none/journal.db"));
    home.age(LONG_AGO);
    const before = home.all();
    const outcome = home.prune();
    assertEquals(reasons(outcome), {
      damaged: "its journal is damaged: not a database",
      deeper: '"quarantine/copy of journal.db" in its directory is not of a runner',
      killed: 'it was killed, and what it started may still run; "runner doctor --fix" ends that',
      letters: "1 dead letter waits for a person's decision",
      link: "it is a symbolic link",
      linked: '"journal.db" in its directory is not of a runner',
      open: "2 messages have not ended",
      person: '"notes.txt" in its directory is not of a runner',
      plain: "it is no directory",
      strange: "no runner has ever had it",
      target: "1 message has not ended",
    });
    assertEquals(removed(home, outcome), ["agent state/none", "log logs/none.log"]);
    assertEquals(home.all(), before.filter((path) => !/\/none(?:$|[/.])/.test(path)));
    assertEquals(
      home.prune(),
      { removed: [], kept: outcome.kept, failed: [] },
      "a look is no use of an agent",
    );
  });
});

Deno.test("prune keeps an agent whose journal is newer, and lets it go once that is over", async () => {
  await withHome(async (home) => {
    const { DatabaseSync } = await import("node:sqlite");
    const dir = home.agent("newer");
    const set = (version: number) => {
      const db = new DatabaseSync(join(dir, "journal.db"));
      const { user_version } = db.prepare("PRAGMA user_version").get() as { user_version: number };
      db.exec(`PRAGMA user_version = ${version}`);
      db.close();
      home.age(LONG_AGO);
      return user_version;
    };
    const version = set(99);
    assertEquals(reasons(home.prune()), { newer: "its journal is of a newer runner" });
    set(version);
    assertEquals(removed(home, home.prune()), ["agent state/newer", "log logs/newer.log"]);
  });
});

Deno.test("prune tidies up after agents that stay: journals put aside, plugins, old logs, interrupted writes", async () => {
  await withHome((home) => {
    home.agent("api");
    const aside = "2026-01-01T00-00-00-000Z-journal.db";
    const lately = `${new Date(LATELY).toISOString().replace(/[:.]/g, "-")}-journal.db`;
    const body = "0123456789abcdef0123456789abcdef01234567";
    const gone = [
      `quarantine state/api/quarantine/${aside}`,
      `quarantine state/api/quarantine/${aside}-wal`,
      `plugin state/api/plugin-aaaaaaaaaaaa`,
      `temporary state/api/.plugin-${HEX}.tmp`,
      `temporary state/api/.run.json.${HEX}.tmp`,
      `temporary state/api/bodies/.${body}.${HEX}.tmp`,
      `temporary .relay.token.${HEX}.tmp`,
      "log logs/api.log.3",
      "log logs/gone.log",
      "log logs/gone.log.1",
    ];
    for (const each of gone) home.file(each.split(" ")[1]! + (/plugin-/.test(each) ? "/hooks/x" : ""));
    home.file(`state/api/quarantine/${lately}`);
    home.file("state/api/quarantine/notes");
    home.file("state/api/bodies/" + body);
    home.file("logs/notes.txt");
    home.file(`.config.json.${HEX}.tmp`);
    home.age(LONG_AGO);
    home.file("state/api/plugin-bbbbbbbbbbbb/hooks/x");
    home.file("logs/api.log.1");
    home.file("logs/lately.log");
    for (const path of ["state/api/plugin-bbbbbbbbbbbb", "logs/api.log.1", "logs/lately.log"]) {
      home.age(LONG_AGO + 5 * DAY, path);
    }
    home.age(LATELY, "state/api/lock");
    home.age(LATELY, "logs/lately.log");
    home.age(LATELY, "logs/api.log.1");
    const before = home.all();
    const outcome = home.prune();
    assertEquals(removed(home, outcome), gone.sort());
    assertEquals(outcome.failed, []);
    const paths = new Set(gone.map((each) => each.split(" ")[1]!));
    const below = (path: string) => [...paths].some((each) => path === each || path.startsWith(`${each}/`));
    assertEquals(home.all(), before.filter((path) => !below(path)));
  });
});

Deno.test("prune leaves a run alone, but for old logs and journals that were put aside", async () => {
  await withHome((home) => {
    const lock = lockInstance({ stateDir: home.state, agentId: () => "api", fixed: true, pid: 7 });
    home.file("state/api/journal.db", "in use");
    home.file(`state/api/plugin-${HEX}/hooks/x`);
    home.file("state/api/plugin-aaaaaaaaaaaa/hooks/x");
    home.file(`state/api/.run.json.${HEX}.tmp`);
    home.file("state/api/quarantine/2026-01-01T00-00-00-000Z-journal.db");
    home.file("logs/api.log");
    home.file("logs/api.log.1");
    home.age(LONG_AGO);
    const outcome = home.prune();
    assertEquals(reasons(outcome), { api: "it runs" });
    assertEquals(removed(home, outcome), [
      "log logs/api.log.1",
      "quarantine state/api/quarantine/2026-01-01T00-00-00-000Z-journal.db",
    ]);
    assertEquals(Deno.readTextFileSync(join(home.state, "api/lock")), "7\n");
    lock.ending();
    assertEquals(reasons(home.prune()), { api: "it is just ending" });
    lock.release();
  });
});

Deno.test("prune goes by --older-than, and counts a run by the last thing that it wrote", async () => {
  await withHome((home) => {
    home.agent("api");
    home.age(LONG_AGO);
    home.age(NOW - 20 * DAY, "state/api/journal.db");
    assertEquals(reasons(home.prune()), { api: "it ran 20 d ago" });
    home.age(NOW + DAY, "state/api/journal.db");
    assertEquals(reasons(home.prune({ days: 7 })), { api: "it ran 0 ms ago" });
    home.age(NOW - 7 * DAY, "state/api/journal.db");
    assertEquals(removed(home, home.prune({ days: 7 })), ["agent state/api", "log logs/api.log"]);
  });
});

Deno.test("prune deletes what an interrupted one had moved aside", async () => {
  await withHome((home) => {
    home.file(`state/.pruned-${HEX}/lock`);
    home.file(`logs/.pruned-${HEX}`);
    Deno.symlinkSync(home.logs, join(home.state, ".pruned-aaaaaaaaaaaa"));
    home.file("state/.pruned-mine");
    const outcome = home.prune();
    assertEquals(removed(home, outcome), [`leftover logs/.pruned-${HEX}`, `leftover state/.pruned-${HEX}`]);
    assertEquals(home.all("state"), ["state/.pruned-aaaaaaaaaaaa", "state/.pruned-mine"]);
  });
});

Deno.test("prune puts back the log of a runner that has begun meanwhile", async () => {
  await withHome(async (home) => {
    home.file("logs/api.log", "before\n");
    home.age(LONG_AGO);
    const { renameSync } = Deno;
    // Between the look at the home and the removal: its directory first, then its log.
    Deno.renameSync = (from, to) => {
      Deno.renameSync = renameSync;
      const lock = lockInstance({ stateDir: home.state, agentId: () => "api", fixed: true, pid: 7 });
      const log = Deno.openSync(join(home.logs, "api.log"), { append: true });
      renameSync(from, to);
      log.writeSync(new TextEncoder().encode("begun\n"));
      log.close();
      lock.release();
    };
    const outcome = home.prune();
    assertEquals(outcome, { removed: [], kept: [], failed: [] });
    assertEquals(home.all("logs"), ["logs/api.log"]);
    assertEquals(await Deno.readTextFile(join(home.logs, "api.log")), "before\nbegun\n");
  });
});

Deno.test("prune puts back a log that was rotated meanwhile", async () => {
  await withHome((home) => {
    home.agent("api");
    home.file("logs/api.log.1", "old\n");
    home.age(LONG_AGO);
    home.age(LATELY, "state/api");
    const { renameSync } = Deno;
    Deno.renameSync = (from, to) => {
      Deno.renameSync = renameSync;
      renameSync(join(home.logs, "api.log.1"), join(home.logs, "api.log.2"));
      home.file("logs/api.log.1", "new\n");
      renameSync(from, to);
    };
    assertEquals(home.prune().removed, []);
    assertEquals(Deno.readTextFileSync(join(home.logs, "api.log.1")), "new\n");
    assertEquals(home.all("logs"), ["logs/api.log", "logs/api.log.1", "logs/api.log.2"]);
  });
});

Deno.test("an agent that starts while it is pruned waits, and begins with a directory of its own", async () => {
  await withHome(async (home) => {
    const dir = home.agent("api", DONE);
    home.age(LONG_AGO);
    const options = { stateDir: home.state, agentId: () => "api", fixed: true, pid: 7 };
    const { renameSync } = Deno;
    let start: ReturnType<typeof lockInstanceAfterEnd> | undefined;
    const seen: string[][] = [];
    Deno.renameSync = (from, to) => {
      if (String(from) === dir) {
        Deno.renameSync = renameSync;
        // It tries at once, and finds the place taken by somebody who is about to end.
        start = lockInstanceAfterEnd(options, systemClock);
        seen.push([...Deno.readDirSync(dir)].map(({ name }) => name).sort());
      }
      renameSync(from, to);
    };
    const outcome = home.prune();
    assertEquals(removed(home, outcome), ["agent state/api", "log logs/api.log"]);
    assertEquals(seen, [["journal.db", "lock"]], "until then it is whole");
    const lock = await start!;
    assertEquals(lock.dir, dir);
    assertEquals(home.all("state"), ["state/api", "state/api/lock"]);
    assertEquals(Deno.readTextFileSync(join(dir, "lock")), "7\n");
    lock.release();
  });
});

Deno.test("a prune that dies over a removal leaves the agent whole or gone, and the next one does the rest", async () => {
  await withHome((home) => {
    const dir = home.agent("api", DONE);
    home.age(LONG_AGO);
    const { removeSync } = Deno;
    Deno.removeSync = (path, options) => {
      if (!String(path).includes(".pruned-") || options?.recursive !== true) return removeSync(path, options);
      // The first file of it, as a crash would have it.
      if (Deno.lstatSync(path).isDirectory) {
        removeSync(join(String(path), "journal.db"));
        throw new Error("no further");
      }
      removeSync(path, options);
    };
    let outcome: Outcome;
    try {
      outcome = home.prune();
    } finally {
      Deno.removeSync = removeSync;
    }
    assertEquals(removed(home, outcome), ["log logs/api.log"]);
    assertMatch(outcome.failed[0]!.path, /\/state\/\.pruned-[0-9a-f]{12}$/);
    assertEquals(outcome.failed.map(({ problem }) => problem), ["no further"]);
    const start = lockInstance({ stateDir: home.state, agentId: () => "api", fixed: true, pid: 7 });
    assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name), ["lock"]);
    start.release();
    home.age(LATELY, "state/api");
    const next = home.prune();
    assertMatch(removed(home, next).join(), /^leftover state\/\.pruned-[0-9a-f]{12}$/);
    assertEquals(home.all("state"), ["state/api", "state/api/lock"]);
  });
});

Deno.test("prune goes into no directory that is a link, and not into a home that another one tidies up", async () => {
  await withHome((home) => {
    const turn = Deno.openSync(home.home, { read: true });
    assert(turn.tryLockSync(true));
    const busy = assertThrows(() => home.prune(), RunnerError, "another prune is at work");
    assertEquals(busy.code, "E_LOCKED");
    turn.close();
    home.agent("api");
    home.age(LONG_AGO);
    Deno.renameSync(home.state, join(home.home, "real"));
    Deno.symlinkSync(join(home.home, "real"), home.state);
    const before = home.all();
    const link = assertThrows(() => home.prune(), RunnerError, "it is a link, or no directory");
    assertEquals(link.code, "E_HOME");
    assertEquals(home.all(), before);
  });
});

Deno.test("a home can be pruned again at once, also while another thread starts processes", async () => {
  await withHome(async (home) => {
    await whileForking(() => {
      for (let i = 0; i < 1_000; i++) home.prune();
    });
  });
});

Deno.test("prune finds nothing to do in a home that is not there", async () => {
  await withTempDir((dir) => {
    const paths = resolvePaths({ AGENT_RELAY_HOME: join(dir, "none") });
    const rules = { now: NOW, olderThanMs: 30 * DAY };
    assertEquals(pruneHome({ paths, rules, dryRun: false, pid: 1 }), { removed: [], kept: [], failed: [] });
    assertEquals([...Deno.readDirSync(dir)], []);
  });
});
