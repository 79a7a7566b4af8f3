import { RunnerError, shown } from "../../base/errors.ts";
import type { ApprovalMode } from "../contract.ts";

/** Settings of a thread that a person's arguments ask for. */
export interface ThreadArguments {
  model: string | null;
  /** Forwarded to the app-server, which knows fewer flags than the TUI (0.169.0). */
  serverArgs: string[];
}

/** Flags the app-server takes itself, with the number of values that follow. */
const SERVER_FLAGS: Readonly<Record<string, number>> = {
  "-c": 1,
  "--config": 1,
  "--enable": 1,
  "--disable": 1,
  "--strict-config": 0,
};

/**
 * Splits a person's codex arguments into what the app-server takes and what belongs to the thread. Throws
 * `E_PROVIDER_CMD` for flags of the TUI that mean nothing here, since the server would end with a usage error.
 */
export function splitArguments(args: readonly string[]): ThreadArguments {
  const result: ThreadArguments = { model: null, serverArgs: [] };
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    const [name, joined] = /^(--[^=]+)=([\s\S]*)$/.exec(arg)?.slice(1) ?? [arg, undefined];
    if (name === "-m" || name === "--model") {
      result.model = joined ?? args[++i] ?? null;
      continue;
    }
    const values = SERVER_FLAGS[name!];
    if (values === undefined) {
      throw new RunnerError("E_PROVIDER_CMD", `codex app-server does not take "${shown(arg)}"`, {
        hint:
          "headless codex takes -m MODEL, -c KEY=VALUE, --enable, --disable; approval modes are --approval",
      });
    }
    result.serverArgs.push(arg);
    if (joined === undefined && values === 1 && i + 1 < args.length) result.serverArgs.push(args[++i]!);
  }
  return result;
}

/** Returns the arguments of the app-server. Only the hash of the capability token is in them (S-15). */
export function serverArguments(serverArgs: readonly string[], tokenSha256: string, port: number): string[] {
  return [
    "app-server",
    "--listen",
    `ws://127.0.0.1:${port}`,
    "--ws-auth",
    "capability-token",
    "--ws-token-sha256",
    tokenSha256,
    ...serverArgs,
  ];
}

/** What an approval mode sets on the thread (`thread/start` and `thread/resume`, Codex 0.169.0). */
export function approvalSettings(
  approval: ApprovalMode,
): {
  approvalPolicy: "on-request" | "never";
  sandbox: "read-only" | "workspace-write" | "danger-full-access";
} {
  switch (approval) {
    case "read-only":
      return { approvalPolicy: "on-request", sandbox: "read-only" };
    case "guarded":
      return { approvalPolicy: "on-request", sandbox: "workspace-write" };
    case "open":
      return { approvalPolicy: "never", sandbox: "danger-full-access" };
  }
}
