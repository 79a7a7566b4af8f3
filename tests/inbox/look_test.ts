import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { DatabaseSync } from "node:sqlite";
import { noLog } from "../../lib/base/log.ts";
import type { JournalRow, MessageState } from "../../lib/inbox/contract.ts";
import { openJournal } from "../../lib/inbox/journal.ts";
import { type JournalLook, lookIntoJournal } from "../../lib/inbox/look.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { NOW, testRow as row } from "../support/rows.ts";
import { withTempDir } from "../support/temp.ts";

const DONE: MessageState = { state: "done", deliveryId: "d", evidence: "e" };

/** A journal with these rows, closed in order. */
function journalWith(path: string, ...rows: JournalRow[]): void {
  const journal = openJournal({ path, clock: new FakeClock(NOW), log: noLog });
  journal.write({ rows, commands: [] });
  journal.close();
}

const names = (dir: string) => [...Deno.readDirSync(dir)].map(({ name }) => name).sort();

/** Writes to the database past the journal, as a damaged disk would. */
function change(path: string, sql: string): void {
  const db = new DatabaseSync(path);
  db.exec(sql);
  db.close();
}

Deno.test("lookIntoJournal() counts what has not ended and what waits for a person", async () => {
  await withTempDir((dir) => {
    const path = join(dir, "journal.db");
    assertEquals(lookIntoJournal(path), { state: "none" });
    journalWith(path);
    assertEquals(lookIntoJournal(path), { state: "whole", open: 0, dead: 0 });
    const placed = { deliveryId: "d", incarnation: 1 };
    journalWith(
      path,
      row(1, DONE, { acked: true }),
      row(2, { state: "skipped", reason: "r" }),
      row(3, { state: "dropped", reason: "r" }),
      row(4, { state: "dead", reason: "r" }),
    );
    assertEquals(lookIntoJournal(path), { state: "whole", open: 0, dead: 1 });
    journalWith(
      path,
      row(10, { state: "received" }),
      row(11, { state: "claimed" }),
      row(12, { state: "delivering", ...placed }),
      row(13, { state: "placed", ...placed, evidence: "e" }),
      row(14, { state: "seen", ...placed, evidence: "e" }),
      row(15, { state: "held", reason: "r" }),
      row(16, { state: "retry", failure: "transient", reason: "r", notBefore: 0 }),
      row(17, DONE),
      row(18, DONE, { acked: true, reply: "not sent yet" }),
    );
    assertEquals(lookIntoJournal(path), { state: "whole", open: 9, dead: 1 });
  });
});

Deno.test("lookIntoJournal() leaves a journal as it was, and reads what is only in its log", async () => {
  await withTempDir((dir) => {
    const path = join(dir, "journal.db");
    journalWith(path, row(1, DONE, { acked: true }));
    const before = Deno.readFileSync(path);
    assertEquals(lookIntoJournal(path), { state: "whole", open: 0, dead: 0 });
    assertEquals(names(dir), ["journal.db"]);
    assertEquals(Deno.readFileSync(path), before);
    // As a killed run leaves it.
    const journal = openJournal({ path, clock: new FakeClock(NOW), log: noLog });
    journal.write({ rows: [row(2, { state: "received" })], commands: [] });
    const killed = join(dir, "killed");
    Deno.mkdirSync(killed);
    for (const suffix of ["", "-wal"]) Deno.copyFileSync(path + suffix, join(killed, `journal.db${suffix}`));
    journal.close();
    const log = Deno.readFileSync(join(killed, "journal.db-wal"));
    assertEquals(lookIntoJournal(join(killed, "journal.db")), { state: "whole", open: 1, dead: 0 });
    assertEquals(names(killed), ["journal.db", "journal.db-wal"]);
    assertEquals(Deno.readFileSync(join(killed, "journal.db-wal")), log);
  });
});

Deno.test("lookIntoJournal() tells a damaged journal and a newer one from one that holds nothing", async () => {
  const wrongSum = "UPDATE message SET open = 0, state = 'done'";
  const cases: [string, (path: string) => void, JournalLook][] = [
    ["a row that was changed", (path) => change(path, wrongSum), {
      state: "damaged",
      problem: "a row does not fit its checksum",
    }],
    ["other tables", (path) => change(path, "DROP INDEX message_dead"), {
      state: "damaged",
      problem: "malformed: the definitions of the tables",
    }],
    ["a newer one", (path) => change(path, "PRAGMA user_version = 99"), { state: "newer" }],
    ["no database", (path) => Deno.writeTextFileSync(path, "x".repeat(200)), {
      state: "damaged",
      problem: "not a database",
    }],
    ["a short one", (path) => Deno.truncateSync(path, 50), { state: "damaged", problem: "the file is cut" }],
    ["an empty one", (path) => Deno.truncateSync(path, 0), { state: "none" }],
    ["an empty one beside a log", (path) => {
      Deno.truncateSync(path, 0);
      Deno.writeTextFileSync(`${path}-wal`, "x");
    }, { state: "damaged", problem: "the file is empty beside its log" }],
    ["only a log", (path) => Deno.renameSync(path, `${path}-wal`), {
      state: "damaged",
      problem: "only its log is there",
    }],
  ];
  for (const [name, spoil, expected] of cases) {
    await withTempDir((dir) => {
      const path = join(dir, "journal.db");
      journalWith(path, row(1, { state: "received" }));
      spoil(path);
      assertEquals(lookIntoJournal(path), expected, name);
    });
  }
});

Deno.test("lookIntoJournal() calls a journal damaged that is cut in the middle of its pages", async () => {
  await withTempDir((dir) => {
    const path = join(dir, "journal.db");
    journalWith(path, ...Array.from({ length: 200 }, (_, id) => row(id + 1, DONE, { acked: true })));
    assertEquals(lookIntoJournal(path).state, "whole");
    Deno.truncateSync(path, Math.floor(Deno.statSync(path).size / 2));
    assert(lookIntoJournal(path).state === "damaged");
  });
});
