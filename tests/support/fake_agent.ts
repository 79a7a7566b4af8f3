/**
 * What the scripted providers have in common: behaviour that a test can change while they run, and an oracle of what
 * their model saw. Both live in the directory that the environment names, so that the runner needs to know nothing.
 */
import { join } from "@std/path";
import { OracleFile } from "./oracle.ts";
import type { Toxic } from "./toxic_proxy.ts";

/** Variable with the directory of a scripted provider: `behaviour.json` is read from it, `oracle.jsonl` written. */
export const AGENT_DIR = "FAKE_AGENT_DIR";

/** How a scripted provider behaves. Read anew for every turn. */
export interface Behaviour {
  /** Before the provider is ready. */
  slowStartMs: number;
  /** Between the line and its placement, the placement and the model, the model and the end of the turn. */
  placedMs: number;
  seenMs: number;
  doneMs: number;
  /** Every n-th turn fails like this (counted per process); 0 for none. */
  failEvery: number;
  failure: "401" | "500" | "400";
  /** Every n-th turn never ends by itself; 0 for none. */
  hangEvery: number;
  /** Where every n-th turn kills the process; 0 for none. */
  crashEvery: number;
  crashAt: "accepted" | "placed" | "seen" | "answered";
  ignoreTerm: boolean;
}

export const CALM: Behaviour = {
  slowStartMs: 0,
  placedMs: 2,
  seenMs: 5,
  doneMs: 10,
  failEvery: 0,
  failure: "500",
  hangEvery: 0,
  crashEvery: 0,
  crashAt: "seen",
  ignoreTerm: false,
};

/** Writes the behaviour of a scripted provider; what is not named is as in {@linkcode CALM}. */
export function setBehaviour(dir: string, behaviour: Partial<Behaviour> = {}): void {
  const path = join(dir, "behaviour.json");
  Deno.writeTextFileSync(path + ".new", JSON.stringify({ ...CALM, ...behaviour }));
  Deno.renameSync(path + ".new", path);
}

/** Makes the line between a scripted Codex and its clients bad, or good again. */
export function setLink(dir: string, toxic: Toxic): void {
  const path = join(dir, "link.json");
  Deno.writeTextFileSync(path + ".new", JSON.stringify(toxic));
  Deno.renameSync(path + ".new", path);
}

/** The scripted provider's own side. */
export class FakeAgent {
  readonly dir: string;
  readonly oracle: OracleFile;
  #turns = 0;

  constructor() {
    this.dir = Deno.env.get(AGENT_DIR) ?? Deno.cwd();
    this.oracle = new OracleFile(join(this.dir, "oracle.jsonl"));
  }

  get behaviour(): Behaviour {
    try {
      return { ...CALM, ...JSON.parse(Deno.readTextFileSync(join(this.dir, "behaviour.json"))) as Behaviour };
    } catch {
      return CALM;
    }
  }

  record(event: { type: string; [more: string]: unknown }): void {
    this.oracle.append({ pid: Deno.pid, ...event });
  }

  /** Begins a turn and says what is in store for it. */
  nextTurn(): {
    behaviour: Behaviour;
    fails: boolean;
    hangs: boolean;
    crashesAt: Behaviour["crashAt"] | null;
  } {
    const behaviour = this.behaviour;
    const turn = ++this.#turns;
    const every = (n: number) => n > 0 && turn % n === 0;
    return {
      behaviour,
      fails: every(behaviour.failEvery),
      hangs: every(behaviour.hangEvery),
      crashesAt: every(behaviour.crashEvery) ? behaviour.crashAt : null,
    };
  }
}

/** Dies as a crashed process does: at once, with nothing flushed and no handler run. */
export function crash(): void {
  Deno.kill(Deno.pid, "SIGKILL");
}

/**
 * Writes the command of a scripted provider: a shell wrapper around `script`. `tree` adds what real agents leave
 * around: a wrapper process that stays the parent, a child that ignores TERM in a session of its own and holds the
 * output open, and a plain one.
 */
export function writeCommand(path: string, script: string, options: { tree: boolean }): void {
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const denoDir = Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;
  const flags = `--quiet --frozen --no-prompt --config '${config}' --allow-read --allow-write --allow-env ` +
    `--allow-net=127.0.0.1 --allow-run`;
  const run = `'${Deno.execPath()}' run ${flags} '${script}' "$@"`;
  const tree = options.tree
    ? `sleep 1000 </dev/null >/dev/null 2>&1 &\nsetsid sh -c 'trap "" TERM HUP INT; sleep 1000; :' </dev/null &\n${run}\n`
    : `exec ${run}\n`;
  Deno.writeTextFileSync(path, `#!/bin/sh\nexport DENO_DIR='${denoDir}' NO_COLOR=1\n${tree}`, {
    mode: 0o755,
  });
}
