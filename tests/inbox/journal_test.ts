import { assert, assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { DatabaseSync } from "node:sqlite";
import { RunnerError } from "../../lib/base/errors.ts";
import { noLog } from "../../lib/base/log.ts";
import type { Journal, JournalRow, MessageState } from "../../lib/inbox/contract.ts";
import { keyOf, LOCAL_STORE, receivedRow } from "../../lib/inbox/core/row.ts";
import { checksum, shaChecksum } from "../../lib/inbox/checksum.ts";
import { openJournal } from "../../lib/inbox/journal.ts";
import { lookIntoJournal } from "../../lib/inbox/look.ts";
import { JOURNAL_VERSION } from "../../lib/inbox/schema.ts";
import type { Message } from "../../lib/protocol/message.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { NOW, testMessage, testRow } from "../support/rows.ts";
import { withTempDir } from "../support/temp.ts";

function message(id: number, body = `body ${id}`): Message {
  return testMessage(id, { storeId: "store", body });
}

function rowOf(id: number, state?: MessageState, more: Partial<JournalRow> = {}): JournalRow {
  return { ...testRow(id, state, { message: message(id) }), ...more };
}

const open = (dir: string): Journal =>
  openJournal({ path: join(dir, "journal.db"), clock: new FakeClock(NOW), log: noLog });

/** What the tables of versions 1 to 3 have in common. */
const EARLIER = `
  CREATE TABLE message (key TEXT PRIMARY KEY, ordinal INTEGER NOT NULL, open INTEGER NOT NULL,
    state TEXT NOT NULL, data TEXT NOT NULL, updated_at INTEGER NOT NULL, checksum TEXT NOT NULL) STRICT;
  CREATE INDEX message_ended ON message (updated_at) WHERE open = 0;
  CREATE TABLE command (id TEXT PRIMARY KEY, data TEXT NOT NULL, updated_at INTEGER NOT NULL,
    checksum TEXT NOT NULL) STRICT;
  CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL, checksum TEXT NOT NULL) STRICT;
  CREATE TABLE quarantine (at INTEGER NOT NULL, origin TEXT NOT NULL, data TEXT NOT NULL) STRICT;
`;

/** The texts that stand in the journal's file, by their keys. */
function textsIn(dir: string): Record<string, string> {
  const db = new DatabaseSync(join(dir, "journal.db"), { readOnly: true });
  const rows = db.prepare("SELECT key, text FROM body").all() as { key: string; text: string }[];
  db.close();
  return Object.fromEntries(rows.map(({ key, text }) => [key, text]));
}
const write = (journal: Journal, ...rows: JournalRow[]) => journal.write({ rows, commands: [] });

Deno.test("a journal that has no room for a text keeps its row, and the run after asks the relay for the text", async () => {
  await withTempDir((dir) => {
    // Stands where the directory of large texts would be.
    Deno.writeTextFileSync(join(dir, "bodies"), "");
    const large = (id: number, storeId: string) =>
      receivedRow({ ...message(id, "x".repeat(300_000)), storeId }, NOW);
    const journal = open(dir);
    write(journal, large(1, "store"));
    write(journal, rowOf(2));
    assertThrows(() => write(journal, large(3, LOCAL_STORE)), RunnerError, "bodies");
    journal.close();
    const { open: rows } = open(dir).load();
    assertEquals(rows.map(({ messageId, shed, message }) => [messageId, shed, message!.body]), [
      [1, true, ""],
      [2, false, "body 2"],
    ]);
  });
});

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
      incarnation: 2,
    });
    journal.close();
    journal.close();
    const again = open(dir);
    const snapshot = again.load();
    assertEquals(snapshot.open.map((row) => row.messageId), [9, 10]);
    assertEquals(snapshot.open[1], rowOf(10));
    assertEquals(snapshot.known.sort(), [keyOf("store", 2), keyOf("store", 3)]);
    assertEquals([snapshot.commands.length, snapshot.resume, snapshot.incarnation], [1, "session", 2]);
    assertEquals(
      textsIn(dir),
      { "store/3": "body 3", "store/9": "body 9", "store/10": "body 10" },
      "a dead letter keeps its text",
    );
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
    openJournal({ path: join(dir, "empty.db"), clock: new FakeClock(NOW), log: noLog }).close();
  });
});

