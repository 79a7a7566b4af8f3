import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { noLog } from "../../lib/base/log.ts";
import { receivedRow } from "../../lib/inbox/core/row.ts";
import { openJournal } from "../../lib/inbox/journal.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { slowPlans, statementsOf } from "../support/query_plans.ts";
import { withTempDir } from "../support/temp.ts";

const NOW = 1_800_000_000_000;
/** Few rows, and read whole at a start only. */
const SMALL =
  /^SELECT key, file, checksum, envelope_checksum FROM body$|FROM command ORDER BY updated_at|FROM sqlite_schema|DELETE FROM command/;

Deno.test("the journal finds its rows by an index, in their order, whatever it remembers", async () => {
  await withTempDir(async (dir) => {
    const path = join(dir, "journal.db");
    const statements = await statementsOf(() => {
      const journal = openJournal({ path, clock: new FakeClock(NOW), log: noLog });
      const rows = Array.from({ length: 10_002 }, (_, id) => {
        const message = { id, storeId: "s", from: "a", to: "b", kind: "chat", body: "x", claimable: false };
        return receivedRow({ ...message, createdAt: NOW }, NOW);
      });
      journal.write({ rows, commands: [] });
      journal.write({
        rows: rows.map((row) => ({
          ...row,
          acked: true,
          state: { state: "done", deliveryId: "d", evidence: "e" },
        })),
        commands: [],
      });
      journal.prune(NOW + 8 * 24 * 3_600_000);
      journal.load();
      journal.find("s/1");
      journal.close();
    });
    assert(statements.some((sql) => sql.startsWith("DELETE FROM message")), "nothing was pruned");
    assert(statements.length > 12, `only ${statements.length} statements were seen`);
    assertEquals(slowPlans(path, statements.filter((sql) => !SMALL.test(sql))), []);
  });
});
