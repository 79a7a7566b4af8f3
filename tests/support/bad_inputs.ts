import { dirname, join } from "@std/path";
import type { TestHome } from "./runner_process.ts";

/** One bad input and the exact answer to it. */
export interface BadInput {
  /** Row of the catalogue, with a letter where a row has several inputs. */
  row: string;
  args: readonly string[];
  /** Prepares files; the directory of the test is below the home's. */
  prepare?(home: TestHome): void;
  env?: Record<string, string>;
  /** Words of a command that starts the program. */
  below?: readonly string[];
  code: string;
  exit: number;
  /** What the one line on stderr must say. */
  says: RegExp;
}

const config = (text: string) => (home: TestHome) => write(join(home.home, "config.json"), text);
const provider = (name: string, text: string) => (home: TestHome) =>
  write(join(home.home, "providers", `${name}.json`), text);

function write(path: string, text: string, mode = 0o600): void {
  Deno.writeTextFileSync(path, text);
  Deno.chmodSync(path, mode);
}

const ROOT = Deno.build.os !== "windows" && Deno.uid() === 0;

/** Starts a command for which modes hold: for root they do only without these two capabilities. */
export const WITHOUT_POWERS: readonly string[] = ROOT
  ? ["/usr/bin/setpriv", "--bounding-set=-dac_override,-dac_read_search"]
  : [];

/** What an agent of a fixed id keeps its state in; a run without a relay needs no more. */
const place = ["echo", "--headless", "--agent-id", "a", "--no-relay", "--prompt", "hello", "--once"];
const STATE_DIRS = ["state", "state/a", "logs"];
const STATE_FILES = ["state/a/lock", "state/a/journal.db", "logs/a.log"];

/** Puts a link into the home, to what `make` makes below the working directory. */
function link(home: TestHome, path: string, make: (target: string) => void): void {
  const target = join(home.cwd, "target");
  make(target);
  Deno.mkdirSync(dirname(join(home.home, path)), { recursive: true, mode: 0o700 });
  Deno.symlinkSync(target, join(home.home, path));
}

/** What is executable and no program of this machine; the system would give each of them to a shell. */
const NO_PROGRAMS: Readonly<Record<string, () => Uint8Array<ArrayBuffer>>> = Deno.build.os !== "linux"
  ? {}
  : {
    "cut in its header": () => Deno.readFileSync("/bin/sh").slice(0, 40),
    "cut in what is loaded": () => Deno.readFileSync("/bin/sh").slice(0, 8_192),
    "for Windows": () =>
      new TextEncoder().encode("MZ\x90\0\x03\0\0\0\x04\0 This program cannot be run in DOS mode"),
    empty: () => new Uint8Array(),
  };

const TOKEN = "s3cret-token-value";
const echo = ["echo"];

