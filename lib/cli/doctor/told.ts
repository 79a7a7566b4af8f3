import { RunnerError } from "../../base/errors.ts";
import type { Finding } from "./contract.ts";

/** Text and hint of a finding that an error made; what is no error of ours is thrown on. */
export function told(error: unknown): Pick<Finding, "text" | "hint"> {
  if (!(error instanceof RunnerError)) throw error;
  const { message, where, hint } = error;
  return {
    text: where === undefined ? message : `${message} (${where})`,
    ...(hint === undefined ? {} : { hint }),
  };
}
