import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { checkBadInput } from "../support/bad_input_check.ts";
import { BAD_INPUTS, WITHOUT_POWERS } from "../support/bad_inputs.ts";
import { TestHome } from "../support/runner_process.ts";
import { withTempDir } from "../support/temp.ts";

for (const input of BAD_INPUTS) {
  Deno.test(`bad input ${input.row} is ${input.code}, exit ${input.exit}, and starts nothing`, async () => {
    await withTempDir((dir) => checkBadInput(input, dir));
  });
}

Deno.test("--json puts the same error into one JSON object", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const { code, err } = await home.run(["agents", "--json", "--bogus"]);
    assertEquals(code, 2);
    const { error } = JSON.parse(err) as { error: Record<string, unknown> };
    assertEquals([error.code, error.exit], ["E_FLAG", 2]);
  });
});

Deno.test("what looks like bad input but is not: BOM, label undefined, prompt that begins with a dash", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    Deno.writeTextFileSync(`${home.home}/config.json`, `\ufeff{"relayPort":${home.port}}`);
    const runner = home.start(["echo", "--label", "undefined", "--prompt", "-x --settings=/e"]);
    await home.untilReady("undefined");
    const other = home.start(["echo"]);
    const sent = await home.run(["send", "label:undefined", "only you", "--until", "done", "--json"]);
    assertEquals((JSON.parse(sent.out) as { recipients: string[] }).recipients.length, 1);
    for (const each of [runner, other]) {
      each.kill("SIGTERM");
      assertEquals(await each.ended(), 0, each.err);
    }
    assertStringIncludes(runner.out, "echo: -x --settings=/e\n");
  });
});

Deno.test("a working directory that may be entered and not read is one", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    Deno.mkdirSync(`${home.cwd}/dark`);
    Deno.chmodSync(`${home.cwd}/dark`, 0o311);
    const job = ["echo", "--once", "--prompt", "hello", "--cwd", "dark"];
    const { code, out, err } = await home.run(job, { below: WITHOUT_POWERS });
    assertEquals([code, out], [0, "echo: hello\n"], err);
  });
});

Deno.test("a relay that refuses the token and a foreign service on the port are told apart", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const service = Deno.serve(
      { hostname: "127.0.0.1", port: home.port, onListen: () => {} },
      () => new Response("hello", { headers: { "content-type": "text/html" } }),
    );
    const foreign = await home.run(["agents"]);
    assertEquals(foreign.code, 75);
    assertStringIncludes(foreign.err, "E_RELAY_REPLY");
    await service.shutdown();
    const relay = home.start(["relay"]);
    const deadline = performance.now() + 20_000;
    while (!relay.out.includes("\n") && performance.now() < deadline) {
      await new Promise((r) => setTimeout(r, 20));
    }
    const refused = await home.run(["agents"], { env: { AGENT_RELAY_TOKEN: "wrong-token" } });
    assertEquals(refused.code, 4);
    assertStringIncludes(refused.err, "E_RELAY_AUTH");
    const taken = await home.run(["relay"]);
    assertEquals(taken.code, 75);
    assertStringIncludes(taken.err, "E_RELAY_PORT");
    relay.kill("SIGTERM");
    assertEquals(await relay.ended(), 0);
  });
});

Deno.test("a provider that exits at once is a crash loop, exit 5, and its queue stays at the relay", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    Deno.writeTextFileSync(`${home.cwd}/tool`, "#!/bin/sh\nexit 3\n");
    Deno.chmodSync(`${home.cwd}/tool`, 0o700);
    home.provider("claude", { command: `${home.cwd}/tool` });
    const { code, err } = await home.run(["claude", "--headless"]);
    assertEquals(code, 5, err);
    assertMatch(err, /error\[E_CRASH_LOOP\]: the provider ended 6 times within 60 s \(exit code 3\)/);
  });
});
