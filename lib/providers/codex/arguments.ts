import { RunnerError, shown } from "../../base/errors.ts";
import type { ApprovalMode } from "../contract.ts";

/** What a person's arguments ask for. */
export interface ThreadArguments {
  model: string | null;
  /** Thread of `resume ID`, as Codex's own command line says it; null without. */
  resume: string | null;
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

/** What a person may want with arguments that the app-server does not take, and how it is said here. */
const INSTEAD: readonly [pattern: RegExp, hint: string][] = [
  [/^(?:resume|fork)$/, `"resume ID" goes on with a conversation, as --conversation ID does`],
  [/^(?:-a|--ask-for-approval|-s|--sandbox|--full-auto|--yolo|--dangerously-.*)$/, "use --approval MODE"],
  [/^(?:-C|--cd)$/, "use --cwd DIR"],
  [/^[^-]/, "a first prompt is --prompt TEXT"],
];

/**
 * Splits a person's codex arguments into what the app-server takes and what belongs to the thread. Throws
 * `E_PROVIDER_CMD` for those of the TUI that mean nothing here, since the server would end with a usage error.
 */
export function splitArguments(args: readonly string[]): ThreadArguments {
  const result: ThreadArguments = { model: null, resume: null, serverArgs: [] };
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === "resume" && /^[^-]/.test(args[i + 1] ?? "-")) {
      result.resume = args[++i]!;
      continue;
    }
    const [name, joined] = /^(--[^=]+)=([\s\S]*)$/.exec(arg)?.slice(1) ?? [arg, undefined];
    if (name === "-m" || name === "--model") {
      result.model = joined ?? args[++i] ?? null;
      continue;
    }
    const values = SERVER_FLAGS[name!];
    if (values === undefined) {
      throw new RunnerError("E_PROVIDER_CMD", `codex app-server does not take "${shown(arg)}"`, {
        hint: INSTEAD.find(([pattern]) => pattern.test(name!))?.[1] ??
          "it takes -m MODEL, -c KEY=VALUE, --enable, --disable and resume ID",
      });
    }
    result.serverArgs.push(arg);
    if (joined === undefined && values === 1 && i + 1 < args.length) result.serverArgs.push(args[++i]!);
  }
  return result;
}

/**
 * Returns the arguments of the app-server. Only the hash of the capability token is in them (S-15). The model is the
 * default of every thread, so that it also holds in conversations that the person begins with `/new`.
 */
export function serverArguments(
  { serverArgs, model }: ThreadArguments,
  tokenSha256: string,
  port: number,
): string[] {
  return [
    "app-server",
    "--listen",
    `ws://127.0.0.1:${port}`,
    "--ws-auth",
    "capability-token",
    "--ws-token-sha256",
    tokenSha256,
    ...serverArgs,
    ...(model === null ? [] : ["-c", `model=${JSON.stringify(model)}`]),
  ];
}

/**
 * Returns the arguments of the TUI as a client of the app-server. Without `-C` it asks for no trust and works in the
 * server's directory.
 */
export function terminalArguments(url: string, tokenVariable: string, threadId: string): string[] {
  return ["--remote", url, "--remote-auth-token-env", tokenVariable, "resume", threadId];
}

/**
 * What an approval mode sets on a thread that we begin or resume (Codex 0.169.0). The TUI begins its own threads with
 * settings of its own and takes none for one that it resumes ("Permission overrides are not supported"), so that those
 * are given the mode with `thread/settings/update`.
 */
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
