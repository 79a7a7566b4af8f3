import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { DatabaseSync } from "node:sqlite";
import { RunnerError } from "../../lib/base/errors.ts";
import { checkGivenDatabase } from "../../lib/relay/given_database.ts";
import { testRelay } from "../support/relay_world.ts";
import { TestHome } from "../support/runner_process.ts";
import { until, withTempDir } from "../support/temp.ts";

Deno.test("a file of somebody else is not made a relay's, and is left as it was", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const text = join(dir, "notes.txt");
    Deno.writeTextFileSync(text, "hello text\n", { mode: 0o644 });
    const other = join(dir, "other.db");
    const db = new DatabaseSync(other);
    db.exec("PRAGMA user_version = 3; CREATE TABLE mystuff (x)");
    db.close();
    Deno.chmodSync(other, 0o644);
    const link = join(dir, "link.db");
    Deno.symlinkSync(text, link);
    const before = [text, other].map((path) => Deno.readFileSync(path));
    const why = [[text, "not a database"], [other, "it has other tables"], [link, "a link"], [
      dir,
      "not a regular",
    ]];
    for (const [path, says] of why) {
      const { code, err } = await home.run(["relay", "--port", "0", "--db", path!]);
      assertEquals(code, 7, err);
      assertStringIncludes(err, `E_STATE]: not the database of a relay: ${says}`);
    }
    assertEquals([text, other].map((path) => Deno.readFileSync(path)), before);
    assertEquals([text, other].map((path) => Deno.statSync(path).mode! & 0o777), [0o644, 0o644]);
    const nowhere = await home.run(["relay", "--port", "0", "--db", join(dir, "gone", "x.db")]);
    assertEquals(nowhere.code, 7);
    assertStringIncludes(nowhere.err, "E_STATE_WRITE]: there is no directory");
    assertThrows(() => Deno.statSync(join(dir, "gone")), Deno.errors.NotFound);
  });
});

Deno.test("a relay's own database, an empty file and none are taken", async () => {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    await relay.stop();
    checkGivenDatabase(join(dir, "relay.db"));
    checkGivenDatabase(join(dir, "new.db"));
    Deno.writeTextFileSync(join(dir, "empty.db"), "");
    checkGivenDatabase(join(dir, "empty.db"));
    assertThrows(() => checkGivenDatabase(join(dir, "gone", "x.db")), RunnerError);
  });
});

Deno.test("no file is left beside a database with a log that is somebody else's", async () => {
  await withTempDir((dir) => {
    const db = new DatabaseSync(join(dir, "other.db"));
    db.exec("PRAGMA journal_mode = WAL; CREATE TABLE mystuff (x)");
    // As a program leaves it that is killed: what it knows is in its log.
    for (const suffix of ["", "-wal"]) {
      Deno.copyFileSync(join(dir, `other.db${suffix}`), join(dir, `killed.db${suffix}`));
    }
    db.close();
    const before = Deno.readFileSync(join(dir, "killed.db-wal"));
    for (const name of ["other.db", "killed.db"]) {
      const error = assertThrows(() => checkGivenDatabase(join(dir, name)), RunnerError);
      assertStringIncludes(error.message, "it has other tables");
    }
    assertEquals(Deno.readFileSync(join(dir, "killed.db-wal")), before);
    const left = [...Deno.readDirSync(dir)].map(({ name }) => name).filter((name) =>
      name.startsWith("other")
    );
    assertEquals(left, ["other.db"]);
  });
});

Deno.test("relay --db takes the place of the agent that serves from that file", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const agent = home.start(["echo", "--headless", "--label", "api"]);
    await home.untilReady("api");
    const relay = home.start(["relay", "--db", join(home.home, "relay.db")]);
    await until("the relay", () => relay.out.includes("\n") || relay.over);
    assertEquals(relay.over, false, relay.err);
    await home.untilReady("api");
    for (const each of [agent, relay]) {
      each.kill("SIGTERM");
      assertEquals(await each.ended(), 0, each.err);
    }
  });
});
