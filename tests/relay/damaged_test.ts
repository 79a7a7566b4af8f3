import { assert, assertEquals, assertRejects } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { join } from "@std/path";
import { systemClock } from "../../lib/base/clock.ts";
import { RunnerError } from "../../lib/base/errors.ts";
import { type Log, noLog } from "../../lib/base/log.ts";
import { createRelayHost } from "../../lib/relay/host.ts";
import { serveRelay } from "../../lib/relay/serve.ts";
import { httpOf, TestAgent, testRelay, TOKEN } from "../support/relay_world.ts";
import { freePort, withTempDir } from "../support/temp.ts";

function recorder(): { log: Log; lines: string[] } {
  const lines: string[] = [];
  const log: Log = {
    ...noLog,
    error: (message) => void lines.push(`error: ${message}`),
    warn: (message) => void lines.push(`warn: ${message}`),
    child: () => log,
  };
  return { log, lines };
}

function serve(dir: string, log: Log, port = 0) {
  return serveRelay({
    hostname: "127.0.0.1",
    port,
    dbPath: join(dir, "relay.db"),
    token: TOKEN,
    embedded: true,
    version: "test",
    clock: systemClock,
    log,
  });
}

function hostOf(dir: string, log: Log) {
  const port = freePort();
  return createRelayHost({
    url: `http://127.0.0.1:${port}`,
    token: TOKEN,
    serve: () => serve(dir, noLog, port),
    clock: systemClock,
    log,
  });
}

const DAMAGE: Record<string, (path: string) => void> = {
  "its pages": (path) => Deno.writeFileSync(path, Deno.readFileSync(path).fill(0x41, 100, 8_192)),
  "its beginning": (path) => Deno.writeFileSync(path, Deno.readFileSync(path).fill(0, 0, 200)),
  "its length": (path) => Deno.truncateSync(path, 60),
  "everything": (path) => Deno.writeTextFileSync(path, "an editor's file\n".repeat(1_000)),
};

for (const [what, damage] of Object.entries(DAMAGE)) {
  Deno.test(`serveRelay() puts a database aside that is damaged in ${what}, says so, and begins a new one`, async () => {
    await withTempDir(async (dir) => {
      const first = await testRelay(dir);
      assert((await httpOf(first).send({ from: "s", to: "a", body: "x", queue: true })).ok);
      await first.stop();
      const path = join(dir, "relay.db");
      damage(path);
      const damaged = Deno.readFileSync(path);

      const { log, lines } = recorder();
      const relay = await serve(dir, log);
      assert(relay.storeId !== first.storeId);
      const agent = await new TestAgent(relay.url, "a").join();
      assert((await httpOf(relay).send({ from: "s", to: "a", body: "new" })).ok);
      await agent.untilGot("new");
      await agent.bus.close();
      await relay.stop();
      assertEquals(lines, [
        "error: the relay's database was damaged and put aside, a new one begins without what was in it",
      ]);
      const aside = [...Deno.readDirSync(join(dir, "quarantine"))].map(({ name }) => name)
        .filter((name) => name.endsWith("-relay.db"));
      assertEquals(aside.length, 1);
      assertEquals(Deno.readFileSync(join(dir, "quarantine", aside[0]!)), damaged);

      const again = await serve(dir, log);
      assertEquals([again.storeId, lines.length], [relay.storeId, 1]);
      await again.stop();
    });
  });
}

Deno.test("a database of a newer version is refused and stays where it is, and a host says why it serves nothing", async () => {
  await withTempDir(async (dir) => {
    const path = join(dir, "relay.db");
    const db = new DatabaseSync(path);
    db.exec("PRAGMA user_version = 99");
    db.close();
    const before = Deno.readFileSync(path);
    const error = await assertRejects(() => serve(dir, noLog), RunnerError);
    assertEquals(error.code, "E_STATE");
    const { log, lines } = recorder();
    const host = hostOf(dir, log);
    await host.ensure();
    await host.ensure();
    assertEquals(lines, [
      "error: cannot serve the relay: relay database version 99 is newer than this runner",
    ]);
    assertEquals(host.serving, false);
    await host.stop();
    assertEquals(Deno.readFileSync(path), before);
    assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name), ["relay.db"]);
  });
});

Deno.test("a sound database that is not a relay's is refused and stays where it is", async () => {
  await withTempDir(async (dir) => {
    const db = new DatabaseSync(join(dir, "relay.db"));
    db.exec("CREATE TABLE message (text TEXT); INSERT INTO message VALUES ('mine')");
    db.close();
    assertEquals((await assertRejects(() => serve(dir, noLog), RunnerError)).code, "E_STATE");
    const kept = new DatabaseSync(join(dir, "relay.db"));
    assertEquals(kept.prepare("SELECT text FROM message").get(), { text: "mine" });
    kept.close();
  });
});

Deno.test("a database that another relay still has open is nobody's fault: a host waits for it without a word", async () => {
  await withTempDir(async (dir) => {
    const other = await testRelay(dir);
    const { log, lines } = recorder();
    const host = hostOf(dir, log);
    await host.ensure();
    assertEquals([host.serving, lines], [false, []]);
    assertEquals((await assertRejects(() => serve(dir, log), RunnerError)).code, "E_STATE");
    await other.stop();
    await host.ensure();
    assertEquals([host.serving, lines], [true, []]);
    await host.stop();
    assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name), ["relay.db"]);
  });
});
