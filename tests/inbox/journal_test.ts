import { assert, assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { DatabaseSync } from "node:sqlite";
import { RunnerError } from "../../lib/base/errors.ts";
import { noLog } from "../../lib/base/log.ts";
import type { Journal, JournalRow, MessageState } from "../../lib/inbox/contract.ts";
import { keyOf, receivedRow } from "../../lib/inbox/core/row.ts";
import { openJournal } from "../../lib/inbox/journal.ts";
import type { Message } from "../../lib/protocol/message.ts";
import { withTempDir } from "../support/temp.ts";

const NOW = 1_800_000_000_000;

function message(id: number, body = `body ${id}`): Message {
  return { id, storeId: "store", from: "a", to: "b", kind: "chat", body, claimable: false, createdAt: NOW };
}

function rowOf(
  id: number,
  state: MessageState = { state: "received" },
  more: Partial<JournalRow> = {},
): JournalRow {
  return { ...receivedRow(message(id), NOW), state, ...more };
}

const open = (dir: string): Journal =>
  openJournal({ path: join(dir, "journal.db"), wall: () => NOW, log: noLog });
const write = (journal: Journal, ...rows: JournalRow[]) => journal.write({ rows, commands: [] });

Deno.test("a journal gives back what was written, open rows in message order and ended ones as known keys", async () => {
  await withTempDir((dir) => {
    const journal = open(dir);
    const done: MessageState = { state: "done", deliveryId: "d", evidence: "e" };
    write(
      journal,
      rowOf(10),
      rowOf(9),
      rowOf(2, done, { acked: true }),
      rowOf(3, { state: "dead", reason: "r" }),
    );
    journal.write({
      rows: [],
      commands: [{ commandId: "c", type: "agent.restart", phase: "started", at: NOW }],
      resume: "session",
    });
    assertEquals([journal.nextIncarnation(), journal.nextIncarnation()], [1, 2]);
    journal.close();
    journal.close();
    const again = open(dir);
    const snapshot = again.load();
    assertEquals(snapshot.open.map((row) => row.messageId), [9, 10]);
    assertEquals(snapshot.open[1], rowOf(10));
    assertEquals(snapshot.known.sort(), [keyOf("store", 2), keyOf("store", 3)]);
    assertEquals([snapshot.commands.length, snapshot.resume, snapshot.incarnation], [1, "session", 2]);
    assertEquals(again.dead()[0]!.message!.body, "body 3", "a dead letter keeps its body");
    assertEquals(again.find(keyOf("store", 2))!.message, null, "an ended message does not");
    again.close();
  });
});

Deno.test("a claim that was lost is not known, so that the message can be taken when it is offered again", async () => {
  await withTempDir((dir) => {
    const journal = open(dir);
    write(journal, rowOf(1, { state: "skipped", reason: "r" }));
    assertEquals(journal.load().known, []);
    journal.close();
  });
});

Deno.test("a row that was changed on disk is put aside and never acted on", async () => {
  await withTempDir((dir) => {
    const journal = open(dir);
    write(journal, rowOf(1), rowOf(2));
    journal.close();
    const db = new DatabaseSync(join(dir, "journal.db"));
    db.exec("UPDATE message SET data = replace(data, 'received', 'seen____') WHERE ordinal = 1");
    db.close();
    const again = open(dir);
    const snapshot = again.load();
    assertEquals(snapshot.open.map((row) => row.messageId), [2]);
    assertEquals(snapshot.quarantined, ["message store/1"]);
    assertEquals(again.load().quarantined, []);
    again.close();
  });
});

Deno.test("a file that is no database is moved to quarantine and a new journal begins", async () => {
  await withTempDir((dir) => {
    Deno.writeTextFileSync(join(dir, "journal.db"), "garbage ".repeat(2_000));
    const journal = open(dir);
    const snapshot = journal.load();
    assertEquals([snapshot.open, snapshot.quarantined.length], [[], 1]);
    write(journal, rowOf(1));
    journal.close();
    const [kept] = [...Deno.readDirSync(join(dir, "quarantine"))];
    assertEquals(Deno.readTextFileSync(join(dir, "quarantine", kept!.name)).startsWith("garbage"), true);
    Deno.writeTextFileSync(join(dir, "empty.db"), "");
    openJournal({ path: join(dir, "empty.db"), wall: () => NOW, log: noLog }).close();
  });
});

Deno.test("a newer schema is refused and left as it is", async () => {
  await withTempDir((dir) => {
    open(dir).close();
    const db = new DatabaseSync(join(dir, "journal.db"));
    db.exec("PRAGMA user_version = 9");
    db.close();
    const error = assertThrows(() => open(dir), RunnerError);
    assertEquals(error.code, "E_STATE");
  });
});

Deno.test("no single-bit flip of a journal crashes the start or shows a row that was not written", async () => {
  await withTempDir((dir) => {
    const path = join(dir, "journal.db");
    const journal = open(dir);
    const written = Array.from({ length: 8 }, (_, i) => rowOf(i + 1));
    write(journal, ...written);
    journal.close();
    const good = Deno.readFileSync(path);
    // A text that was hit is not there any more: the relay has it.
    const shed = (row: JournalRow) => ({ ...row, shed: true, message: { ...row.message!, body: "" } });
    const truth = new Set(written.flatMap((row) => [row, shed(row)].map((each) => JSON.stringify(each))));
    let refused = 0;
    let intact = 0;
    // Prime steps reach every part of the file and every bit of a byte.
    for (let i = 0; i < 300; i++) {
      const at = (i * 7_919) % good.length;
      const flipped = good.slice();
      flipped[at]! ^= 1 << (i % 8);
      Deno.writeFileSync(path, flipped);
      for (const suffix of ["-wal", "-shm"]) {
        try {
          Deno.removeSync(path + suffix);
        } catch { /* not there */ }
      }
      try {
        const opened = open(dir);
        try {
          const { open: rows } = opened.load();
          for (const row of rows) assert(truth.has(JSON.stringify(row)), `flip at ${at} made up a row`);
          if (rows.length === written.length) intact++;
        } finally {
          opened.close();
        }
      } catch (error) {
        assert(error instanceof RunnerError, `flip at ${at}: ${error}`);
        refused++;
      }
    }
    assert(intact > 0 && intact < 300, `${intact} of 300 flips left all rows readable, ${refused} refused`);
  });
});
