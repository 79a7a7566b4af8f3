import { sha256Hex } from "../../base/hash.ts";
import { lines } from "../../base/bytes.ts";
import { TIMED_OUT, withDeadline } from "../../base/clock.ts";
import { RunnerError } from "../../base/errors.ts";
import type { ChildHandle } from "../../process/contract.ts";
import type { ProviderPorts, ProviderSetup } from "../contract.ts";
import { LastWords } from "../last_words.ts";
import { serverArguments, type ThreadArguments } from "./arguments.ts";

const BANNER_MS = 20_000;
/** What it says when all is well. */
const BANNER = /^codex app-server|^\s+(?:readyz|healthz|note): /;

/** Where an app-server listens, and what opens it. Port 0: any. */
export interface Address {
  port: number;
  token: string;
}

/** A started app-server (0.169.0). */
export interface AppServer {
  readonly child: ChildHandle;
  /** Resolves with its URL; rejects when it ended or said nothing for 20 s. */
  readonly url: Promise<string>;
  /** Resolves when its last words were read. */
  readonly drained: Promise<void>;
  /** What it said last, the banner left out. */
  readonly lastWords: () => string;
  /** True when it ended because somebody else has the port. */
  readonly portTaken: () => boolean;
}

/** Starts an app-server on the loopback. Only the hash of the token is in its arguments (S-15). */
export async function startServer(
  setup: ProviderSetup,
  ports: Pick<ProviderPorts, "processes" | "log" | "clock">,
  args: ThreadArguments,
  { port, token }: Address,
): Promise<AppServer> {
  const hash = sha256Hex(token);
  const child = await ports.processes.spawn({
    command: setup.command,
    args: serverArguments(args, hash, port),
    cwd: setup.cwd,
    env: setup.env,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
    ownGroup: true,
  });
  const lastWords = new LastWords();
  let portTaken = false;
  const banner = Promise.withResolvers<string>();
  const read = async () => {
    try {
      for await (const line of lines(child.stderr!, { maxLineBytes: 64 * 1024 })) {
        if (line.kind !== "line" || line.text.trim() === "") continue;
        const found = /listening on: (ws:\/\/127\.0\.0\.1:\d+)/.exec(line.text)?.[1];
        if (found !== undefined) banner.resolve(found);
        else if (!BANNER.test(line.text)) lastWords.take(line.text);
        if (/address in use/i.test(line.text)) portTaken = true;
        ports.log.debug("codex stderr", { line: line.text });
      }
    } catch { /* the process ended */ }
  };
  const drained = read();
  const gone = child.exited.then(() => null);
  const url = withDeadline(ports.clock, BANNER_MS, Promise.race([banner.promise, gone])).then((found) => {
    if (found !== TIMED_OUT && found !== null) return found;
    throw new RunnerError("E_RPC", "codex app-server did not say where it listens");
  });
  url.catch(() => {});
  return { child, url, drained, lastWords: () => lastWords.text, portTaken: () => portTaken };
}
