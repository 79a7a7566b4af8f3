import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { dirname, fromFileUrl, join } from "@std/path";
import { TestHome } from "../support/runner_process.ts";
import { onPath, sayingRunner, TypedShell } from "../support/shells.ts";
import { withTempDir } from "../support/temp.ts";

const ROOT = dirname(dirname(dirname(fromFileUrl(import.meta.url))));
/** The lines by which a person installs completion, as the document has them. */
const INSTALL = Deno.readTextFileSync(join(ROOT, "docs/install.md"))
  .split("\n").filter((line) => /^echo '.*runner completions /.test(line));
/** Commands that not every machine has. */
const here = {
  script: await onPath("script"),
  shellcheck: await onPath("shellcheck"),
  zsh: await onPath("zsh"),
  fish: await onPath("fish"),
};

/** A test that needs commands; where one is missing its name says so. */
function needing(commands: (keyof typeof here)[], name: string, fn: () => Promise<void>): void {
  const missing = commands.filter((each) => !here[each]);
  const why = missing.length === 0 ? "" : ` (SKIPPED: there is no ${missing.join(" and no ")} here)`;
  Deno.test({ name: name + why, ignore: missing.length > 0, fn });
}

interface Place {
  home: TestHome;
  /** Environment of a shell whose `runner` completes and otherwise says how it was called. */
  env: Record<string, string>;
}

/** A home with an agent that is called web, beside one whose names a shell would act upon, and completion installed. */
async function withShells(work: (place: Place) => Promise<void>): Promise<void> {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const relay = fakeRelay(home.port, AGENTS);
    try {
      const env = { ...home.env, PATH: `${sayingRunner(dir, home)}:${home.env.PATH}`, TERM: "xterm" };
      await Deno.mkdir(join(dir, ".config", "fish"), { recursive: true });
      for (const line of INSTALL) await shell("sh", ["-c", line], { home, env });
      await Deno.writeTextFile(join(home.cwd, "task one.md"), "");
      await Deno.mkdir(join(home.cwd, "only"));
      await work({ home, env });
    } finally {
      await relay.shutdown();
    }
  });
}

const AGENTS = ["web", "$(touch bad)", "--hard", "a;b", "x\x1b[2J", ":files"].map((name) => ({
  id: name === "web" ? "m-web" : name,
  label: name,
  tags: [name === "web" ? "echo" : name],
  capabilities: [name],
  componentId: "m-runner",
  kind: "provider",
  machine: "m",
  status: "idle",
  ready: true,
  epoch: 1,
  lastSeen: 0,
  createdAt: 0,
}));

function fakeRelay(port: number, agents: readonly unknown[]): Deno.HttpServer {
  return Deno.serve(
    { hostname: "127.0.0.1", port, onListen: () => {} },
    () => Response.json({ agents }),
  );
}

async function shell(command: string, args: readonly string[], { home, env }: Place): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    cwd: home.cwd,
    clearEnv: true,
    env,
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  assertEquals([code, decoder.decode(stderr)], [0, ""]);
  return decoder.decode(stdout);
}

/** Calls bash's function as bash does and prints, line by line, what it answers. */
const ASK_BASH = `
compopt() { COMPREPLY+=("(compopt $*)"); }
eval "$(runner completions bash)"
while [ $# -gt 0 ]; do
  COMP_LINE=$1 COMP_POINT=\${#1}
  read -ra COMP_WORDS <<< "$COMP_LINE"
  COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
  _runner_completions "\${COMP_WORDS[0]}" "$2" "\${COMP_WORDS[COMP_CWORD - 1]}"
  echo "\${COMPREPLY[*]}"
  shift 2
done
`;

Deno.test("the function for bash answers with what goes on with the word, less what bash keeps of it", async () => {
  await withShells(async (place) => {
    // What is typed, the part that bash replaces, the answer.
    const rows: [string, string, string][] = [
      ["runner se", "se", "send"],
      ["runner agents --sta", "--sta", "--status"],
      ["runner agents --status=o", "o", "online offline"],
      ["runner agents --status o", "o", "online offline"],
      ["runner send label:", "", "web"],
      ["runner send label:w", "w", "web"],
      ["runner send lab", "lab", "label:web"],
      [`runner send "label:w`, "label:w", "label:web"],
      ["runner send ", "", "label:web tag:echo cap:web broadcast m-web"],
      ["runner stop ", "", "label:web m-web"],
      ["runner stop label:web --ha", "--ha", "--hard"],
      ["runner dead r", "r", "retry"],
      ["claude-relay --output=", "", "text jsonl"],
      ["runner claude -- --", "--", ""],
      ["runner claude --prompt-file=ta", "ta", "(compopt -o default)"],
      ["runner claude --cwd ", "", "(compopt -o dirnames)"],
      ["runner send x > ta", "ta", "(compopt -o default)"],
      ["nothing-of-that-name se", "se", ""],
    ];
    const args = rows.flatMap(([line, replaced]) => [line, replaced]);
    const said = await shell("bash", ["-c", ASK_BASH, "bash", ...args], place);
    assertEquals(said.split("\n"), [...rows.map(([, , answer]) => answer), ""]);
  });
});

needing(["shellcheck"], "shellcheck finds nothing in the script for bash", async () => {
  await withShells(async (place) => {
    await shell("sh", ["-c", "runner completions bash | shellcheck --shell=bash -"], place);
  });
});

