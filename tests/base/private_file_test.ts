import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { RunnerError } from "../../lib/base/errors.ts";
import { readPrivateFile, writeFileAtomic, writeFileOnce } from "../../lib/base/private_file.ts";
import { RUN_ARGS, TestHome } from "../support/runner_process.ts";
import { until, withTempDir } from "../support/temp.ts";

const mode = (path: string) => Deno.statSync(path).mode! & 0o777;

Deno.test("writeFileAtomic replaces whole, 0600, and leaves no temporary file", async () => {
  await withTempDir((dir) => {
    const path = join(dir, "file");
    for (const text of ["one", "two"]) {
      writeFileAtomic(path, text);
      assertEquals([Deno.readTextFileSync(path), mode(path)], [text, 0o600]);
    }
    assertEquals([...Deno.readDirSync(dir)].map((entry) => entry.name), ["file"]);
  });
});

Deno.test("everything a run writes is private whatever the umask", async () => {
  for (const umask of ["000", "022", "077"]) {
    await withTempDir(async (dir) => {
      await using home = new TestHome(dir);
      const { code, stderr } = await new Deno.Command("/bin/sh", {
        args: [
          "-c",
          'umask "$1"; shift; exec "$@"',
          "sh",
          umask,
          Deno.execPath(),
          ...RUN_ARGS,
          "send",
          "x",
          "y",
        ],
        env: { AGENT_RELAY_HOME: home.home },
        stdout: "null",
        stderr: "piped",
      }).output();
      assertEquals(code, 75, new TextDecoder().decode(stderr));
      const relay = new Deno.Command("/bin/sh", {
        args: ["-c", 'umask "$1"; shift; exec "$@"', "sh", umask, Deno.execPath(), ...RUN_ARGS, "echo"],
        env: { AGENT_RELAY_HOME: home.home },
        stdout: "null",
        stderr: "null",
      }).spawn();
      await until("the agent", async () => (await home.agents()).some((card) => card.ready));
      const modes = [...walk(home.home)].map(({ path, info }) => [
        path.slice(home.home.length),
        (info.mode! & 0o777).toString(8),
      ]);
      assert(modes.length >= 8, JSON.stringify(modes));
      for (const [path, bits] of modes) assert(bits === "600" || bits === "700", `${path} is ${bits}`);
      relay.kill("SIGTERM");
      await relay.status;
    });
  }
});

function* walk(dir: string): Generator<{ path: string; info: Deno.FileInfo }> {
  for (const entry of Deno.readDirSync(dir)) {
    const path = join(dir, entry.name);
    yield { path, info: Deno.statSync(path) };
    if (entry.isDirectory) yield* walk(path);
  }
}

Deno.test("writeFileOnce never replaces, also not through a symbolic link", async () => {
  await withTempDir((dir) => {
    const path = join(dir, "file");
    assertEquals(writeFileOnce(path, "first"), true);
    assertEquals(writeFileOnce(path, "second"), false);
    assertEquals(Deno.readTextFileSync(path), "first");
    const link = join(dir, "link");
    Deno.symlinkSync(join(dir, "elsewhere"), link);
    assertEquals(writeFileOnce(link, "x"), false);
    assertEquals([...Deno.readDirSync(dir)].map((entry) => entry.name).sort(), ["file", "link"]);
  });
});

Deno.test("readPrivateFile refuses what others can change or, for secrets, read", async () => {
  await withTempDir(async (dir) => {
    const path = join(dir, "file");
    const read = (secret: boolean) => readPrivateFile(path, { maxBytes: 10, secret });
    assertEquals((await read(true)).ok, false);
    Deno.writeTextFileSync(path, "text");
    for (
      const [bits, open, secret] of [[0o600, true, true], [0o644, true, false], [
        0o664,
        false,
        false,
      ]] as const
    ) {
      Deno.chmodSync(path, bits);
      assertEquals([(await read(false)).ok, (await read(true)).ok], [open, secret], bits.toString(8));
    }
    Deno.chmodSync(path, 0o600);
    Deno.writeTextFileSync(path, "x".repeat(11));
    const large = await read(false);
    assertEquals(large.ok ? "" : large.kind, "size");
    const directory = await readPrivateFile(dir, { maxBytes: 10, secret: false });
    assertEquals(directory.ok ? "" : directory.kind, "kind");
  });
});

Deno.test("a home that is a link of its user's, or that others can read, is a home", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    Deno.renameSync(home.home, join(dir, "dotfiles"));
    Deno.symlinkSync("dotfiles", home.home);
    Deno.chmodSync(join(dir, "dotfiles"), 0o755);
    // As who keeps his settings elsewhere has it.
    Deno.renameSync(join(home.home, "config.json"), join(dir, "settings.json"));
    Deno.symlinkSync(join(dir, "settings.json"), join(home.home, "config.json"));
    const agent = home.start(["echo", "--headless", "--label", "api"]);
    await home.untilReady("api");
    agent.kill("SIGTERM");
    assertEquals(await agent.ended(), 0, agent.err);
  });
});

Deno.test("writeFileOnce() says where it cannot write, as everything that stores does", async () => {
  await withTempDir((dir) => {
    const error = assertThrows(() => writeFileOnce(join(dir, "gone", "file"), "x"), RunnerError);
    assertEquals(error.code, "E_STATE_WRITE");
    assertStringIncludes(error.message, join(dir, "gone", "file"));
  });
});