Deno.test("a newer schema is refused and left as it is, byte for byte, with its log beside it", async () => {
  await withTempDir((dir) => {
    const path = join(dir, "journal.db");
    const journal = open(dir);
    write(journal, rowOf(1));
    const newer = new DatabaseSync(path);
    newer.exec("PRAGMA user_version = 9");
    const files = () =>
      ["", "-wal"].map((suffix) => Deno.readFileSync(path + suffix)).map((bytes) =>
        [bytes.length, ...bytes].join()
      );
    const before = files();
    for (let i = 0; i < 2; i++) assertEquals(assertThrows(() => open(dir), RunnerError).code, "E_STATE");
    assertEquals(files(), before);
    newer.exec(`PRAGMA user_version = ${JOURNAL_VERSION}`);
    newer.close();
    journal.close();
    const again = open(dir);
    assertEquals(again.load().open.length, 1, "positive control");
    again.close();
  });
});

Deno.test("a journal of version 1 is taken over with its texts and its dead letters", async () => {
  await withTempDir((dir) => {
    const db = new DatabaseSync(join(dir, "journal.db"));
    db.exec(`
      ${EARLIER}
      CREATE INDEX message_open ON message (open, ordinal);
      PRAGMA user_version = 1`);
    for (
      const [id, state, isOpen] of [[1, { state: "received" }, 1], [
        2,
        { state: "dead", reason: "r" },
        0,
      ]] as const
    ) {
      const { generation: _generation, shed: _shed, ...old } = rowOf(id, state);
      const data = JSON.stringify(old);
      db.prepare("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?)")
        .run(
          old.key,
          id,
          isOpen,
          state.state,
          data,
          NOW,
          shaChecksum(old.key, id, isOpen, state.state, data, NOW),
        );
    }
    db.close();
    assertEquals(lookIntoJournal(join(dir, "journal.db")), { state: "whole", open: 1, dead: 1 });
    const journal = open(dir);
    const { open: rows, dead, quarantined } = journal.load();
    assertEquals(rows, [rowOf(1)]);
    assertEquals(dead.map((row) => [row.messageId, row.generation]), [[2, 0]]);
    assertEquals(quarantined, []);
    write(journal, { ...rows[0]!, state: { state: "claimed" } });
    journal.close();
    const again = open(dir);
    assertEquals(again.load().open[0]!.message!.body, "body 1");
    again.close();
  });
});

for (
  const [version, index] of [
    [2, "CREATE INDEX message_open ON message (open, ordinal)"],
    [3, "CREATE INDEX message_waiting ON message (ordinal, key) WHERE open = 1"],
  ] as const
) {
  Deno.test(`a journal of version ${version} is taken over with messages in every place, and goes on in the new form`, async () => {
    await withTempDir((dir) => {
      const db = new DatabaseSync(join(dir, "journal.db"));
      db.exec(`
      ${EARLIER}
      ${index};
      CREATE INDEX message_dead ON message (ordinal) WHERE state = 'dead';
      CREATE TABLE body (
        key TEXT PRIMARY KEY,
        text TEXT NOT NULL,
        -- Name of the file that holds the text, '' when it is here.
        file TEXT NOT NULL,
        checksum TEXT NOT NULL
      ) STRICT;
      PRAGMA user_version = ${version}`);
      const seen: MessageState = { state: "seen", deliveryId: "d", incarnation: 2, evidence: "e" };
      const done: MessageState = { state: "done", deliveryId: "d", evidence: "e" };
      const rows = [
        rowOf(1),
        rowOf(2, seen, { attempt: 2, failures: 1, redelivery: 1, generation: 3, handed: true }),
        rowOf(3, done, { reply: "the answer" }),
        rowOf(4, { state: "dead", reason: "r" }),
        rowOf(5, done, { acked: true }),
        rowOf(6, { state: "received" }, { shed: true }),
      ];
      const texts = new Set([1, 2, 3, 4]);
      for (const row of rows) {
        const { key, messageId: id, state: { state }, updatedAt } = row;
        const open = id === 4 || id === 5 ? 0 : 1;
        const data = JSON.stringify({ ...row, message: id === 5 ? null : { ...row.message!, body: "" } });
        db.prepare("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?)")
          .run(key, id, open, state, data, updatedAt, checksum(key, id, open, state, data, updatedAt));
        if (!texts.has(id)) continue;
        db.prepare("INSERT INTO body VALUES (?, ?, '', ?)")
          .run(key, row.message!.body, checksum(key, row.message!.body));
      }
      db.close();
      assertEquals(lookIntoJournal(join(dir, "journal.db")), { state: "whole", open: 4, dead: 1 });
      const expected = [rows[0]!, rows[1]!, rows[2]!, { ...rows[5]!, message: { ...message(6), body: "" } }];
      for (let start = 0; start < 2; start++) {
        const journal = open(dir);
        const { open: found, dead, known, quarantined } = journal.load();
        assertEquals(found, expected);
        assertEquals([dead.map((row) => row.messageId), known.sort()], [[4], [
          keyOf("store", 4),
          keyOf("store", 5),
        ]]);
        assertEquals(quarantined, []);
        // As it goes on, every row takes the form of this version.
        write(journal, ...found);
        journal.close();
      }
      const journal = open(dir);
      write(journal, ...expected.map((row) => ({ ...row, state: done, acked: true, reply: null })));
      journal.close();
      assertEquals(textsIn(dir), { "store/4": "body 4" }, "what ended leaves no text, what is dead keeps it");
      const again = open(dir);
      const { open: left, known } = again.load();
      assertEquals([left, known.length], [[], 6]);
      again.close();
    });
  });
}

