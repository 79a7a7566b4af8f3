import { RunnerError } from "../base/errors.ts";
import type { Verb } from "./contract.ts";

function notBuilt(name: string): () => Promise<Verb> {
  return () => Promise.reject(new RunnerError("E_INTERNAL", `Cannot run "${name}": not part of this build`));
}

/**
 * One dynamic import per implementation, so that a verb loads only its own modules: `runner version` must not
 * pay for the SQLite store.
 */
export const LOADERS = {
  run: notBuilt("run"),
  send: notBuilt("send"),
  agents: notBuilt("agents"),
  receipt: notBuilt("receipt"),
  stop: notBuilt("stop"),
  restart: notBuilt("restart"),
  relay: notBuilt("relay"),
  demo: notBuilt("demo"),
  echoAgent: notBuilt("__echo-agent"),
  help: async (): Promise<Verb> => (await import("./verbs/help.ts")).run,
  version: async (): Promise<Verb> => (await import("./verbs/version.ts")).run,
} as const satisfies Record<string, () => Promise<Verb>>;
