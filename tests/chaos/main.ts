/** `deno task chaos [--faults N] [--seed S] [--worlds N] [--keep]`: faults on real processes; prints one JSON line. */
import { taskArgs } from "../support/task_args.ts";
import { runChaos } from "./chaos.ts";

const flags = taskArgs(Deno.args, {
  string: ["faults", "seed", "worlds", "round", "providers"],
  boolean: ["keep"],
});
const number = (value: unknown, preset: number) => value === undefined ? preset : Number(value);
const dir = Deno.makeTempDirSync({ prefix: "runner-chaos-" });
const report = await runChaos({
  seed: number(flags.seed, Math.floor(Math.random() * 1e9)),
  faults: number(flags.faults, 60),
  worlds: number(flags.worlds, 2),
  perRound: number(flags.round, 10),
  pauseMs: 800,
  maxMs: 5_000,
  rate: 6,
  dir,
  providers: String(flags.providers ?? "claude,codex,echo").split(",") as ("claude" | "codex" | "echo")[],
  say: (text) => Deno.stderr.writeSync(new TextEncoder().encode(text + "\n")),
});
Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(report) + "\n"));
if (report.ok && !flags.keep) Deno.removeSync(dir, { recursive: true });
else Deno.stderr.writeSync(new TextEncoder().encode(`kept: ${dir}\n`));
Deno.exit(report.ok ? 0 : 1);
