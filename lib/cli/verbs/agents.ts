import { showDuration } from "../../base/duration.ts";
import { shown } from "../../base/errors.ts";
import type { AgentCard } from "../../protocol/message.ts";
import type { Verb } from "../contract.ts";
import { openRelay, valueOf } from "../relay_access.ts";
import { styleFor } from "../style.ts";
import { columns } from "../table_text.ts";

/** Lists the agents on the bus. */
export const run: Verb = async (invocation, io) => {
  const { flags } = invocation;
  const access = await openRelay(invocation, io);
  const filter: { tag?: string; cap?: string; label?: string; status?: string } = {};
  for (const name of ["tag", "cap", "label", "status"] as const) {
    const value = flags[name];
    if (typeof value === "string") filter[name] = value;
  }
  const agents = valueOf(await access.http.listAgents(filter), access.url);
  if (flags.json === true) {
    io.out(JSON.stringify({ agents }) + "\n");
    return 0;
  }
  if (agents.length === 0) {
    io.out("no agents\n");
    return 0;
  }
  const style = styleFor(io.color);
  const now = Date.now();
  const paint = (card: AgentCard) =>
    card.status === "error" || card.status === "offline"
      ? style.red(card.status)
      : card.ready
      ? style.green(card.status)
      : style.yellow(card.status);
  io.out(columns([
    ["AGENT", "LABEL", "STATUS", "READY", "SEEN", "WHY"].map(style.dim),
    ...agents.map((card) => [
      shown(card.id),
      shown(card.label ?? "-"),
      paint(card),
      card.ready ? "yes" : "no",
      `${showDuration(Math.max(0, now - card.lastSeen))} ago`,
      shown(
        String(card.meta?.reason ?? (card.meta?.busyReasons as string[] | undefined)?.join(", ") ?? ""),
        120,
      ),
    ]),
  ]));
  return 0;
};
