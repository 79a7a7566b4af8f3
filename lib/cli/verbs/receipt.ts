import { RunnerError, shown } from "../../base/errors.ts";
import type { Verb } from "../contract.ts";
import { openRelay, valueOf } from "../relay_access.ts";
import { receiptText } from "../receipt_text.ts";

/** Shows what happened to a message, stage by stage, with the evidence of each. */
export const run: Verb = async (invocation, io) => {
  const given = invocation.positionals[0]!;
  if (!/^\d{1,15}$/.test(given)) {
    throw new RunnerError("E_USAGE", `"${shown(given)}" is no message id`, {
      hint: "like: runner receipt 42",
    });
  }
  const access = await openRelay(invocation, io);
  const receipt = valueOf(await access.http.receipt(Number(given)), access.url);
  io.out(invocation.flags.json === true ? JSON.stringify(receipt) + "\n" : receiptText(receipt, io.color));
  return 0;
};
