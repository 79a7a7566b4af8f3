import { readAllCapped } from "../base/bytes.ts";
import { RunnerError } from "../base/errors.ts";
import type { Io } from "./contract.ts";
import { withoutCommands } from "./github_commands.ts";

const STDIN_LIMIT = 1024 * 1024;

/** The real terminal, environment and working directory. */
export function processIo(): Io {
  const env = Deno.env.toObject();
  // Read once; what this process starts without an environment of its own must not inherit it.
  if (env.AGENT_RELAY_TOKEN !== undefined) Deno.env.delete("AGENT_RELAY_TOKEN");
  sparesLoopback(env);
  const outIsTerminal = Deno.stdout.isTerminal();
  const errIsTerminal = Deno.stderr.isTerminal();
  let outGone = false;
  const safe = (text: string) => env.GITHUB_ACTIONS === "true" ? withoutCommands(text) : text;
  return {
    // GitHub reads both streams for commands; what a verb prints may come from an agent or a sender.
    out: (text) => outGone ||= writeAll(Deno.stdout, safe(text)) === "gone",
    get outGone() {
      return outGone;
    },
    err: (text) => void writeAll(Deno.stderr, safe(text)),
    outIsTerminal,
    errIsTerminal,
    color: outIsTerminal && (env.NO_COLOR ?? "") === "",
    env,
    cwd: Deno.cwd(),
    async readStdin() {
      const body = await readAllCapped(Deno.stdin.readable, { maxBytes: STDIN_LIMIT });
      if (!body.ok) throw new RunnerError("E_USAGE", "standard input is larger than 1 MiB");
      return new TextDecoder().decode(body.bytes);
    },
  };
}

/**
 * Keeps this process's own requests to the loopback away from a proxy: Deno reads these variables before its first
 * request, and a proxy reaches its own loopback, not ours. What the agent gets is made from `env`, which stays.
 */
function sparesLoopback(env: Readonly<Record<string, string>>): void {
  if (!Object.keys(env).some((name) => /^(?:https?|all)_proxy$/i.test(name))) return;
  // Of two that differ the lower-case one wins, as in curl.
  const given = env.no_proxy || env.NO_PROXY || "";
  const value = [...given.split(",").filter((part) => part.trim() !== ""), "127.0.0.1", "localhost", "::1"]
    .join(",");
  Deno.env.set("no_proxy", value);
  Deno.env.set("NO_PROXY", value);
}

/** A closed pipe (`| head`) is the reader's choice, not an error. */
function writeAll(sink: { writeSync(bytes: Uint8Array): number }, text: string): "written" | "gone" {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += sink.writeSync(bytes.subarray(at));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
    return "gone";
  }
  return "written";
}
