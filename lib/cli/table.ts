import { DAY, help, HOUR, jobFlags, json, relayFlags, runFlags, SECOND, sendFlags } from "./flags.ts";
import { LOADERS } from "./loaders.ts";
import type { FlagSpec, PositionalSpec, VerbSpec } from "./spec.ts";

/** Providers, in the order they are named to people. */
export const PROVIDERS = ["claude", "codex", "echo"] as const;

/** What can be done with dead letters. */
export const DEAD_ACTIONS = ["list", "show", "retry", "drop"] as const;

/** Shells that completion is there for. */
export const SHELLS = ["bash", "zsh", "fish"] as const;

const providerText: Readonly<Record<(typeof PROVIDERS)[number], string>> = {
  claude: "Start Claude Code and put it on the bus",
  codex: "Start Codex and put it on the bus",
  echo: "Start a test agent that answers with what it got",
};

function providerVerb(provider: (typeof PROVIDERS)[number]): VerbSpec {
  return {
    name: provider,
    canonical: "run",
    summary: providerText[provider],
    positionals: [],
    flags: [...runFlags, ...jobFlags, help],
    examples: [
      `runner ${provider} --label api`,
      `runner ${provider} --once --prompt-file task.md --max-time 20m --result result.json`,
      `runner ${provider} --headless --exit-on-idle 10m`,
      ...(provider === "echo" ? [] : [`runner ${provider} --label api -- --model NAME`]),
    ],
    passThrough: true,
    hidden: false,
    load: LOADERS.run,
  };
}

/** Everything a verb does not say about itself. */
function verb(spec: Pick<VerbSpec, "name" | "summary" | "load"> & Partial<VerbSpec>): VerbSpec {
  return {
    canonical: spec.name,
    positionals: [],
    examples: [],
    passThrough: false,
    hidden: false,
    ...spec,
    flags: [...(spec.flags ?? []), help],
  };
}

/** An agent as the one thing that a verb is about; which ones a shell offers. */
function agent(takes: "agent" | "running", required: boolean): PositionalSpec {
  return { name: "agent", required, takes };
}

function lifecycleFlags(...more: FlagSpec[]): FlagSpec[] {
  return [
    ...more,
    {
      name: "timeout",
      kind: "duration",
      minMs: SECOND,
      maxMs: HOUR,
      value: "TIME",
      default: "60s",
      help: "How long to wait for the outcome",
    },
    json,
    ...relayFlags,
  ];
}