Deno.test("a large text that was stored stays when the write that would store it again fails", async () => {
  await withTempDir((dir) => {
    const large = receivedRow({ ...message(1, "x".repeat(300_000)), storeId: LOCAL_STORE }, NOW);
    const journal = open(dir);
    write(journal, large);
    journal.close();
    const other = new DatabaseSync(join(dir, "journal.db"));
    // As versions 2 and 3 left it: the text is there, the envelope is in the row.
    other.exec("UPDATE body SET envelope = '', envelope_checksum = ''");
    const data = JSON.stringify({ ...large, message: { ...large.message!, body: "" } });
    other.prepare("UPDATE message SET data = ?, checksum = ?")
      .run(data, checksum(large.key, 1, 1, "received", data, NOW));
    const again = open(dir);
    assertEquals(again.load().open, [large]);
    other.exec("CREATE TRIGGER full BEFORE INSERT ON message BEGIN SELECT RAISE(FAIL, 'full'); END");
    assertThrows(() => write(again, large), RunnerError, "full");
    other.exec("DROP TRIGGER full");
    other.close();
    again.close();
    const last = open(dir);
    assertEquals(last.load().open, [large]);
    write(last, large);
    last.close();
  });
});

Deno.test("a transaction that fails takes back nothing of the one before it", async () => {
  await withTempDir((dir) => {
    const journal = open(dir);
    write(journal, rowOf(1), rowOf(2));
    write(journal, rowOf(3));
    const other = new DatabaseSync(join(dir, "journal.db"));
    other.exec("UPDATE message SET data = 'damaged' WHERE ordinal = 2");
    other.exec("CREATE TRIGGER full BEFORE INSERT ON quarantine BEGIN SELECT RAISE(FAIL, 'full'); END");
    assertThrows(() => journal.find(keyOf("store", 2)), RunnerError, "full");
    other.exec("DROP TRIGGER full");
    other.close();
    const done: MessageState = { state: "done", deliveryId: "d", evidence: "e" };
    write(journal, rowOf(3, done, { acked: true }));
    assertEquals(textsIn(dir), { "store/1": "body 1", "store/2": "body 2" });
    journal.close();
  });
});

