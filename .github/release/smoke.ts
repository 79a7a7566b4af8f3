import { join } from "@std/path";
import { targetOf } from "./targets.ts";

/** What a smoke test ran. */
export interface SmokeReport {
  ran: string[];
}

/**
 * Runs a compiled program on the system it is for: its version, an error with its exit code, and, where the agent's
 * processes can be guarded, a whole delivery. Throws at the first thing that is not as it should be.
 */
export async function smoke(program: string, version: string): Promise<SmokeReport> {
  const ran: string[] = [];
  const run = async (args: string[], expected: number) => {
    const { code, stdout, stderr } = await new Deno.Command(program, { args, stdin: "null" }).output();
    const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    const [out, err] = [decode(stdout), decode(stderr)];
    if (code !== expected) {
      throw new Error(`Cannot accept "${args.join(" ")}": exit code ${code}, not ${expected}\n${out}${err}`);
    }
    ran.push(args.join(" "));
    return { out, err };
  };
  const facts = JSON.parse((await run(["version", "--json"], 0)).out) as Record<string, string>;
  if (facts.version !== version || facts.os !== Deno.build.os || facts.arch !== Deno.build.arch) {
    throw new Error(`Cannot accept the program: it says ${JSON.stringify(facts)}`);
  }
  await run(["help"], 0);
  const { err } = await run(["claude", "--no-such-option"], 2);
  if (!err.includes("E_FLAG")) throw new Error(`Cannot accept the answer to a bad option: ${err}`);
  if (Deno.build.os !== "windows") {
    const demo = JSON.parse((await run(["demo", "--json"], 0)).out) as { stages: unknown[] };
    if (demo.stages.length < 6) throw new Error("Cannot accept the demo: stages are missing");
  }
  return { ran };
}

/** Unpacks a released archive with what its system has, and returns the program in it. */
export async function unpack(archive: string, dir: string): Promise<string> {
  // The one of Windows itself reads zip; the one that comes with Git does not.
  const tar = Deno.build.os === "windows"
    ? join(Deno.env.get("SystemRoot") ?? "C:\\Windows", "System32", "tar.exe")
    : "tar";
  const { code, stderr } = await new Deno.Command(tar, { args: ["-xf", archive, "-C", dir], stdin: "null" })
    .output();
  if (code !== 0) throw new Error(`Cannot unpack ${archive}: ${new TextDecoder().decode(stderr)}`);
  return join(dir, targetOf(Deno.build.target).program);
}
