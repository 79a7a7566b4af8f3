import { assertEquals } from "@std/assert";
import { dirname, fromFileUrl, join } from "@std/path";
import { PLUGIN_FILES, unpackPlugin } from "../../lib/providers/claude/plugin.ts";
import { withTempDir } from "../support/temp.ts";

const SOURCE = join(dirname(dirname(dirname(fromFileUrl(import.meta.url)))), "plugins", "claude");

function* walk(dir: string, prefix = ""): Generator<string> {
  for (const entry of Deno.readDirSync(dir)) {
    if (entry.isDirectory) yield* walk(join(dir, entry.name), `${prefix}${entry.name}/`);
    else yield `${prefix}${entry.name}`;
  }
}

Deno.test("unpackPlugin copies every file of the plugin once, private and whole", async () => {
  assertEquals([...walk(SOURCE)].sort(), [...PLUGIN_FILES].sort());
  await withTempDir((dir) => {
    const target = unpackPlugin(dir);
    for (const name of PLUGIN_FILES) {
      assertEquals(Deno.readTextFileSync(join(target, name)), Deno.readTextFileSync(join(SOURCE, name)));
      assertEquals(Deno.statSync(join(target, name)).mode! & 0o777, 0o600);
    }
    assertEquals(Deno.statSync(target).mode! & 0o777, 0o700);
    const before = Deno.statSync(target).ino;
    assertEquals([unpackPlugin(dir), Deno.statSync(target).ino], [target, before]);
    assertEquals([...Deno.readDirSync(dir)].length, 1);
  });
});
