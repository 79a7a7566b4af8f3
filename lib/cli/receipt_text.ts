import { shown } from "../base/errors.ts";
import type { Receipt } from "../protocol/message.ts";
import { styleFor } from "./style.ts";
import { columns } from "./table_text.ts";

const GOOD = new Set(["seen", "done", "acked"]);
const BAD = new Set(["dead", "failed", "expired", "held", "dropped"]);

/** Returns a receipt for people: the message, then every stage with its time since the send and its evidence. */
export function receiptText(receipt: Receipt, color: boolean): string {
  const style = styleFor(color);
  const { message } = receipt;
  const lines = [
    `message ${message.id} from ${shown(message.from)} to ${shown(message.to)}${
      message.claimable ? " (claimable)" : ""
    }, ${new Date(message.createdAt).toISOString()}\n`,
  ];
  if (receipt.recipients.length === 0) lines.push("no recipient yet\n");
  for (const { agentId, read, dead, reports } of receipt.recipients) {
    const end = dead === true
      ? style.red(`dead letter, see "runner dead show ${message.id}"`)
      : read
      ? "read"
      : "not read";
    lines.push(`${style.bold(agentId)}: ${end}\n`);
    lines.push(columns(reports.map((report) => [
      `  ${
        GOOD.has(report.stage)
          ? style.green(report.stage)
          : BAD.has(report.stage)
          ? style.red(report.stage)
          : report.stage
      }`,
      `+${report.at - message.createdAt} ms`,
      report.attempt === undefined ? "" : `attempt ${report.attempt}`,
      shown(report.evidence ?? "", 120),
    ])));
  }
  for (const reply of receipt.replies) {
    lines.push(`reply ${reply.id} from ${shown(reply.from)}: ${shown(reply.body, 200)}\n`);
  }
  return lines.join("");
}
