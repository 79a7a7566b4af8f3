import type { ProviderPorts, ProviderSetup } from "../contract.ts";
import { splitArguments } from "./arguments.ts";
import { type Address, type AppServer, startServer } from "./server.ts";
import type { CodexTerminal } from "./terminal.ts";

/** Between SIGTERM and SIGKILL for a server that nobody came for. */
const TERM_MS = 1_000;

/** An app-server, and how it is reached. */
export interface StartedServer {
  server: AppServer;
  address: Address;
}

/**
 * The first app-server of a run, started while the runner itself is still being put together. It knows nothing of a
 * conversation, so that nothing depends on what the journal or the relay will say; a third of the time to readiness
 * passes at once instead of one after the other.
 */
export class HeadStart {
  readonly #terminal: CodexTerminal;
  #begun: Promise<StartedServer> | null = null;

  constructor(terminal: CodexTerminal) {
    this.#terminal = terminal;
  }

  /** Starts the server; resolves once it runs or could not be started, which `take` tells. */
  async begin(
    setup: ProviderSetup,
    ports: Pick<ProviderPorts, "processes" | "log" | "clock">,
  ): Promise<void> {
    this.#begun = serve(setup, ports, this.#terminal.address());
    await this.#begun.catch(() => {});
  }

  /** The server that was started ahead, to the first who asks, else a new one. Rejects when it cannot be started. */
  take(
    setup: ProviderSetup,
    ports: Pick<ProviderPorts, "processes" | "log" | "clock">,
  ): Promise<StartedServer> {
    const begun = this.#begun;
    this.#begun = null;
    return begun ?? serve(setup, ports, this.#terminal.address());
  }

  /** Ends a server that nobody came for. Idempotent, never rejects. */
  async dispose(): Promise<void> {
    const begun = await this.#begun?.catch(() => null);
    this.#begun = null;
    await begun?.server.child.stop({ graceMs: TERM_MS });
  }
}

async function serve(
  setup: ProviderSetup,
  ports: Pick<ProviderPorts, "processes" | "log" | "clock">,
  address: Address,
): Promise<StartedServer> {
  return { server: await startServer(setup, ports, splitArguments(setup.args), address), address };
}
