import { assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { TestHome } from "../support/runner_process.ts";
import { withTempDir } from "../support/temp.ts";

Deno.test("a start whose state cannot be written ends with code 7 and names the place", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    Deno.writeTextFileSync(join(home.home, "state"), "a file where a directory should be");
    const { code, err } = await home.run(["echo", "--headless", "--label", "api"]);
    assertEquals(code, 7, err);
    assertMatch(err, /error\[E_STATE_WRITE\]: Cannot write \S+\/home\/state: not a directory/);
  });
});
