import { messageOf } from "../../base/errors.ts";
import { randomToken } from "../../base/secret.ts";
import type { ChildHandle, ExitStatus } from "../../process/contract.ts";
import type { ProviderLaunch, ProviderPorts } from "../contract.ts";
import { quitByPerson } from "../quit.ts";
import { terminalArguments } from "./arguments.ts";
import type { Address } from "./server.ts";

/** Time between SIGTERM, at which the TUI ends at once (0.169.0), and SIGKILL. */
const TERM_MS = 1_000;
/**
 * A TUI that was killed is opened again by itself, since its server and a running turn are well: this long after it was
 * opened last, and {@linkcode REOPEN_LIMIT} times a minute. Beyond that, and when it ended with an error right after it
 * was opened, it is left to the supervisor's back-off.
 */
const SPACING_MS = 1_000;
const REOPEN_LIMIT = 3;
const REOPEN_WINDOW_MS = 60_000;

/** Variable in which the TUI finds the capability token; only its own process has it. */
const TOKEN_VARIABLE = "AGENT_RELAY_CODEX_TOKEN";

/** What the TUI is opened for. */
export interface Showing {
  url: string;
  threadId: string;
  launch: ProviderLaunch;
  ports: ProviderPorts;
  /** It ended right after it was opened. */
  failed(status: ExitStatus): void;
}

/**
 * The person's seat: Codex's TUI, a second client of the runner's thread. It belongs to the run, not to one app-server:
 * when a server ends, the TUI stays with its half-typed line, says "Reconnecting" and is back on its thread once the
 * next server listens on the same port with the same token (0.169.0, measured).
 */
export class CodexTerminal {
  #address: Address | null = null;
  #tui: { child: ChildHandle; threadId: string; openedAt: number; showing: Showing } | null = null;
  #reopened: number[] = [];
  #cancelReopen = () => {};
  #over = false;

  /** Where the next app-server has to listen to be found by the TUI; any port and a new token when there is none. */
  address(): Address {
    if (this.#tui === null) this.#address = null;
    return this.#address ?? { port: 0, token: randomToken() };
  }

  /** The app-server listens there. */
  listening(url: string, token: string): void {
    this.#address = { port: Number(new URL(url).port), token };
  }

  /** Somebody else has the port: a TUI that looks for its server there is of no use, and must not find that one. */
  async portTaken(): Promise<void> {
    this.#address = null;
    await this.#close();
  }

  /** The person looks at this thread now. */
  looksAt(threadId: string): void {
    if (this.#tui !== null) this.#tui.threadId = threadId;
  }

  /** Opens the TUI on a thread, unless it is there and looks at it; true when one was opened. */
  async show(showing: Showing): Promise<boolean> {
    if (this.#tui !== null && this.#tui.threadId === showing.threadId) {
      this.#tui.showing = showing;
      return false;
    }
    await this.#close();
    if (this.#over) return false;
    const { launch, ports, url, threadId } = showing;
    const child = await ports.processes.spawn({
      command: launch.command,
      args: terminalArguments(url, TOKEN_VARIABLE, threadId),
      cwd: launch.cwd,
      env: { ...launch.env, [TOKEN_VARIABLE]: this.#address!.token },
      stdin: "inherit",
      stdout: "inherit",
      stderr: "inherit",
      ownGroup: false,
    });
    const tui = { child, threadId, openedAt: ports.clock.mono(), showing };
    this.#tui = tui;
    void child.exited.then((status) => {
      // Ended on purpose, by us.
      if (this.#tui !== tui) return;
      this.#tui = null;
      this.#ended(status, tui.openedAt, tui.showing, tui.threadId);
    });
    // The run ended while it was being started.
    if (this.#over) await this.#close();
    return true;
  }

  #ended(status: ExitStatus, openedAt: number, showing: Showing, threadId: string): void {
    const { ports } = showing;
    if (quitByPerson(status)) return ports.emit({ type: "quit", status });
    ports.log.warn("the terminal of codex ended", { code: status.code });
    const now = ports.clock.mono();
    this.#reopened = this.#reopened.filter((at) => now - at < REOPEN_WINDOW_MS);
    const soon = now - openedAt < SPACING_MS && status.signal === null;
    if (soon || this.#reopened.length >= REOPEN_LIMIT) return showing.failed(status);
    this.#reopened.push(now);
    this.#cancelReopen = ports.clock.setTimer(openedAt + SPACING_MS - now, () => {
      this.show({ ...showing, threadId }).catch((error) => {
        ports.log.warn("the terminal of codex cannot be opened again", { error: messageOf(error) });
        showing.failed(status);
      });
    });
  }

  async #close(graceMs = TERM_MS): Promise<void> {
    this.#cancelReopen();
    const tui = this.#tui;
    this.#tui = null;
    await tui?.child.stop({ graceMs });
  }

  /** Ends the TUI with the run. Idempotent. */
  async dispose({ graceful }: { graceful: boolean }): Promise<void> {
    this.#over = true;
    await this.#close(graceful ? TERM_MS : 0);
  }
}
