import { systemClock } from "../../lib/base/clock.ts";
import { join } from "@std/path";
import { noLog } from "../../lib/base/log.ts";
import type { JournalRow, MessageState } from "../../lib/inbox/contract.ts";
import { receivedRow } from "../../lib/inbox/core/row.ts";
import { openJournal } from "../../lib/inbox/journal.ts";
import { withTempDir } from "../support/temp.ts";
import { fdatasyncMs, quantile } from "./_figures.ts";

const NOW = 1_800_000_000_000;
const COMMITS = 200;
const WINDOW = 64;

function row(id: number, state: MessageState): JournalRow {
  const body = "x".repeat(1_024);
  const message = {
    id,
    storeId: "store",
    from: "a",
    to: "b",
    kind: "chat" as const,
    body,
    claimable: false,
    createdAt: NOW,
  };
  return { ...receivedRow(message, NOW), state };
}

/** One commit of the journal (synchronous=FULL) with one new message of 1 KiB, and with a window of 64, beside `fdatasync`. */
export async function run(): Promise<Record<string, number>> {
  return await withTempDir(async (dir) => {
    const sync = await fdatasyncMs(dir);
    const journal = openJournal({ path: join(dir, "journal.db"), clock: systemClock, log: noLog });
    let id = 0;
    const commit = (rows: number, state: MessageState) => {
      const batch = Array.from({ length: rows }, () => row(++id, state));
      const began = performance.now();
      journal.write({ rows: batch, commands: [] });
      return performance.now() - began;
    };
    const times = (rows: number) =>
      Array.from({ length: COMMITS }, () => commit(rows, { state: "received" }));
    const [one, many] = [times(1), times(WINDOW)];
    journal.close();
    return {
      commit_1_p50_ms: quantile(one, 0.5),
      commit_1_p99_ms: quantile(one, 0.99),
      commit_64_p50_ms: quantile(many, 0.5),
      row_of_64_us: quantile(many, 0.5) / WINDOW * 1_000,
      fdatasync_p50_ms: sync.p50,
      commit_x_fdatasync: quantile(one, 0.5) / sync.p50,
    };
  });
}