/** The command line, whole: parsing, help and near misses are made from this table and nothing else. */
export const VERBS: readonly VerbSpec[] = [
  ...PROVIDERS.map(providerVerb),
  verb({
    name: "send",
    summary: "Send a message and, on request, wait for proof that it was seen",
    positionals: [{ name: "target", required: true, takes: "target" }, { name: "text|-", required: false }],
    flags: [...sendFlags, json, ...relayFlags],
    examples: [
      `runner send label:api "Please run the tests" --until seen`,
      `runner send cap:review --claimable --wait-reply "Review branch fix-42"`,
      `git diff | runner send label:api -`,
    ],
    load: LOADERS.send,
  }),
  verb({
    name: "agents",
    summary: "List the agents on the bus",
    flags: [
      { name: "tag", kind: "text", value: "TAG", takes: "tag", help: "Only agents with this tag" },
      { name: "cap", kind: "text", value: "CAP", takes: "cap", help: "Only agents with this capability" },
      { name: "label", kind: "text", value: "NAME", takes: "label", help: "Only agents with this label" },
      {
        name: "status",
        kind: "choice",
        value: "STATUS",
        choices: ["online", "idle", "busy", "stale", "offline", "error"],
        code: "E_FLAG_VALUE",
        help: "Only agents with this status",
      },
      json,
      ...relayFlags,
    ],
    examples: ["runner agents", "runner agents --status idle --json"],
    load: LOADERS.agents,
  }),
  verb({
    name: "status",
    summary: "Show what an agent is doing, for how long, and what waits for it",
    positionals: [agent("agent", false)],
    flags: [json, ...relayFlags],
    examples: ["runner status", "runner status label:api"],
    load: LOADERS.status,
  }),
  verb({
    name: "logs",
    summary: "Show the log of an agent of this machine",
    positionals: [agent("agent", false)],
    flags: [
      { name: "follow", kind: "switch", aliases: ["f"], help: "Go on with what comes" },
      {
        name: "lines",
        kind: "integer",
        aliases: ["n"],
        min: 0,
        max: 1_000_000,
        value: "N",
        default: "100",
        help: "How many of the last lines",
      },
      {
        name: "since",
        kind: "duration",
        minMs: SECOND,
        maxMs: 365 * DAY,
        value: "TIME",
        help: "Only lines of so long ago, like 2h",
      },
      {
        name: "level",
        kind: "choice",
        value: "LEVEL",
        choices: ["debug", "info", "warn", "error"],
        code: "E_FLAG_VALUE",
        default: "debug",
        help: "Least important lines to show",
      },
      { name: "json", kind: "switch", help: "Print the lines as they are: one JSON object each" },
      ...relayFlags,
    ],
    examples: ["runner logs label:api --follow", "runner logs --since 1h --level warn"],
    load: LOADERS.logs,
  }),
  verb({
    name: "attach",
    summary: "Go to an agent's terminal, or watch what it says",
    positionals: [agent("running", true)],
    flags: [
      { name: "watch", kind: "switch", help: "Only watch, also an agent in a terminal" },
      { name: "json", kind: "switch", help: "Watch; print one JSON object a line" },
      ...relayFlags,
    ],
    examples: ["runner attach label:api", "runner attach label:ci --json"],
    load: LOADERS.attach,
  }),
  verb({
    name: "receipt",
    summary: "Show what happened to a message, with the evidence",
    positionals: [{ name: "id", required: true }],
    flags: [json, ...relayFlags],
    examples: ["runner receipt 42"],
    load: LOADERS.receipt,
  }),
  verb({
    name: "dead",
    summary: "See, retry or drop the messages that agents gave up on",
    positionals: [
      { name: DEAD_ACTIONS.join("|"), required: false, takes: DEAD_ACTIONS },
      { name: "id", required: false },
    ],
    flags: [
      { name: "agent", kind: "text", value: "AGENT", takes: "agent", help: "Only those of this agent" },
      { name: "all", kind: "switch", help: "Every one of them, instead of one id" },
      json,
      ...relayFlags,
    ],
    examples: ["runner dead list", "runner dead retry 42", "runner dead drop --all --agent label:api"],
    load: LOADERS.dead,
  }),
  verb({
    name: "stop",
    summary: "Let an agent finish its turn and stop it",
    positionals: [agent("running", true)],
    flags: lifecycleFlags({ name: "hard", kind: "switch", help: "End it at once" }),
    examples: ["runner stop label:api", "runner stop label:api --hard"],
    load: LOADERS.stop,
  }),
  verb({
    name: "restart",
    summary: "Restart an agent and continue its conversation",
    positionals: [agent("running", true)],
    flags: lifecycleFlags(),
    examples: ["runner restart label:api"],
    load: LOADERS.restart,
  }),
  verb({
    name: "relay",
    summary: "Serve the relay by itself",
    flags: [
      { name: "host", kind: "text", value: "ADDRESS", default: "127.0.0.1", help: "Address to listen on" },
      {
        name: "port",
        kind: "integer",
        min: 0,
        max: 65_535,
        value: "PORT",
        default: "4850",
        help: "0 picks one",
      },
      { name: "db", kind: "file", value: "FILE", help: "Database", default: "$AGENT_RELAY_HOME/relay.db" },
      { name: "token-file", kind: "file", value: "FILE", help: "Token that clients must show" },
      { name: "no-auth", kind: "switch", help: "Ask for no token (loopback only)" },
      json,
      {
        name: "claim-lease",
        kind: "duration",
        minMs: 100,
        maxMs: HOUR,
        value: "TIME",
        default: "60s",
        help: "Length of a claim",
        hidden: true,
      },
    ],
    examples: ["runner relay", "runner relay --port 0 --json"],
    load: LOADERS.relay,
  }),
  verb({
    name: "config",
    summary: "Show every setting with its value and its source",
    positionals: [{ name: "provider", required: false, takes: PROVIDERS }],
    flags: [json, ...relayFlags],
    examples: ["runner config", "runner config codex --json"],
    load: LOADERS.config,
  }),
  verb({
    name: "doctor",
    summary: "Look whether everything that agents need is in order",
    flags: [
      { name: "fix", kind: "switch", help: "Mend what can be mended without losing anything" },
      json,
      ...relayFlags,
    ],
    examples: ["runner doctor", "runner doctor --fix"],
    load: LOADERS.doctor,
  }),
  verb({
    name: "prune",
    summary: "Remove what agents of long ago have left on this machine",
    flags: [
      {
        name: "older-than",
        kind: "duration",
        // A journal remembers for so long what was done, so that nothing is done twice.
        minMs: 7 * DAY,
        maxMs: 3_650 * DAY,
        value: "TIME",
        default: "30d",
        help: "Only of agents that have not run for so long",
      },
      { name: "dry-run", kind: "switch", help: "Only say what would be removed" },
      json,
    ],
    examples: ["runner prune --dry-run", "runner prune --older-than 90d"],
    load: LOADERS.prune,
  }),
  verb({
    name: "demo",
    summary: "See one message delivered, with its evidence; nothing to install",
    flags: [json],
    examples: ["runner demo"],
    load: LOADERS.demo,
  }),
  verb({
    name: "help",
    summary: "Show help, also for one verb",
    positionals: [{ name: "verb", required: false, takes: "verb" }],
    examples: ["runner help send"],
    load: LOADERS.help,
  }),
  verb({
    name: "version",
    summary: "Show the version",
    flags: [json],
    examples: ["runner version --json"],
    load: LOADERS.version,
  }),
  verb({
    name: "completions",
    summary: "Print a completion script for a shell",
    positionals: [{ name: SHELLS.join("|"), required: true, takes: SHELLS }],
    examples: [`runner completions bash`],
    load: LOADERS.completions,
  }),
  verb({
    name: "hook",
    summary: "Post one hook of the agent, from standard input, to its runner",
    positionals: [{ name: "event", required: true }],
    hidden: true,
    load: LOADERS.hook,
  }),
  verb({
    name: "monitor",
    summary: "Print a line for every message that waits, inside Claude Code's plugin",
    hidden: true,
    load: LOADERS.monitor,
  }),
  verb({
    name: "mcp",
    summary: "Serve the agent's relay tools over MCP, on standard input and output",
    hidden: true,
    load: LOADERS.mcp,
  }),
  verb({
    name: "__complete",
    summary: "The words that may stand at the cursor, for the scripts of completions",
    positionals: [{ name: SHELLS.join("|"), required: true, takes: SHELLS }],
    passThrough: true,
    hidden: true,
    load: LOADERS.complete,
  }),
  verb({
    name: "__echo-agent",
    summary: "The child process of the echo provider",
    positionals: [{ name: "record", required: false }],
    passThrough: true,
    hidden: true,
    load: LOADERS.echoAgent,
  }),
];

/** The spec of a verb or provider as typed, hidden ones included. */
export function findVerb(name: string): VerbSpec | undefined {
  return VERBS.find((spec) => spec.name === name);
}