Deno.test("a row whose message is damaged is put aside, one whose text is damaged waits for it", async () => {
  await withTempDir((dir) => {
    const journal = open(dir);
    write(journal, rowOf(1), rowOf(2), rowOf(3));
    journal.close();
    const db = new DatabaseSync(join(dir, "journal.db"));
    db.exec("UPDATE body SET envelope = replace(envelope, 'chat', 'chit') WHERE key = 'store/1'");
    db.exec("UPDATE body SET text = 'body 7' WHERE key = 'store/2'");
    db.close();
    const again = open(dir);
    const { open: rows, quarantined } = again.load();
    assertEquals(quarantined, ["message store/1"]);
    assertEquals(rows.map((row) => [row.messageId, row.shed, row.message!.body]), [
      [2, true, ""],
      [3, false, "body 3"],
    ]);
    // The relay had it: it is kept again.
    write(again, { ...rows[0]!, shed: false, message: message(2) });
    again.close();
    const last = open(dir);
    assertEquals(last.load().open.map((row) => row.message!.body), ["body 2", "body 3"]);
    last.close();
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

Deno.test("a journal that lives for long keeps its last 10,000 messages, at most 20,000, and its dead letters", async () => {
  await withTempDir((dir) => {
    const journal = open(dir);
    const done: MessageState = { state: "done", deliveryId: "d", evidence: "e" };
    write(journal, rowOf(1, { state: "dead", reason: "r" }), rowOf(2));
    for (let first = 10; first < 24_010; first += 1_000) {
      const rows = Array.from(
        { length: 1_000 },
        (_, i) => rowOf(first + i, done, { acked: true, updatedAt: NOW + first + i }),
      );
      write(journal, ...rows);
    }
    let calls = 0;
    while (journal.prune(NOW + 30_000)) calls++;
    assert(calls >= 3 && calls <= 5, `${calls} calls, each of bounded work`);
    const ids = [10, 3_000, 5_000, 23_000].map((id) => journal.find(keyOf("store", id)) !== null);
    assertEquals(ids, [false, false, true, true]);
    // A week later those beyond the last 10,000 go as well.
    while (journal.prune(NOW + 8 * 86_400_000));
    assertEquals(journal.find(keyOf("store", 13_000)), null);
    const { open: rows, known, dead } = journal.load();
    assertEquals([rows.length, known.length, dead.length], [1, 10_000, 1]);
    journal.close();
  });
});

Deno.test("a journal whose file is damaged while it is open is put aside, and goes on with what can be read", async () => {
  await withTempDir((dir) => {
    const journal = open(dir);
    const text = "x".repeat(2_000);
    const rows = Array.from({ length: 100 }, (_, i) => receivedRow(message(i + 1, text), NOW));
    write(journal, ...rows);
    // All pages are in the file, and none of its log is left to take them from.
    const other = new DatabaseSync(join(dir, "journal.db"));
    other.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    other.close();
    const path = join(dir, "journal.db");
    const bytes = Deno.readFileSync(path);
    const file = Deno.openSync(path, { write: true });
    // In place, behind the header: another file would not be the one that is open.
    for (let at = 4_096; at + 4_096 <= bytes.length; at += 8_192) {
      file.seekSync(at, Deno.SeekMode.Start);
      file.writeSync(new Uint8Array(4_096).fill(0xa5));
    }
    file.close();
    let told: unknown = null;
    for (let id = 200; id < 400 && told === null; id++) {
      try {
        write(journal, receivedRow(message(id, text), NOW));
      } catch (error) {
        told = error;
      }
    }
    assert(told instanceof RunnerError && told.code === "E_STATE", String(told));
    write(journal, ...rows);
    assertEquals(journal.find(keyOf("store", 7))?.state.state, "received");
    journal.close();
    assertEquals(
      [...Deno.readDirSync(join(dir, "quarantine"))].some(({ name }) => name.endsWith("journal.db")),
      true,
    );
    const again = open(dir);
    const loaded = again.load();
    again.close();
    const keys = new Set(loaded.open.map(({ key }) => key));
    assertEquals(rows.every(({ key }) => keys.has(key)), true);
    assertEquals(loaded.quarantined, [], "the new file is whole");
  });
});

Deno.test("a text with NUL characters is whole after a restart, and its file goes with it", async () => {
  await withTempDir((dir) => {
    const body = "a\0b\0\0";
    const files = () => [...Deno.readDirSync(join(dir, "bodies"))].map(({ name }) => name);
    const row = { ...receivedRow(message(1, body), NOW), reply: "c\0d" };
    const first = open(dir);
    write(first, row, rowOf(2));
    first.close();
    assertEquals([Object.values(textsIn(dir)), files().length], [["", "body 2"], 1]);
    const second = open(dir);
    const { open: found, quarantined } = second.load();
    assertEquals(found.map(({ message, reply, shed }) => [message?.body, reply, shed]), [
      [body, "c\0d", false],
      ["body 2", null, false],
    ]);
    assertEquals(quarantined, []);
    write(second, {
      ...row,
      state: { state: "done", deliveryId: "d", evidence: "e" },
      acked: true,
      reply: null,
    });
    assertEquals(files(), []);
    second.close();
  });
});
