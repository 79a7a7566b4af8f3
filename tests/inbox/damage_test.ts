import { assert, assertEquals } from "@std/assert";
import { dirname, join } from "@std/path";
import { DatabaseSync } from "node:sqlite";
import { RunnerError } from "../../lib/base/errors.ts";
import { type Log, noLog } from "../../lib/base/log.ts";
import { checksum } from "../../lib/inbox/checksum.ts";
import type { Journal, JournalRow, MessageState } from "../../lib/inbox/contract.ts";
import { mayAck, receivedRow } from "../../lib/inbox/core/row.ts";
import { openJournal } from "../../lib/inbox/journal.ts";
import { FakeClock } from "../support/fake_clock.ts";

const NOW = 1_800_000_000_000;
const VARIANTS = 5_000;

/** Every state a message can be in, as the changes that lead to it; the last one is the truth. */
function lives(id: number): JournalRow[][] {
  let next = id;
  const life = (
    states: [MessageState, Partial<JournalRow>?][],
    more: { body?: string; claimable?: boolean } = {},
  ) => {
    const messageId = next++;
    const first = receivedRow({
      id: messageId,
      storeId: "store",
      from: "alice",
      to: "agent",
      kind: "chat",
      body: more.body ?? `the text of ${messageId}`,
      claimable: more.claimable ?? false,
      createdAt: NOW,
    }, NOW);
    let at = NOW;
    return [
      first,
      ...states.map(([state, change = {}]) => ({ ...first, ...change, state, updatedAt: ++at })),
    ];
  };
  const d = { deliveryId: "8a5f7d16-0d52-5f1c-9d3e-2f0c3f1d9b11", incarnation: 3 };
  const delivering: [MessageState] = [{ state: "delivering", ...d }];
  const placed: [MessageState] = [{ state: "placed", ...d, evidence: "queue entry" }];
  const seen: [MessageState] = [{ state: "seen", ...d, evidence: "first answer" }];
  const done: MessageState = { state: "done", deliveryId: d.deliveryId, evidence: "turn ended" };
  const failed: MessageState = { state: "failed", deliveryId: d.deliveryId, reason: "500" };
  return [
    life([]),
    life([[{ state: "claimed" }]], { claimable: true }),
    life([delivering]),
    life([delivering, placed]),
    life([delivering, placed, seen]),
    life([delivering, placed, seen], { claimable: true }),
    life([delivering, placed, seen, [{ ...seen[0] }, { acked: true }]]),
    life([delivering, placed, seen, [done]]),
    life([delivering, placed, seen, [done, { acked: true, reply: "the answer" }]]),
    life([delivering, placed, seen, [done, { acked: true }]]),
    life([delivering, placed, seen, [failed]]),
    life([delivering, placed, seen, [failed, { acked: true }]]),
    life([delivering, [{ state: "retry", failure: "transient", reason: "503", notBefore: NOW }, {
      attempt: 2,
    }]]),
    life([delivering, [{ state: "held", reason: "login" }, { attempt: 2 }]]),
    life([delivering, placed, [{ state: "dead", reason: "too long" }]]),
    life([delivering, placed, [{ state: "dropped", reason: "dropped by a person" }]]),
    life([[{ state: "skipped", reason: "claimed by b" }]], { claimable: true }),
    life([], { body: "a large text ".repeat(25_000) }),
  ];
}

interface Truth {
  rows: Map<string, JournalRow>;
  texts: Map<string, string>;
  /** Every version of every row that was ever written, without its text. */
  versions: Set<string>;
}

const bare = (row: JournalRow) =>
  JSON.stringify({
    ...row,
    shed: false,
    message: row.message === null ? null : { ...row.message, body: "" },
  });

function truthOf(all: JournalRow[][]): Truth {
  const rows = all.map((life) => life.at(-1)!);
  return {
    rows: new Map(rows.map((row) => [row.key, row])),
    texts: new Map(rows.map((row) => [row.key, row.message!.body])),
    versions: new Set(all.flat().map(bare)),
  };
}

/** The files of a journal, by their path below its directory. */
type Files = Map<string, Uint8Array>;

function filesOf(dir: string): Files {
  const files: Files = new Map();
  for (const name of ["journal.db", "journal.db-wal", "journal.db-shm"]) {
    try {
      files.set(name, Deno.readFileSync(join(dir, name)));
    } catch { /* closed: no side files */ }
  }
  for (const { name } of Deno.readDirSync(join(dir, "bodies"))) {
    files.set(join("bodies", name), Deno.readFileSync(join(dir, "bodies", name)));
  }
  return files;
}

function lay(dir: string, files: Files): void {
  try {
    Deno.removeSync(dir, { recursive: true });
  } catch { /* the first one */ }
  Deno.mkdirSync(join(dir, "bodies"), { recursive: true, mode: 0o700 });
  for (const [name, bytes] of files) Deno.writeFileSync(join(dir, name), bytes);
}

interface Verdict {
  outcome: "whole" | "detected" | "rolled back" | "refused";
  violations: string[];
}

/**
 * Opens a damaged journal as a start does and says what is wrong with what it shows. `mayRollBack`: the damage is in
 * the write-ahead log, where it looks like a commit that never came to its end.
 */
