import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { noLog } from "../../lib/base/log.ts";
import type { JournalRow } from "../../lib/inbox/contract.ts";
import { openJournal } from "../../lib/inbox/journal.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { testMessage, testRow } from "../support/rows.ts";
import { withTempDir } from "../support/temp.ts";

function rowOf(id: number, body: string): JournalRow {
  return testRow(id, undefined, { message: testMessage(id, { body }) });
}

Deno.test("a journal's log is folded into the database long before it fills a small disk", async () => {
  await withTempDir((dir) => {
    const path = join(dir, "journal.db");
    const journal = openJournal({ path, clock: new FakeClock(1), log: noLog });
    let largest = 0;
    for (let id = 1; id <= 200; id++) {
      const row = rowOf(id, "x".repeat(50_000));
      journal.write({ rows: [row], commands: [] });
      journal.write({
        rows: [{ ...row, acked: true, state: { state: "done", deliveryId: "d", evidence: "e" } }],
        commands: [],
      });
      largest = Math.max(largest, Deno.statSync(path + "-wal").size);
    }
    journal.close();
    // 200 bodies of 50 kB went through it.
    assert(largest < 2 * 1024 * 1024, `the log grew to ${largest} bytes`);
  });
});

Deno.test("a journal's log is folded into the database once it is at rest, and by no commit before", async () => {
  await withTempDir(async (dir) => {
    const path = join(dir, "journal.db");
    const clock = new FakeClock(1);
    const journal = openJournal({ path, clock, log: noLog });
    const size = () => Deno.statSync(path).size;
    const before = size();
    for (let id = 1; id <= 40; id++) {
      journal.write({ rows: [rowOf(id, "hello")], commands: [] });
      await clock.advance(2);
    }
    assertEquals(size(), before, "a commit folded the log in while messages came");
    await clock.advance(3);
    assert(size() > before, "the log was not folded in at rest");
    for (let id = 41; id <= 80; id++) journal.write({ rows: [rowOf(id, "hello")], commands: [] });
    journal.close();
    assertEquals(clock.pending, 0, "a closed journal has something to do");
  });
});
