import { assert } from "@std/assert";
import { join } from "@std/path";
import { noLog } from "../../lib/base/log.ts";
import { receivedRow } from "../../lib/inbox/core/row.ts";
import { openJournal } from "../../lib/inbox/journal.ts";
import { withTempDir } from "../support/temp.ts";

Deno.test("a journal's log is folded into the database long before it fills a small disk", async () => {
  await withTempDir((dir) => {
    const path = join(dir, "journal.db");
    const journal = openJournal({ path, wall: () => 1, log: noLog });
    let largest = 0;
    for (let id = 1; id <= 200; id++) {
      const row = receivedRow(
        {
          id,
          storeId: "store",
          from: "a",
          to: "b",
          kind: "chat",
          body: "x".repeat(50_000),
          claimable: false,
          createdAt: 1,
        },
        1,
      );
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
