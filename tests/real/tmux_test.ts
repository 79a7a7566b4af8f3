import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { newSession, paneOf } from "../../lib/cli/run/tmux.ts";
import { until, withTempDir } from "../support/temp.ts";

/** Runs `work` against a tmux server of its own. */
async function withServer(work: (dir: string) => Promise<void>): Promise<void> {
  const before = ["TMUX", "TMUX_TMPDIR"].map((name) => [name, Deno.env.get(name)] as const);
  await withTempDir(async (dir) => {
    Deno.env.delete("TMUX");
    Deno.env.set("TMUX_TMPDIR", dir);
    try {
      await work(dir);
    } finally {
      await new Deno.Command("tmux", { args: ["kill-server"], stderr: "null" }).output();
      for (const [name, value] of before) {
        value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
      }
    }
  });
}

Deno.test("newSession() gives tmux no format to expand, whatever directory, variables and arguments are called", async () => {
  await withServer(async (dir) => {
    const evil = (n: number) => `#(touch ${dir}/PWNED${n})#[fg=red]#{pid}##`;
    const cwd = join(dir, evil(1).replaceAll("/", "#"), "repo#(touch PWNED)");
    Deno.mkdirSync(cwd, { recursive: true });
    // A job of a format runs in the background: it has its time until the command's own end.
    const script = 'pwd >"$OUT"; printf "%s\\n" "$EVIL" "$1" "$2" >>"$OUT"; sleep 1; exit 3';
    const env = [["OUT", join(dir, "out")], ["EVIL", evil(2)]] as const;
    assertEquals(await newSession("s", ["sh", "-c", script, "sh", evil(3), ";"], { cwd, env }), true);
    await until("the end of the command", async () => (await paneOf("s")).state === "ended");
    assertEquals(Deno.readTextFileSync(join(dir, "out")).split("\n"), [cwd, evil(2), evil(3), ";", ""]);
    const planted = [dir, cwd].flatMap((each) => [...Deno.readDirSync(each)]).map(({ name }) => name);
    assertEquals(planted.filter((name) => name.startsWith("PWNED")), []);
  });
});
