import { dirname, fromFileUrl, join } from "@std/path";
import { PERMISSION_FLAGS, RUN_FLAGS } from "../../lib/cli/self_command.ts";
import { lines } from "../../lib/base/bytes.ts";
import { freePort } from "./temp.ts";

const ROOT = dirname(dirname(dirname(fromFileUrl(import.meta.url))));

/** How main.ts is started: the golden flags, never -A. */
export const RUN_ARGS: readonly string[] = [
  "run",
  ...RUN_FLAGS,
  "--config",
  join(ROOT, "deno.json"),
  ...PERMISSION_FLAGS,
  join(ROOT, "main.ts"),
];

/** A program to test: the sources under Deno, or a compiled one. */
export interface Program {
  command: string;
  args: readonly string[];
}

/** `RUNNER_UNDER_TEST=/path/to/runner` has every test use that program instead of the sources. */
const given = Deno.env.get("RUNNER_UNDER_TEST");
const SOURCES: Program = given === undefined
  ? { command: Deno.execPath(), args: RUN_ARGS }
  : { command: given, args: [] };

/** How a command is started beside its arguments. */
export interface CommandOptions {
  env?: Record<string, string>;
  cwd?: string;
  /** What it reads from standard input; nothing without. */
  stdin?: string;
  /** Words of the command that starts it, such as a shell; the program's own follow them. */
  below?: readonly string[];
}

/** What a finished command said. */
export interface CommandResult {
  code: number;
  out: string;
  err: string;
}

/** A temporary home with its own relay port, and the program to run in it. */
export class TestHome {
  readonly home: string;
  readonly cwd: string;
  readonly port = freePort();
  readonly #env: Record<string, string>;
  readonly #program: Program;
  readonly #started: RunningCommand[] = [];

  constructor(dir: string, env: Record<string, string> = {}, program: Program = SOURCES) {
    this.#program = program;
    this.home = join(dir, "home");
    this.cwd = join(dir, "work");
    Deno.mkdirSync(join(this.home, "providers"), { recursive: true, mode: 0o700 });
    Deno.mkdirSync(this.cwd, { recursive: true });
    Deno.writeTextFileSync(join(this.home, "config.json"), JSON.stringify({ relayPort: this.port }), {
      mode: 0o600,
    });
    this.#env = {
      PATH: Deno.env.get("PATH")!,
      HOME: dir,
      USER: "tester",
      AGENT_RELAY_HOME: this.home,
      // So that a child of the test run shares the module cache and type-checks nothing anew.
      ...(Deno.env.get("DENO_DIR") === undefined
        ? defaultDenoDir()
        : { DENO_DIR: Deno.env.get("DENO_DIR")! }),
      ...env,
    };
  }

  /** The program under test. */
  get program(): Program {
    return this.#program;
  }

  /** The environment of every command of this home. */
  get env(): Record<string, string> {
    return { ...this.#env };
  }

  /** Writes a provider's file. */
  provider(name: string, settings: Record<string, unknown>): void {
    Deno.writeTextFileSync(join(this.home, "providers", `${name}.json`), JSON.stringify(settings), {
      mode: 0o600,
    });
  }

  command(
    args: readonly string[],
    options: CommandOptions = {},
  ): Deno.Command {
    const { command, args: own } = this.#program;
    const [first, ...rest] = [...options.below ?? [], command, ...own, ...args];
    return new Deno.Command(first!, {
      args: rest,
      cwd: options.cwd ?? this.cwd,
      clearEnv: true,
      env: { ...this.#env, ...options.env },
      stdin: options.stdin === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
    });
  }

  /** Runs a command to its end. */
  async run(
    args: readonly string[],
    options: CommandOptions = {},
  ): Promise<CommandResult> {
    const child = this.command(args, options).spawn();
    const [{ code, stdout, stderr }] = await Promise.all([child.output(), feed(child, options.stdin)]);
    const decoder = new TextDecoder();
    return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
  }

  /** What the runs of this home have logged. */
  log(): string {
    const dir = `${this.home}/logs`;
    return [...Deno.readDirSync(dir)].map(({ name }) => Deno.readTextFileSync(`${dir}/${name}`)).join("");
  }

  /** Starts a command and lets it run. */
  start(
    args: readonly string[],
    options: CommandOptions = {},
  ): RunningCommand {
    const child = this.command(args, options).spawn();
    void feed(child, options.stdin);
    const running = new RunningCommand(child);
    this.#started.push(running);
    return running;
  }

  /** True for a command that was started here and has not ended. */
  runs(pid: number): boolean {
    return this.#started.some((each) => each.pid === pid && !each.over);
  }

  /** Kills what a failed test left running, so that it fails alone. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const running of this.#started) await running.kill9();
  }

  /** The agents on the bus. */
  async agents(): Promise<Record<string, unknown>[]> {
    const { code, out } = await this.run(["agents", "--json"]);
    return code === 0 ? (JSON.parse(out) as { agents: Record<string, unknown>[] }).agents : [];
  }

  /** Resolves with the card once an agent with this label is ready. */
  async untilReady(label: string, timeoutMs = 30_000): Promise<Record<string, unknown>> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const card = (await this.agents()).find((each) => each.label === label);
      if (card?.ready === true) return card;
      if (performance.now() > deadline) {
        throw new Error(`no ready agent with label ${label}: ${JSON.stringify(card)}`);
      }
    }
  }
}