function judge(dir: string, files: Files, truth: Truth, mayRollBack: boolean): Verdict {
  const violations: string[] = [];
  let warned = 0;
  const log: Log = { ...noLog, warn: () => warned++ };
  let journal: Journal;
  try {
    journal = openJournal({ path: join(dir, "journal.db"), clock: new FakeClock(NOW), log });
  } catch (error) {
    if (!(error instanceof RunnerError) || error.code !== "E_STATE") {
      return { outcome: "refused", violations: [`crash: ${error}`] };
    }
    const left = Deno.readFileSync(join(dir, "journal.db"));
    if (!same(left, files.get("journal.db")!)) violations.push("a refused journal was changed");
    return { outcome: "refused", violations };
  }
  try {
    const { open, known, dead, quarantined } = journal.load();
    const there = new Set([...open.map((row) => row.key)]);
    for (const row of open) {
      const true_ = truth.rows.get(row.key);
      if (true_ === undefined || !truth.versions.has(bare(row))) violations.push(`made up: ${bare(row)}`);
      else if (mayAck(row) && !row.acked && !mayAck(true_)) violations.push(`wrong ack of ${row.key}`);
      if (!row.shed && row.message!.body !== truth.texts.get(row.key)) {
        violations.push(`wrong text of ${row.key}`);
      }
    }
    for (const key of known) {
      const state = truth.rows.get(key)?.state.state;
      const over = ["done", "failed", "dead", "dropped"].includes(state ?? "");
      if (!over || journal.find(key)?.acked === false && state !== "dead" && state !== "dropped") {
        violations.push(`${key} is taken for ended, it is ${state}`);
      }
    }
    for (const row of dead) {
      if (truth.rows.get(row.key)?.state.state !== "dead") violations.push(`${row.key} is taken for dead`);
    }
    const open_ = [...truth.rows.values()].filter((row) => !row.acked || row.reply !== null)
      .filter((row) => !["dead", "dropped", "skipped"].includes(row.state.state));
    const lost = open_.filter((row) => !there.has(row.key) && !known.includes(row.key));
    const shed = open.filter((row) => row.shed).length;
    const told = warned > 0 || quarantined.length > 0;
    if (lost.length > 0 && !told && !mayRollBack) {
      violations.push(`forgotten in silence: ${lost.map((row) => row.key)}`);
    }
    for (const path of quarantined.filter((each) => each.startsWith("/"))) {
      if (!same(Deno.readFileSync(path), files.get("journal.db")!)) {
        violations.push("quarantine changed the file");
      }
    }
    const probe = receivedRow({ ...[...truth.rows.values()][0]!.message!, id: 999 }, NOW);
    journal.write({ rows: [probe], commands: [] });
    if (journal.find(probe.key) === null) violations.push("it takes nothing new");
    const older = open.some((row) => bare(row) !== bare(truth.rows.get(row.key)!));
    return {
      outcome: told ? "detected" : lost.length > 0 || older ? "rolled back" : shed > 0 ? "detected" : "whole",
      violations,
    };
  } catch (error) {
    violations.push(`crash: ${error}`);
    return { outcome: "detected", violations };
  } finally {
    journal.close();
  }
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** A directory in memory where there is one: thousands of starts must not wear a disk out. */
function memoryDir(): string {
  try {
    return Deno.makeTempDirSync({ dir: "/dev/shm", prefix: "runner-damage-" });
  } catch {
    return Deno.makeTempDirSync({ prefix: "runner-damage-" });
  }
}

/** Journals with messages in every state: `live` as a killed run leaves it, `closed` as an orderly end does. */
function journals(dir: string): { live: Files; closed: Files; truth: Truth } {
  const all = lives(1);
  Deno.mkdirSync(dir);
  const journal = openJournal({ path: join(dir, "journal.db"), clock: new FakeClock(NOW), log: noLog });
  journal.write({
    rows: [],
    commands: [{ commandId: "c1", type: "agent.restart", phase: "ended", at: NOW }],
    resume: "conversation",
    incarnation: 1,
  });
  const longest = Math.max(...all.map((life) => life.length));
  for (let i = 0; i < longest; i++) {
    const rows = all.flatMap((life) => life[i] ?? []);
    journal.write({ rows, commands: [] });
  }
  const live = filesOf(dir);
  journal.close();
  return { live, closed: filesOf(dir), truth: truthOf(all) };
}

/** A fixed stream of numbers: a failing variant is the same at every run. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

Deno.test("5,000 bit flips and cuts of a journal crash no start, fake no evidence and forget nothing in silence", async (t) => {
  const root = memoryDir();
  try {
    const { live, closed, truth } = journals(join(root, "source"));
    assert(live.get("journal.db-wal")!.length > 0 && !closed.has("journal.db-wal"));
    const draw = numbers(20_261_124);
    const counts: Record<string, number> = {
      flips: 0,
      cuts: 0,
      whole: 0,
      detected: 0,
      "rolled back": 0,
      refused: 0,
    };
    const targets: Record<string, number> = {};
    const dir = join(root, "variant");
    for (let i = 0; i < VARIANTS; i++) {
      const base = i % 2 === 0 ? closed : live;
      // Half of the hits go to the file with the rows, whatever its share of the bytes is.
      const names = [...base.keys()];
      const main = base === closed ? "journal.db" : "journal.db-wal";
      const name = draw(2) === 0 ? main : names[draw(names.length)]!;
      const bytes = base.get(name)!.slice();
      let damaged = bytes;
      if (draw(5) === 0) {
        damaged = bytes.slice(0, draw(bytes.length));
        counts.cuts!++;
      } else {
        damaged[draw(bytes.length)]! ^= 1 << draw(8);
        counts.flips!++;
      }
      const kind = `${base === closed ? "closed" : "live"} ${name.replace(/bodies.*/, "text file")}`;
      targets[kind] = (targets[kind] ?? 0) + 1;
      const files: Files = new Map([...base, [name, damaged]]);
      lay(dir, files);
      const { outcome, violations } = judge(dir, files, truth, name === "journal.db-wal");
      assertEquals(violations, [], `variant ${i}: ${kind}`);
      counts[outcome]!++;
    }
    await t.step(JSON.stringify({ variants: VARIANTS, ...counts, targets }), () => {});
    assertEquals(counts.flips! + counts.cuts!, VARIANTS);
    assert(counts.cuts! > 500 && counts.detected! > 1_000 && counts.whole! > 100, JSON.stringify(counts));
    assert(Object.keys(targets).length >= 6, JSON.stringify(targets));
  } finally {
    Deno.removeSync(root, { recursive: true });
  }
});

Deno.test("the judge of damaged journals accepts a whole one and finds faked evidence and a row that is gone", () => {
  const root = memoryDir();
  try {
    const { live, closed, truth } = journals(join(root, "source"));
    const dir = join(root, "variant");
    const changed = (change: (db: DatabaseSync) => void): string[] => {
      lay(dir, closed);
      const db = new DatabaseSync(join(dir, "journal.db"));
      change(db);
      db.close();
      return judge(dir, closed, truth, false).violations;
    };
    for (const files of [live, closed]) {
      lay(dir, files);
      assertEquals(judge(dir, files, truth, false), { outcome: "whole", violations: [] });
    }
    // A row that was changed together with its checksum: what a checksum without its columns would let through.
    const faked = changed((db) => {
      const row = db.prepare("SELECT * FROM message WHERE key = 'store/4'").get() as Record<
        string,
        string | number
      >;
      const data = String(row.data).replace('"placed"', '"seen"');
      db.prepare("UPDATE message SET state = 'seen', data = ?, checksum = ? WHERE key = 'store/4'")
        .run(data, checksum("store/4", 4, 1, "seen", data, Number(row.updated_at)));
    });
    assert(faked.some((each) => /made up|wrong ack/.test(each)), faked.join());
    const gone = changed((db) => db.exec("DELETE FROM message WHERE key = 'store/1'"));
    assertEquals(gone, ["forgotten in silence: store/1"]);
    const ended = changed((db) => {
      const row = db.prepare("SELECT * FROM message WHERE key = 'store/1'").get() as Record<
        string,
        string | number
      >;
      db.prepare("UPDATE message SET open = 0, checksum = ? WHERE key = 'store/1'")
        .run(checksum("store/1", 1, 0, "received", String(row.data), Number(row.updated_at)));
    });
    assert(ended.some((each) => /taken for ended/.test(each)), ended.join());
    // Not with a checksum of its own it is found by the journal itself.
    const caught = changed((db) => db.exec("UPDATE message SET open = 0 WHERE key = 'store/1'"));
    assertEquals(caught, []);
  } finally {
    Deno.removeSync(root, { recursive: true });
  }
});

Deno.test("what a crash left of large texts is removed at the start, and a text is read back from its file", () => {
  const root = memoryDir();
  try {
    const { live } = journals(join(root, "source"));
    const dir = join(root, "again");
    lay(dir, live);
    Deno.writeTextFileSync(join(dir, "bodies", "0123456789"), "left by a crash");
    const journal = openJournal({ path: join(dir, "journal.db"), clock: new FakeClock(NOW), log: noLog });
    const [file, ...others] = [...Deno.readDirSync(join(dir, "bodies"))].map(({ name }) =>
      join(dir, "bodies", name)
    );
    assertEquals(others, []);
    const large = journal.load().open.at(-1)!;
    assertEquals(large.message!.body.length, 325_000);
    const done: MessageState = { state: "done", deliveryId: "d", evidence: "e" };
    journal.write({ rows: [{ ...large, state: done, acked: true }], commands: [] });
    assertEquals([...Deno.readDirSync(dirname(file!))], []);
    journal.write({ rows: [{ ...large, key: "store/77", messageId: 77 }], commands: [] });
    const [fresh] = [...Deno.readDirSync(join(dir, "bodies"))];
    assertEquals(Deno.statSync(join(dir, "bodies", fresh!.name)).mode! & 0o777, 0o600);
    journal.close();
  } finally {
    Deno.removeSync(root, { recursive: true });
  }
});