/** The catalogue, rows in order. */
export const BAD_INPUTS: readonly BadInput[] = [
  { row: "1", args: [], code: "E_USAGE", exit: 2, says: /no provider given; use claude or codex/ },
  {
    row: "2",
    args: ["gemini"],
    code: "E_PROVIDER",
    exit: 2,
    says: /unknown verb or provider "gemini".*providers are claude, codex, echo/,
  },
  {
    row: "3",
    args: ["claude", "--headles"],
    code: "E_FLAG",
    exit: 2,
    says: /unknown option --headles.*did you mean --headless\? provider options go after --/,
  },
  { row: "4", args: ["claude", "--label"], code: "E_FLAG_VALUE", exit: 2, says: /--label needs a value$/ },
  {
    row: "5",
    args: ["claude", "--cwd", "--headless"],
    code: "E_FLAG_VALUE",
    exit: 2,
    says: /--cwd needs a value, got option --headless.*use --cwd=\.\/--headless/,
  },
  { row: "6", args: ["claude", "--label", ""], code: "E_LABEL", exit: 2, says: /empty label/ },
  {
    row: "7",
    args: ["claude", "--label", "a\nb\x1b[2J"],
    code: "E_LABEL",
    exit: 2,
    says: /"a\\nb\\x1b\[2J" has characters outside A-Za-z0-9\._-/,
  },
  {
    row: "8",
    args: ["claude", "--label", "x".repeat(65)],
    code: "E_LABEL",
    exit: 2,
    says: /65 characters, at most 64/,
  },
  {
    row: "8b",
    args: ["claude", "--agent-id", "a/b"],
    code: "E_AGENT_ID",
    exit: 2,
    says: /agent id "a\/b" has characters outside A-Za-z0-9\._-/,
  },
  {
    row: "10a",
    args: ["claude", "--token", TOKEN],
    code: "E_TOKEN_ARGV",
    exit: 2,
    says: /use --token-file, --token-stdin or AGENT_RELAY_TOKEN/,
  },
  {
    row: "10b",
    args: ["send", "x", `--token=${TOKEN}`],
    code: "E_TOKEN_ARGV",
    exit: 2,
    says: /visible to other users/,
  },
  {
    row: "11a",
    args: [...echo, "--token-file", "/nope"],
    code: "E_TOKEN_FILE",
    exit: 3,
    says: /not found \(\/nope\)/,
  },
  {
    row: "11b",
    args: [...echo, "--token-file", "token"],
    prepare: (home) => write(join(home.cwd, "token"), TOKEN, 0o644),
    code: "E_TOKEN_FILE",
    exit: 3,
    says: /readable by others.*run chmod 600/,
  },
  {
    row: "11c",
    args: [...echo, "--token-file", "token"],
    prepare: (home) => write(join(home.cwd, "token"), ""),
    code: "E_TOKEN_FILE",
    exit: 3,
    says: /is empty/,
  },
  {
    row: "11d",
    args: [...echo, "--token-file", "token"],
    prepare: (home) => write(join(home.cwd, "token"), "x".repeat(2_000_000)),
    code: "E_TOKEN_FILE",
    exit: 3,
    says: /larger than 4 KiB/,
  },
  {
    row: "12a",
    args: [...echo, "--relay-url", "foo"],
    code: "E_RELAY_URL",
    exit: 2,
    says: /"foo" is not a URL \(--relay-url\)/,
  },
  {
    row: "12b",
    args: [...echo, "--relay-url", "ftp://x"],
    code: "E_RELAY_URL",
    exit: 2,
    says: /scheme must be http, https, ws, wss/,
  },
  {
    row: "12c",
    args: [...echo, "--relay-url", "http://h:99999"],
    code: "E_RELAY_URL",
    exit: 2,
    says: /bad port/,
  },
  {
    row: "13a",
    args: [...echo, "--relay-url", `https://u:${TOKEN}@h`],
    code: "E_RELAY_URL",
    exit: 2,
    says: /credentials, not allowed/,
  },
  {
    row: "13b",
    args: [...echo, "--relay-url", "https://h/#x"],
    code: "E_RELAY_URL",
    exit: 2,
    says: /fragment, not allowed/,
  },
  {
    row: "14",
    args: [...echo, "--relay-url", "http://relay.example"],
    code: "E_RELAY_PLAINTEXT",
    exit: 2,
    says: /unencrypted.*use https or --insecure-relay/,
  },
  {
    row: "12d",
    args: echo,
    prepare: config('{"relayUrl":"foo"}'),
    code: "E_CONFIG",
    exit: 3,
    says: /relay URL "foo" is not a URL \(config\.json relayUrl\)/,
  },
  {
    row: "14b",
    args: ["agents"],
    prepare: config('{"relayUrl":"http://relay.example"}'),
    code: "E_CONFIG",
    exit: 3,
    says: /unencrypted \(config\.json relayUrl\)/,
  },
  {
    row: "16d",
    args: echo,
    prepare: config('{"defaultCwd":"~/gone"}'),
    code: "E_CONFIG",
    exit: 3,
    says: /working directory "~\/gone" does not exist \(config\.json defaultCwd\)/,
  },
  {
    row: "S-11",
    args: ["send", "label:x", "hello", "--from", "x y"],
    code: "E_FLAG_VALUE",
    exit: 2,
    says: /sender "x y" has characters outside A-Za-z0-9\._-/,
  },
  { row: "16a", args: [...echo, "--cwd", "/nope"], code: "E_CWD", exit: 2, says: /"\/nope" does not exist/ },
  { row: "16b", args: [...echo, "--cwd", "/etc/passwd"], code: "E_CWD", exit: 2, says: /is not a directory/ },
  {
    row: "16c",
    args: [...echo, "--cwd", "closed"],
    // What may be read may not be entered.
    prepare: (home) => Deno.mkdirSync(join(home.cwd, "closed"), { mode: 0o600 }),
    below: WITHOUT_POWERS,
    code: "E_CWD",
    exit: 2,
    says: /"closed" is not accessible/,
  },
  {
    row: "19a",
    args: [...echo, "--drain-timeout", "-1"],
    code: "E_DURATION",
    exit: 2,
    says: /expected 0s\.\.1h, like 20s/,
  },
  ...["NaN", "1e400", "3000000000", "5"].map((value, i): BadInput => ({
    row: `19${"bcde"[i]}`,
    args: [...echo, "--drain-timeout", value],
    code: "E_DURATION",
    exit: 2,
    says: /expected 0s\.\.1h, like 20s/,
  })),
  {
    row: "20",
    args: ["claude", "--approval", "yolo"],
    code: "E_APPROVAL",
    exit: 2,
    says: /unknown mode "yolo"; expected read-only, guarded, open/,
  },
  {
    row: "21",
    args: ["claude", "--label", "a", "--label", "b"],
    code: "E_FLAG",
    exit: 2,
    says: /--label given twice/,
  },
  {
    row: "22",
    args: ["claude", "--model", "codex"],
    code: "E_FLAG",
    exit: 2,
    says: /unknown option --model.*provider options go after --/,
  },
  {
    row: "23",
    args: ["send", "label:x", "a\ufffdb"],
    code: "E_ARGV",
    exit: 2,
    says: /argument 3 contains U\+FFFD \(not valid UTF-8\?\)/,
  },
  {
    row: "24",
    args: echo,
    env: { AGENT_RELAY_HOME: "", HOME: "" },
    code: "E_HOME",
    exit: 3,
    says: /set AGENT_RELAY_HOME/,
  },
  {
    row: "25a",
    args: echo,
    env: { AGENT_RELAY_HOME: "rel" },
    code: "E_HOME",
    exit: 3,
    says: /must be absolute/,
  },
  {
    row: "25b",
    args: echo,
    env: { AGENT_RELAY_HOME: "/etc/passwd" },
    code: "E_HOME",
    exit: 3,
    says: /is not a directory/,
  },
  {
    row: "25c",
    args: echo,
    prepare: (home) => Deno.chmodSync(home.home, 0o777),
    code: "E_HOME",
    exit: 3,
    says: /writable by others/,
  },
  {
    row: "25d",
    args: echo,
    prepare: (home) => Deno.chmodSync(home.home, 0o770),
    code: "E_HOME",
    exit: 3,
    says: /writable by others.*run chmod 700/,
  },
  {
    row: "25e",
    args: echo,
    ...(ROOT
      ? { prepare: (home: TestHome) => Deno.chownSync(home.home, 65_534, null) }
      : { env: { AGENT_RELAY_HOME: "/usr" } }),
    code: "E_HOME",
    exit: 3,
    says: /owned by another user/,
  },
  {
    row: "25f",
    args: echo,
    prepare: (home) => {
      Deno.removeSync(home.home, { recursive: true });
      Deno.symlinkSync("gone", home.home);
    },
    code: "E_HOME",
    exit: 3,
    says: /a link to nothing/,
  },
  // S-5: state is never kept behind a link, in what others may write to, or in what is theirs.
  ...STATE_DIRS.flatMap((path, i): BadInput[] => [
    {
      row: `S-5 dir ${i + 1}a`,
      args: place,
      prepare: (home) => {
        Deno.mkdirSync(join(home.home, path), { recursive: true, mode: 0o700 });
        Deno.chmodSync(join(home.home, path), 0o777);
      },
      code: "E_CONFIG_PERM",
      exit: 3,
      says: new RegExp(`writable by others \\(.*/${path}\\).*run chmod 700 /`),
    },
    {
      row: `S-5 dir ${i + 1}b`,
      args: place,
      prepare: (home) => link(home, path, (target) => Deno.mkdirSync(target, { mode: 0o700 })),
      code: "E_CONFIG_PERM",
      exit: 3,
      says: new RegExp(`a link, which state is not kept behind \\(.*/${path}\\)`),
    },
  ]),
  ...STATE_FILES.flatMap((path, i): BadInput[] => [
    {
      row: `S-5 file ${i + 1}a`,
      args: place,
      prepare: (home) => link(home, path, (target) => write(target, "", 0o644)),
      code: "E_CONFIG_PERM",
      exit: 3,
      says: new RegExp(`a link, which state is not kept behind \\(.*/${path}\\)`),
    },
    {
      row: `S-5 file ${i + 1}b`,
      args: place,
      prepare: (home) => {
        Deno.mkdirSync(dirname(join(home.home, path)), { recursive: true, mode: 0o700 });
        write(join(home.home, path), "", 0o622);
      },
      code: "E_CONFIG_PERM",
      exit: 3,
      says: new RegExp(`writable by others \\(.*/${path}\\).*run chmod 600 /`),
    },
    {
      row: `S-5 file ${i + 1}c`,
      args: place,
      prepare: (home) => Deno.mkdirSync(join(home.home, path), { recursive: true, mode: 0o700 }),
      code: "E_STATE",
      exit: 7,
      says: new RegExp(`not a regular file \\(.*/${path}\\)\\. move it away`),
    },
  ]),
  {
    row: "26",
    args: ["claude", "--headless"],
    prepare: provider("claude", '{"command":"claude-rig"}'),
    code: "E_PROVIDER_CMD",
    exit: 5,
    says: /"claude-rig" not found on PATH.*install it or set command/,
  },
  {
    row: "27a",
    args: ["claude", "--headless"],
    prepare: (home) => {
      write(join(home.cwd, "tool"), "#!/bin/sh\n", 0o600);
      provider("claude", JSON.stringify({ command: join(home.cwd, "tool") }))(home);
    },
    code: "E_PROVIDER_CMD",
    exit: 5,
    says: /permission denied/,
  },
  {
    row: "27b",
    args: ["claude", "--headless"],
    prepare: (home) => {
      write(join(home.cwd, "tool"), "\x7fELF not for this machine", 0o700);
      provider("claude", JSON.stringify({ command: join(home.cwd, "tool") }))(home);
    },
    code: "E_PROVIDER_CMD",
    exit: 5,
    says: /exec format error/,
  },
  ...Object.entries(NO_PROGRAMS).map(([what, bytes]): BadInput => ({
    row: `27 ${what}`,
    args: ["claude", "--headless"],
    prepare: (home) => {
      Deno.writeFileSync(join(home.cwd, "tool"), bytes(), { mode: 0o700 });
      provider("claude", JSON.stringify({ command: join(home.cwd, "tool") }))(home);
    },
    code: "E_PROVIDER_CMD",
    exit: 5,
    says: /exec format error/,
  })),
  {
    row: "S-12a",
    args: ["claude", "--headless"],
    prepare: (home) => {
      write(join(home.cwd, "claude"), "#!/bin/sh\n", 0o700);
      provider("claude", '{"command":"./claude"}')(home);
    },
    code: "E_PROVIDER_CMD",
    exit: 5,
    says: /"\.\/claude" is not an absolute path\. write \//,
  },
  {
    row: "S-12b",
    args: ["claude", "--headless"],
    prepare: (home) => {
      const dir = join(home.cwd, "bin");
      Deno.mkdirSync(dir);
      // As /tmp is: it keeps others from replacing the file, and not from being there first.
      Deno.chmodSync(dir, 0o1777);
      write(join(dir, "claude"), "#!/bin/sh\n", 0o700);
      provider("claude", JSON.stringify({ command: join(dir, "claude") }))(home);
    },
    code: "E_PROVIDER_CMD",
    exit: 5,
    says: /in a directory that everybody may write to \(\/.*bin\)/,
  },
  {
    row: "28",
    args: echo,
    prepare: config('{"a":'),
    code: "E_CONFIG",
    exit: 3,
    says: /config\.json line 1 column 6: unexpected end/,
  },
  ...["[]", "null", '"x"', ""].map((text, i): BadInput => ({
    row: `30${"abcd"[i]}`,
    args: echo,
    prepare: config(text),
    code: "E_CONFIG",
    exit: 3,
    says: /top level must be an object/,
  })),
  {
    row: "31",
    args: echo,
    prepare: config('{"relayURL":"http://127.0.0.1"}'),
    code: "E_CONFIG",
    exit: 3,
    says: /unknown key relayURL; did you mean relayUrl\?/,
  },
  {
    row: "32",
    args: echo,
    prepare: provider("echo", '{"env":{"PORT":8080}}'),
    code: "E_CONFIG",
    exit: 3,
    says: /providers\/echo\.json line 1 column 16: env\.PORT must be a string, got number/,
  },
  {
    row: "33a",
    args: echo,
    prepare: provider("echo", '{"env":{"LD_PRELOAD":"x"}}'),
    code: "E_CONFIG",
    exit: 3,
    says: /env name LD_PRELOAD not allowed/,
  },
  {
    row: "33b",
    args: echo,
    prepare: provider("echo", '{"env":{"A=B":"x"}}'),
    code: "E_CONFIG",
    exit: 3,
    says: /not a valid variable name/,
  },
  {
    row: "33c",
    args: echo,
    prepare: provider("echo", '{"env":{"":"x"}}'),
    code: "E_CONFIG",
    exit: 3,
    says: /empty name/,
  },
  {
    row: "33d",
    args: echo,
    prepare: provider("echo", '{"env":{"A":"x\\u0000y"}}'),
    code: "E_CONFIG",
    exit: 3,
    says: /NUL byte/,
  },
  ...["__proto__", "constructor", "prototype"].map((key, i): BadInput => ({
    row: `34${"abc"[i]}`,
    args: echo,
    prepare: provider("echo", `{"env":{"${key}":{"x":1}}}`),
    code: "E_CONFIG",
    exit: 3,
    says: new RegExp(`key ${key} not allowed`),
  })),
  {
    row: "35",
    args: echo,
    prepare: config('{"relayUrl":1,"relayUrl":2}'),
    code: "E_CONFIG",
    exit: 3,
    says: /line 1 column 15: duplicate key relayUrl/,
  },
  ...["3000000000", "0", "-1", "1.5", '"10"'].map((value, i): BadInput => ({
    row: `36${"abcde"[i]}`,
    args: echo,
    prepare: provider("echo", `{"headless":{"shutdownTimeoutMs":${value}}}`),
    code: "E_CONFIG",
    exit: 3,
    says: /headless\.shutdownTimeoutMs must be an integer 100\.\.600000/,
  })),
  {
    row: "37a",
    args: echo,
    prepare: config(`{"token":"${"x".repeat(2 * 1024 * 1024)}"}`),
    code: "E_CONFIG",
    exit: 3,
    says: /larger than 1 MiB/,
  },
  {
    row: "37b",
    args: echo,
    prepare: config("[".repeat(100_000)),
    code: "E_CONFIG",
    exit: 3,
    says: /deeper than 32/,
  },
  {
    row: "38",
    args: echo,
    prepare: (home) => Deno.chmodSync(join(home.home, "config.json"), 0o666),
    code: "E_CONFIG_PERM",
    exit: 3,
    says: /writable by others.*chmod 600/,
  },
  {
    row: "39a",
    args: echo,
    prepare: (home) => {
      Deno.removeSync(join(home.home, "config.json"));
      Deno.mkdirSync(join(home.home, "config.json"));
    },
    code: "E_CONFIG",
    exit: 3,
    says: /not a regular file/,
  },
  {
    row: "39b",
    args: echo,
    prepare: (home) => {
      Deno.removeSync(join(home.home, "config.json"));
      new Deno.Command("mkfifo", { args: [join(home.home, "config.json")] }).outputSync();
    },
    code: "E_CONFIG",
    exit: 3,
    says: /not a regular file/,
  },
  {
    row: "S-13a",
    args: echo,
    prepare: (home) => {
      Deno.removeSync(join(home.home, "config.json"));
      Deno.symlinkSync("gone", join(home.home, "config.json"));
    },
    code: "E_CONFIG",
    exit: 3,
    says: /config\.json is a link to nothing/,
  },
  {
    row: "S-13b",
    args: echo,
    prepare: (home) => Deno.symlinkSync("gone", join(home.home, "providers", "echo.json")),
    code: "E_CONFIG",
    exit: 3,
    says: /providers\/echo\.json is a link to nothing/,
  },
  {
    row: "S-13c",
    args: echo,
    prepare: (home) => {
      Deno.removeSync(join(home.home, "providers"));
      Deno.symlinkSync("gone", join(home.home, "providers"));
    },
    code: "E_CONFIG",
    exit: 3,
    says: /providers\/echo\.json is in \/.*providers, a link to nothing/,
  },
  {
    row: "40",
    args: echo,
    prepare: provider("echo", '{"env":{"X":"$env:FOO_IS_NOT_SET"}}'),
    code: "E_CONFIG",
    exit: 3,
    says: /env FOO_IS_NOT_SET is not set \(needed by env\.X\)/,
  },
  {
    row: "usage-send",
    args: ["send"],
    code: "E_USAGE",
    exit: 2,
    says: /send needs <target>/,
  },
  {
    row: "shell",
    args: ["completions", "zhs"],
    code: "E_USAGE",
    exit: 2,
    says: /no completion for "zhs".*did you mean zsh\?/,
  },
  {
    row: "prune-6d",
    args: ["prune", "--older-than", "6d"],
    code: "E_DURATION",
    exit: 2,
    says: /--older-than: "6d" is not allowed here; expected 7d\.\.3650d, like 30d/,
  },
  {
    row: "prune-link",
    args: ["prune"],
    prepare: (home) => Deno.symlinkSync(home.cwd, join(home.home, "state")),
    code: "E_HOME",
    exit: 3,
    says: /Cannot prune \S+\/state: it is a link.*prune follows no links/,
  },
  {
    row: "relay-down",
    args: ["send", "label:x", "hello"],
    code: "E_RELAY_UNREACHABLE",
    exit: 75,
    says: /no relay answers.*start an agent \("runner claude"\) or "runner relay"/,
  },
];