/** Types into a shell with Tab, and returns the words that the program was then called with. */
async function called(terminal: TypedShell, keys: string): Promise<string> {
  const seen = await terminal.type(`${keys}\r`, /called:[^\r\n]*\r?\n/);
  return /called:([^\r\n]*)/.exec(seen)![1]!;
}

async function completesInTerminal(terminal: TypedShell): Promise<void> {
  await terminal.type("echo rea''dy\r", /ready\r?\n/);
  assertEquals(
    await called(terminal, "runner se\tlabel:w\t--unt\tse\thello"),
    "<send><label:web><--until><seen><hello>",
  );
  assertEquals(await called(terminal, 'runner send "label:w\t'), "<send><label:web>");
  assertEquals(await called(terminal, "claude-relay --approval=g\t"), "<--approval=guarded>");
  assertEquals(await called(terminal, "runner echo --prompt-file=ta\t"), "<echo><--prompt-file=task one.md>");
  // zsh takes the slash away again when nothing follows it.
  assertMatch(await called(terminal, "runner echo --cwd \t"), /^<echo><--cwd><only\/?>$/);
}

needing(
  ["script"],
  "bash in a terminal completes words with colons, values, and files with spaces",
  async () => {
    await withShells(async ({ home, env }) => {
      await using terminal = new TypedShell("bash --noprofile -i", { cwd: home.cwd, env });
      await completesInTerminal(terminal);
    });
  },
);

needing(
  ["script", "zsh"],
  "zsh in a terminal completes the same, and shows what each word means",
  async () => {
    await withShells(async ({ home, env }) => {
      await using terminal = new TypedShell("zsh -i", { cwd: home.cwd, env });
      await completesInTerminal(terminal);
      await terminal.type("runner st\t", /stop +-- Let an agent finish its turn/);
    });
  },
);

needing(["fish"], "fish completes the same, with what each word means", async () => {
  await withShells(async (place) => {
    const offered = async (line: string) =>
      (await shell("fish", ["-c", "complete -C $argv[1]", line], place)).split("\n").filter((each) =>
        each !== ""
      );
    assertEquals(await offered("runner sen"), [
      "send\tSend a message and, on request, wait for proof that it was seen",
    ]);
    assertEquals(await offered("runner send label:"), ["label:web\tm-web, idle"]);
    assertEquals(await offered("runner send label:web --until=se"), ["--until=seen"]);
    assertEquals(await offered("claude-relay --approval g"), ["guarded"]);
    assertEquals(await offered("runner echo --prompt-file=ta"), ["--prompt-file=task one.md"]);
    assertEquals((await offered("runner echo --cwd ")).map((each) => each.split("\t")[0]), ["only/"]);
    assertEquals(await offered("runner claude -- -"), []);
  });
});

Deno.test("__complete says nothing and ends with 0 when the relay is silent, refuses, lies or is not there", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const ask = async (...words: string[]) => {
      const began = performance.now();
      const answer = await home.run(["__complete", "fish", "--", "runner", ...words]);
      // 400 ms is what it may take; a busy machine gets five times that.
      assert(performance.now() - began < 2_000);
      return [answer.code, answer.out, answer.err];
    };
    assertEquals(await ask("send", ""), [0, "", ""]);
    assertEquals(await ask("send", "--relay-url", "http://relay.invalid", ""), [0, "", ""]);
    assertEquals(await ask("send", "--token-file", "none", ""), [0, "", ""]);
    const silent = Deno.listen({ hostname: "127.0.0.1", port: home.port });
    assertEquals(await ask("send", ""), [0, "", ""]);
    silent.close();
    for (const answer of [new Response("no", { status: 401 }), Response.json({ agents: [null, 7] })]) {
      const relay = Deno.serve(
        { hostname: "127.0.0.1", port: home.port, onListen: () => {} },
        () => answer.clone(),
      );
      assertEquals(await ask("send", ""), [0, "", ""]);
      await relay.shutdown();
    }
  });
});

Deno.test("__complete asks the relay that the line names, with its token, and none while the token is yet to come", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const tokens: (string | null)[] = [];
    const relay = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
      tokens.push(request.headers.get("x-agent-relay-token"));
      return Response.json({ agents: AGENTS });
    });
    try {
      await Deno.writeTextFile(join(dir, "token"), "t0ken\n", { mode: 0o600 });
      const url = `--relay-url=http://127.0.0.1:${relay.addr.port}`;
      const ask = async (...words: string[]) =>
        (await home.run(["__complete", "zsh", "--", "runner", "stop", url, ...words, ""])).out;
      assertEquals(await ask("--token-file", "~/token"), "label:web\tm-web, idle\nm-web\tlabel:web, idle\n");
      assertEquals(await ask("--token-stdin"), "");
      assertEquals(tokens, ["t0ken"]);
    } finally {
      await relay.shutdown();
    }
  });
});

Deno.test("completions prints for each shell a script that names the line by which it is installed", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    assertEquals(INSTALL.length, 3);
    for (const name of ["bash", "zsh", "fish"]) {
      const { code, out } = await home.run(["completions", name]);
      assertEquals(code, 0);
      const kept = INSTALL.find((line) => line.includes(name))!.replace(/^echo '(.*)' >>.*$/, "$1");
      assertStringIncludes(out, kept);
    }
  });
});