/** Writes a child's standard input; a child that does not read it to the end is no failure of the test. */
async function feed(child: Deno.ChildProcess, text: string | undefined): Promise<void> {
  if (text === undefined) return;
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(text)).catch(() => {});
  await writer.close().catch(() => {});
}

function defaultDenoDir(): Record<string, string> {
  const home = Deno.env.get("HOME");
  return home === undefined
    ? {}
    : { DENO_DIR: join(Deno.env.get("XDG_CACHE_HOME") ?? join(home, ".cache"), "deno") };
}

/** A command that runs beside the test. */
export class RunningCommand {
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<unknown>;
  out = "";
  err = "";
  over = false;

  constructor(child: Deno.ChildProcess) {
    this.#child = child;
    void child.status.then(() => this.over = true);
    const read = async (stream: ReadableStream<Uint8Array>, add: (text: string) => void) => {
      for await (const line of lines(stream, { maxLineBytes: 1024 * 1024 })) {
        if (line.kind === "line") add(line.text + "\n");
      }
    };
    this.#reading = Promise.all([
      read(child.stdout, (text) => this.out += text),
      read(child.stderr, (text) => this.err += text),
    ]);
  }

  get pid(): number {
    return this.#child.pid;
  }

  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** Kills the command unless it has ended. */
  async kill9(): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch { /* it ended */ }
    await this.#child.status;
    await this.#reading;
  }

  /** Resolves with the exit code, and rejects when it takes longer than `timeoutMs`. */
  async ended(timeoutMs = 60_000): Promise<number> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.#child.kill("SIGKILL");
        reject(new Error(`the command did not end; it said:\n${this.out}${this.err}`));
      }, timeoutMs);
    });
    try {
      const { code } = await Promise.race([this.#child.status, late]);
      await this.#reading;
      return code;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Processes whose environment carries this text, found through the shell since Deno may not read /proc. */
export async function processesWith(marker: string): Promise<number[]> {
  if (Deno.build.os === "darwin") {
    const { stdout } = await new Deno.Command("ps", { args: ["-axwwE", "-o", "pid=,command="] }).output();
    const lines = new TextDecoder().decode(stdout).split("\n");
    return lines.filter((line) => line.includes(marker)).map((line) => Number.parseInt(line));
  }
  const { stdout } = await new Deno.Command("/bin/sh", {
    args: [
      "-c",
      'for f in $(grep -lsF -- "$1" /proc/[0-9]*/environ 2>/dev/null); do p=${f#/proc/}; p=${p%/environ}; ' +
      'case $(sed "s/^.*) //" /proc/$p/stat 2>/dev/null | cut -c1) in Z|X|"") ;; *) echo $p ;; esac; done',
      "sh",
      marker,
    ],
    clearEnv: true,
    env: { PATH: "/usr/bin:/bin" },
    stdout: "piped",
  }).output();
  return new TextDecoder().decode(stdout).split("\n").filter((line) => line !== "").map(Number);
}

/** What `ps` says of processes, for the message of a failed assertion. */
export async function describeProcesses(pids: readonly number[]): Promise<string[]> {
  if (pids.length === 0) return [];
  const { stdout } = await new Deno.Command("ps", {
    args: ["-o", "pid=,ppid=,stat=,etime=,args=", "-p", pids.join(",")],
    stdout: "piped",
  }).output();
  return new TextDecoder().decode(stdout).split("\n").filter((line) => line !== "").map((line) =>
    line.slice(0, 200)
  );
}
