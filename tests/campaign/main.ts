/**
 * `deno task campaign NAME [options]`: the long runs, by hand. Each module beside this file runs one campaign, asserts
 * its own invariants and the work it did, and returns the figures; the line that is printed is also added, with date
 * and commit, to `docs/evidence/NAME.jsonl`.
 */
import { dirname, fromFileUrl, join } from "@std/path";

/** Figures of one campaign: one flat JSON object. `ok` is false when an invariant or the amount of work is not met. */
export interface CampaignReport {
  ok: boolean;
  [figure: string]: unknown;
}

/** What a campaign module exports. `args` is what stands behind the name. */
export interface Campaign {
  run(args: readonly string[]): Promise<CampaignReport>;
}

const HERE = dirname(fromFileUrl(import.meta.url));
const ROOT = dirname(dirname(HERE));

function names(): string[] {
  return [...Deno.readDirSync(HERE)].flatMap(({ name }) =>
    name.endsWith(".ts") && name !== "main.ts" ? [name.slice(0, -3)] : []
  ).sort();
}

async function commit(): Promise<string> {
  const git = async (...args: string[]) => {
    const { stdout } = await new Deno.Command("git", { args, cwd: ROOT, stdout: "piped", stderr: "null" })
      .output();
    return new TextDecoder().decode(stdout).trim();
  };
  const dirty = await git("status", "--porcelain", "--untracked-files=no");
  return await git("rev-parse", "--short=12", "HEAD") + (dirty === "" ? "" : "+changes");
}

function print(line: string, to: { writeSync(bytes: Uint8Array): number } = Deno.stdout): void {
  to.writeSync(new TextEncoder().encode(line + "\n"));
}

if (import.meta.main) {
  const [name, ...args] = Deno.args;
  if (name === undefined || !names().includes(name)) {
    print(`usage: deno task campaign ${names().join("|") || "NAME"} [options]`, Deno.stderr);
    Deno.exit(2);
  }
  const campaign = await import(`./${name}.ts`) as Campaign;
  const at = new Date().toISOString();
  const report = await campaign.run(args);
  const line = JSON.stringify({ campaign: name, at, commit: await commit(), args, ...report });
  print(line);
  const dir = join(ROOT, "docs", "evidence");
  await Deno.mkdir(dir, { recursive: true });
  await Deno.writeTextFile(join(dir, `${name}.jsonl`), line + "\n", { append: true });
  Deno.exit(report.ok ? 0 : 1);
}
