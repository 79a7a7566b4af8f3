import { assert, assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { noLog } from "../../lib/base/log.ts";
import type { Journal, MessageState } from "../../lib/inbox/contract.ts";
import { keyOf } from "../../lib/inbox/core/row.ts";
import { openJournal } from "../../lib/inbox/journal.ts";
import { DiskModel } from "../sim/disk_model.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { NOW, testRow as row } from "../support/rows.ts";
import { withTempDir } from "../support/temp.ts";

/** A disk with a journal on it: opened again and again, as runs follow each other. */
interface Disk {
  open(): Journal;
}

/** Runs a test of the contract against SQLite and against the model that the simulation uses. */
function contractTest(name: string, test: (disk: Disk) => void): void {
  Deno.test(`a journal ${name} (SQLite)`, () =>
    withTempDir((dir) =>
      test({
        open: () => openJournal({ path: join(dir, "journal.db"), clock: new FakeClock(NOW), log: noLog }),
      })
    ));
  Deno.test(`a journal ${name} (model)`, () => {
    const model = new DiskModel({ fate: () => "ok", damages: () => null, committed: () => {} });
    test({ open: () => model.open() });
  });
}

const DONE: MessageState = { state: "done", deliveryId: "d", evidence: "e" };
const key = (id: number) => keyOf("s", id);

contractTest("gives back open rows whole and in message order", ({ open }) => {
  const journal = open();
  journal.write({ rows: [row(11), row(2)], commands: [] });
  journal.write({ rows: [row(3, { state: "delivering", deliveryId: "x", incarnation: 4 })], commands: [] });
  journal.close();
  const again = open();
  const { open: rows } = again.load();
  assertEquals(rows.map((each) => each.messageId), [2, 3, 11]);
  assertEquals(rows[2], row(11));
  again.close();
});

contractTest("keeps the last state of a row, and of the ended ones the key", ({ open }) => {
  const journal = open();
  journal.write({ rows: [row(1), row(2), row(3), row(4), row(5)], commands: [] });
  journal.write({
    rows: [
      row(1, DONE, { acked: true, updatedAt: NOW + 5 }),
      row(2, { state: "skipped", reason: "r" }),
      row(3, { state: "dead", reason: "r" }, { updatedAt: NOW + 3 }),
      row(4, DONE),
      row(5, { state: "dropped", reason: "r" }, { updatedAt: NOW + 4 }),
    ],
    commands: [],
  });
  journal.close();
  const again = open();
  const { open: rows, known, dead, left } = again.load();
  assertEquals(left.map((each) => each.messageId), [2, 5]);
  assertEquals(rows.map((each) => each.messageId), [4], "done and not acked is open");
  assertEquals(known, [key(3), key(5), key(1)], "oldest first; one that another agent took is not known");
  assertEquals(dead.map((each) => each.messageId), [3]);
  assertEquals([again.find(key(1))!.message, again.find(key(9))], [null, null]);
  again.close();
});

contractTest("keeps commands, conversation and incarnation, each as it was written last", ({ open }) => {
  const journal = open();
  const command = (phase: "started" | "told") => ({ commandId: "c", type: "agent.restart", phase, at: NOW });
  journal.write({ rows: [], commands: [command("started")], resume: "one", incarnation: 1 });
  journal.write({ rows: [], commands: [command("told")], incarnation: 2 });
  journal.close();
  let again = open();
  let snapshot = again.load();
  assertEquals([snapshot.commands, snapshot.resume, snapshot.incarnation], [[command("told")], "one", 2]);
  again.write({ rows: [], commands: [], resume: null });
  again.close();
  again = open();
  snapshot = again.load();
  assertEquals([snapshot.resume, snapshot.incarnation, snapshot.quarantined], [null, 2, []]);
  again.close();
});

Deno.test("the model of a disk that refuses a write keeps nothing of it", () => {
  let full = false;
  const disk = new DiskModel({ fate: () => full ? "error" : "ok", damages: () => null, committed: () => {} });
  const journal = disk.open();
  journal.write({ rows: [row(1)], commands: [] });
  full = true;
  assertThrows(
    () => journal.write({ rows: [row(1, DONE), row(2)], commands: [], resume: "r" }),
    Error,
    "Cannot write",
  );
  const { open, resume } = journal.load();
  assertEquals([open, resume], [[row(1)], null]);
  assert(disk.row(key(2)) === undefined);
});
