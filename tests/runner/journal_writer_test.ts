import { assertEquals } from "@std/assert";
import { RunnerError } from "../../lib/base/errors.ts";
import { noLog } from "../../lib/base/log.ts";
import type { JournalRow, JournalWrite } from "../../lib/inbox/contract.ts";
import { receivedRow } from "../../lib/inbox/core/row.ts";
import type { Effect, Event } from "../../lib/runner/core/types.ts";
import { JournalWriter } from "../../lib/runner/journal_writer.ts";
import type { RunnerPorts } from "../../lib/runner/ports.ts";
import { FakeClock } from "../support/fake_clock.ts";

const row = (id: number, acked: boolean): JournalRow => ({
  ...receivedRow(
    { id, storeId: "s", from: "a", to: "b", kind: "chat", body: "x", claimable: false, createdAt: 0 },
    0,
  ),
  acked,
});
const persist = (id: number, lazy = false): Effect => ({
  type: "persist",
  row: row(id, lazy),
  ...(lazy ? { lazy } : {}),
});

function writer() {
  const clock = new FakeClock();
  const commits: string[] = [];
  const events: Event[] = [];
  const disk = { full: false, damaged: false };
  const open: JournalRow[] = [];
  const journal = {
    write(write: JournalWrite) {
      if (disk.full) throw new Error("no space left");
      if (disk.damaged) {
        disk.damaged = false;
        throw new RunnerError("E_STATE", "the journal was damaged, and a new one is begun");
      }
      commits.push(
        write.rows.map(({ messageId, acked }) => `${messageId}${acked ? " acked" : ""}`).join(", "),
      );
    },
    find: () => null,
    prune: () => false,
  };
  const ports = { clock, journal, log: noLog } as unknown as RunnerPorts;
  const writer = new JournalWriter(ports, (event) => events.push(event), () => open);
  return { clock, commits, events, disk, open, writer };
}

Deno.test("an ack waits for the next commit, but not longer than 100 ms, and is found meanwhile", async () => {
  const { clock, commits, writer: journal } = writer();
  const report: Effect = {
    type: "report",
    storeId: "s",
    report: { messageId: 1, agentId: "b", stage: "acked", at: 0 },
  };
  assertEquals(journal.commit([persist(1, true), report]).length, 2);
  assertEquals(journal.find("s/1")?.acked, true);
  assertEquals(commits, []);
  journal.commit([persist(2)]);
  assertEquals(commits, ["1 acked, 2"]);
  assertEquals([clock.pending, journal.find("s/1")], [0, null]);
  journal.commit([persist(3, true)]);
  await clock.advance(60);
  journal.commit([persist(4, true)]);
  await clock.advance(39);
  assertEquals(commits.length, 1);
  await clock.advance(1);
  assertEquals(commits.slice(1), ["3 acked, 4 acked"]);
  journal.commit([persist(5, true)]);
  journal.stop();
  assertEquals(commits.slice(2), ["5 acked"]);
  assertEquals(clock.pending, 0);
});

Deno.test("an ack that came before the disk was full is written when there is room again", async () => {
  const { clock, commits, events, disk, writer: journal } = writer();
  journal.commit([persist(1, true)]);
  disk.full = true;
  journal.commit([persist(2)]);
  journal.commit([persist(3, true)]);
  await clock.advance(200);
  disk.full = false;
  assertEquals(commits, []);
  await clock.advance(5_000);
  assertEquals(commits, ["1 acked, 2, 3 acked"]);
  assertEquals(events.map((event) => event.type === "storage" && event.ok), [false, true]);
  journal.stop();
});

Deno.test("a journal that was begun anew gets everything that is open, with what was to be written", () => {
  const { commits, events, disk, open, writer: journal } = writer();
  open.push(row(1, false), row(2, false));
  journal.commit([persist(1), persist(2)]);
  disk.damaged = true;
  const effects = journal.commit([{ type: "persist", row: row(2, true) }, persist(3)]);
  assertEquals(effects.length, 2, "nothing is refused");
  assertEquals(commits, ["1, 2", "2 acked, 3, 1"]);
  assertEquals(events, []);
});
