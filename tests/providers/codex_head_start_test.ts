import { assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { systemClock } from "../../lib/base/clock.ts";
import { RunnerError } from "../../lib/base/errors.ts";
import { noLog } from "../../lib/base/log.ts";
import { createProcesses } from "../../lib/process/mod.ts";
import { HeadStart } from "../../lib/providers/codex/head_start.ts";
import { CodexTerminal } from "../../lib/providers/codex/terminal.ts";
import type { ProviderPorts, ProviderSetup } from "../../lib/providers/contract.ts";
import { processesWith } from "../support/runner_process.ts";
import { TestHome } from "../support/runner_process.ts";
import { until, withTempDir } from "../support/temp.ts";

/** Notes every start in `starts`, says where it listens, and stays. */
const SERVER = `#!/bin/sh
echo "$*" >> "$STARTS"
echo "  listening on: ws://127.0.0.1:9" >&2
exec sleep 100
`;

interface World {
  headStart: HeadStart;
  setup: ProviderSetup;
  ports: Pick<ProviderPorts, "processes" | "clock" | "log">;
  starts(): number;
  alive(): Promise<number>;
}

async function withWorld(work: (world: World) => Promise<void>): Promise<void> {
  await withTempDir(async (dir) => {
    const command = join(dir, "codex");
    Deno.writeTextFileSync(command, SERVER, { mode: 0o755 });
    const notes = join(dir, "starts");
    Deno.writeTextFileSync(notes, "");
    const processes = createProcesses({ runId: crypto.randomUUID(), clock: systemClock, log: noLog });
    const env = { PATH: "/usr/bin:/bin", STARTS: notes };
    const setup = { command, args: [], cwd: dir, env } as unknown as ProviderSetup;
    try {
      await work({
        headStart: new HeadStart(new CodexTerminal()),
        setup,
        ports: { processes, clock: systemClock, log: noLog },
        starts: () => Deno.readTextFileSync(notes).split("\n").length - 1,
        alive: async () => (await processesWith(processes.runId)).length,
      });
    } finally {
      await processes.dispose({ graceMs: 0 });
    }
  });
}

Deno.test("the server that was started ahead is the first incarnation's, and the next gets one of its own", async () => {
  await withWorld(async ({ headStart, setup, ports, starts }) => {
    await headStart.begin(setup, ports);
    const first = await headStart.take(setup, ports);
    assertEquals(await first.server.url, "ws://127.0.0.1:9");
    assertEquals(starts(), 1);
    const second = await headStart.take(setup, ports);
    assertEquals(await second.server.url, "ws://127.0.0.1:9");
    assertEquals(starts(), 2);
    assertNotEquals(first.address.token, second.address.token);
    assertNotEquals(first.server.child.pid, second.server.child.pid);
    // What was taken is its session's to end.
    await headStart.dispose();
    assertEquals(await Promise.race([first.server.child.exited, "alive"]), "alive");
  });
});

Deno.test("a server that nobody came for is ended, and ending it twice does nothing", async () => {
  await withWorld(async ({ headStart, setup, ports, alive }) => {
    await headStart.dispose();
    await headStart.begin(setup, ports);
    await until("the server", async () => await alive() > 0);
    await headStart.dispose();
    await headStart.dispose();
    assertEquals(await alive(), 0);
  });
});

Deno.test("a server that cannot be started is told to who asks for it, once", async () => {
  await withWorld(async ({ headStart, setup, ports }) => {
    const missing = { ...setup, command: `${setup.command}-missing` };
    await headStart.begin(missing, ports);
    const error = await assertRejects(() => headStart.take(missing, ports), RunnerError);
    assertEquals(error.code, "E_PROVIDER_CMD");
    await headStart.begin({ ...setup, args: ["--no-such-flag"] }, ports);
    const refused = await assertRejects(() => headStart.take(setup, ports), RunnerError);
    assertEquals(refused.code, "E_PROVIDER_CMD");
    await (await headStart.take(setup, ports)).server.child.stop({ graceMs: 0 });
  });
});

Deno.test("a run that cannot be started leaves no server that it had started ahead", async () => {
  await withTempDir(async (dir) => {
    const command = join(dir, "codex");
    const notes = join(dir, "starts");
    Deno.writeTextFileSync(command, SERVER.replace("$STARTS", notes), { mode: 0o755 });
    await using home = new TestHome(dir, { HEAD_START_TEST: dir });
    home.provider("codex", { command, passEnv: ["HEAD_START_TEST"] });
    const foreign = Deno.serve(
      { hostname: "127.0.0.1", port: home.port, onListen: () => {} },
      () => new Response("no relay", { status: 404 }),
    );
    try {
      const { code, err } = await home.run(["codex", "--headless", "--label", "api"]);
      assertEquals(code, 4, err);
      assertEquals(await processesWith(`HEAD_START_TEST=${dir}`), []);
      // It was there: what is shown is that it was taken back.
      assertEquals(Deno.readTextFileSync(notes).split("\n").length - 1, 1);
    } finally {
      await foreign.shutdown();
    }
  });
});
