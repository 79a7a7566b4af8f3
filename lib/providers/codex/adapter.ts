import type { ProviderAdapter } from "../contract.ts";
import { serverArguments, splitArguments } from "./arguments.ts";
import { HeadStart } from "./head_start.ts";
import { CodexTerminal } from "./terminal.ts";

/** OpenAI Codex, for one run. One delivery at a time: the next message is the next turn. */
export function createCodexAdapter(): ProviderAdapter {
  const terminal = new CodexTerminal();
  const headStart = new HeadStart(terminal);
  return {
    provider: "codex",
    window: 1,
    buildSpawnArgs: (launch) => serverArguments(splitArguments(launch.args), "SHA256", 0),
    async prepare(setup, ports) {
      splitArguments(setup.args);
      await headStart.begin(setup, ports);
      // Loaded while the server starts; `spawn` says what may be wrong with it.
      import("./session.ts").catch(() => {});
    },
    async spawn(launch, ports) {
      const { CodexSession } = await import("./session.ts");
      return await CodexSession.start(launch, ports, terminal, headStart);
    },
    async dispose(options) {
      await Promise.all([headStart.dispose(), terminal.dispose(options)]);
    },
  };
}
