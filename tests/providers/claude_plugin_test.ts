import { assertEquals, assertStringIncludes } from "@std/assert";
import { dirname, fromFileUrl, join } from "@std/path";
import { PLUGIN_FILES, unpackPlugin } from "../../lib/providers/claude/plugin.ts";
import { withTempDir } from "../support/temp.ts";

const SOURCE = join(dirname(dirname(dirname(fromFileUrl(import.meta.url)))), "plugins", "claude");
const SELF = (verb: string) => ({ command: "/opt/it's/runner", args: ["run", verb] });

function* walk(dir: string, prefix = ""): Generator<string> {
  for (const entry of Deno.readDirSync(dir)) {
    if (entry.isDirectory) yield* walk(join(dir, entry.name), `${prefix}${entry.name}/`);
    else yield `${prefix}${entry.name}`;
  }
}

const json = (dir: string, name: string) => JSON.parse(Deno.readTextFileSync(join(dir, name))) as unknown;

Deno.test("unpackPlugin writes every file of the plugin once, private and whole", async () => {
  assertEquals([...walk(SOURCE)].sort(), [...PLUGIN_FILES].sort());
  await withTempDir((stateDir) => {
    const target = unpackPlugin({ stateDir, self: SELF }, { monitor: true, tools: true });
    assertEquals([...walk(target)].sort(), [...PLUGIN_FILES].sort());
    for (const name of PLUGIN_FILES) {
      assertEquals(Deno.statSync(join(target, name)).mode! & 0o777, 0o600);
    }
    const skill = "skills/relay/SKILL.md";
    assertEquals(Deno.readTextFileSync(join(target, skill)), Deno.readTextFileSync(join(SOURCE, skill)));
    assertEquals(Deno.statSync(target).mode! & 0o777, 0o700);
    const before = Deno.statSync(target).ino;
    assertEquals(unpackPlugin({ stateDir, self: SELF }, { monitor: true, tools: true }), target);
    assertEquals([Deno.statSync(target).ino, [...Deno.readDirSync(stateDir)].length], [before, 1]);
  });
});

Deno.test("the unpacked plugin names this very program: hooks and tools without a shell, the monitor as one quoted line", async () => {
  await withTempDir((stateDir) => {
    const target = unpackPlugin({ stateDir, self: SELF }, { monitor: true, tools: true });
    const hooks = json(target, "hooks/hooks.json") as { hooks: Record<string, { hooks: unknown[] }[]> };
    assertEquals(hooks.hooks.SessionStart![0]!.hooks, [{
      type: "command",
      command: "/opt/it's/runner",
      args: ["run", "hook", "SessionStart"],
      async: true,
      timeout: 5,
    }]);
    const mcp = json(target, ".mcp.json");
    assertEquals(mcp, { mcpServers: { relay: { command: "/opt/it's/runner", args: ["run", "mcp"] } } });
    const [monitor] = json(target, "monitors/monitors.json") as { command: string }[];
    assertEquals(monitor!.command, `exec '/opt/it'\\''s/runner' 'run' 'monitor'`);
  });
});

Deno.test("a plugin for another program, or without the monitor, is another directory", async () => {
  await withTempDir((stateDir) => {
    const own = unpackPlugin({ stateDir, self: SELF }, { monitor: true, tools: true });
    const moved = unpackPlugin({ stateDir, self: (verb) => ({ command: "/r", args: [verb] }) }, {
      monitor: true,
      tools: true,
    });
    const bare = unpackPlugin({ stateDir, self: SELF }, { monitor: false, tools: true });
    const alone = unpackPlugin({ stateDir, self: SELF }, { monitor: true, tools: false });
    assertEquals(new Set([own, moved, bare, alone]).size, 4);
    assertEquals([...walk(bare)].some((name) => name.includes("monitor")), false);
    assertEquals([...walk(alone)].some((name) => name.includes("mcp")), false);
    assertStringIncludes(Deno.readTextFileSync(join(moved, "hooks/hooks.json")), `"/r"`);
  });
});
