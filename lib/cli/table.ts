import type { ErrorCode } from "../base/errors.ts";
import type { Verb } from "./contract.ts";
import { LOADERS } from "./loaders.ts";

/** What a flag takes, as a union: a switch takes nothing, every other kind takes one value. */
export type FlagKind =
  /** Present or absent. */
  | { kind: "switch" }
  /** A word; a value that starts with `-` is refused unless written `--flag=-x`. */
  | { kind: "text" }
  /** Text for a model or a person: any value, also one that starts with `-`. */
  | { kind: "free-text" }
  /** A path; the hint for a value that starts with `-` says `./`. */
  | { kind: "file" }
  /** A time like `20s`, inside the bounds (milliseconds). */
  | { kind: "duration"; minMs: number; maxMs: number }
  /** An amount like `2.50` inside the bounds. */
  | { kind: "amount"; min: number; max: number }
  /** A whole number inside the bounds. */
  | { kind: "integer"; min: number; max: number }
  /** One word of a list; `code` is the error for any other word. */
  | { kind: "choice"; choices: readonly string[]; code: ErrorCode };

/** One flag of a verb. */
export type FlagSpec = FlagKind & {
  /** Canonical name without dashes. */
  name: string;
  /** Other spellings; single letters are written with one dash. */
  aliases?: readonly string[];
  /** What stands for the value in the help, for example `DIR`. */
  value?: string;
  /** Shown in the help; verbs apply it themselves. */
  default?: string;
  help: string;
  /** Left out of the help. */
  hidden?: true;
  /** Heading it stands under in the help; `Options` when left out. */
  section?: string;
};

/** Something that stands beside the flags. */
export interface PositionalSpec {
  name: string;
  required: boolean;
}

/** A verb as the person types it. */
export interface VerbSpec {
  name: string;
  /** The verb of the {@linkcode Invocation}; the spec's `name` becomes its first positional when they differ. */
  canonical: string;
  summary: string;
  positionals: readonly PositionalSpec[];
  flags: readonly FlagSpec[];
  examples: readonly string[];
  /** True when what stands after `--` belongs to the provider. */
  passThrough: boolean;
  hidden: boolean;
  /** Loads the implementation; nothing of it is in memory before. */
  load: () => Promise<Verb>;
}

/** Providers, in the order they are named to people. */
export const PROVIDERS = ["claude", "codex", "echo"] as const;

const SECOND = 1_000;
const HOUR = 3_600 * SECOND;
const DAY = 24 * HOUR;

const help: FlagSpec = { name: "help", kind: "switch", aliases: ["h"], help: "Show this help" };
const json: FlagSpec = { name: "json", kind: "switch", help: "Print one JSON object" };

/** How to reach the relay; the same for every verb that talks to one. */
const relayFlags: readonly FlagSpec[] = [
  { name: "relay-url", kind: "text", value: "URL", help: "Relay to use (AGENT_RELAY_URL)" },
  {
    name: "token-file",
    kind: "file",
    value: "FILE",
    help: "Read the relay token from a private file",
  },
  { name: "token-stdin", kind: "switch", help: "Read the relay token from standard input" },
  {
    name: "insecure-relay",
    kind: "switch",
    help: "Allow http and ws to another machine (the token travels in the clear)",
  },
];

const runFlags: readonly FlagSpec[] = [
  { name: "label", kind: "text", value: "NAME", help: "Name other agents use: label:NAME" },
  {
    name: "prompt",
    kind: "free-text",
    value: "TEXT",
    help: "First prompt for the agent; - reads standard input",
  },
  { name: "prompt-file", kind: "file", value: "FILE", help: "First prompt from a file" },
  { name: "headless", kind: "switch", help: "Run without a terminal, for CI and servers" },
  { name: "detach", kind: "switch", help: "Run in a tmux session to attach to later" },
  { name: "cwd", kind: "file", value: "DIR", help: "Working directory of the agent", default: "." },
  {
    name: "approval",
    kind: "choice",
    aliases: ["approval-mode"],
    value: "MODE",
    choices: ["read-only", "guarded", "open"],
    code: "E_APPROVAL",
    default: "guarded",
    help: "What the agent may do unasked",
  },
  { name: "agent-id", kind: "text", value: "ID", help: "Fixed agent id instead of the stable default" },
  ...relayFlags,
  {
    name: "drain-timeout",
    kind: "duration",
    minMs: 0,
    maxMs: HOUR,
    value: "TIME",
    default: "20s",
    help: "How long a stop waits for the current turn",
  },
  {
    name: "approval-timeout",
    kind: "duration",
    minMs: 0,
    maxMs: DAY,
    value: "TIME",
    default: "10m",
    help: "How long an approval request waits for an answer",
  },
  { name: "no-remote-lifecycle", kind: "switch", help: "Ignore stop and restart from the bus" },
  {
    name: "log-level",
    kind: "choice",
    value: "LEVEL",
    choices: ["debug", "info", "warn", "error"],
    code: "E_FLAG_VALUE",
    default: "info",
    help: "Least important log lines to keep",
  },
];

/** One job from beginning to end, without a person. */
const jobFlags: readonly FlagSpec[] = ([
  { name: "once", kind: "switch", help: "Do the prompt, or one message, and exit (implies --headless)" },
  {
    name: "exit-on-idle",
    kind: "duration",
    minMs: 100,
    maxMs: DAY,
    value: "TIME",
    help: "Exit after so long with nothing to do",
  },
  {
    name: "max-turns",
    kind: "integer",
    min: 1,
    max: 1_000_000,
    value: "N",
    help: "Exit 8 after N answers of the model, tool calls included",
  },
  {
    name: "max-time",
    kind: "duration",
    minMs: SECOND,
    maxMs: 30 * DAY,
    value: "TIME",
    help: "Exit 8 after so long",
  },
  {
    name: "max-cost",
    kind: "amount",
    min: 0.01,
    max: 1_000_000,
    value: "USD",
    help: "Exit 8 once it has cost so much (not with codex)",
  },
  {
    name: "connect-timeout",
    kind: "duration",
    minMs: SECOND,
    maxMs: DAY,
    value: "TIME",
    help: "Exit 75 when the relay is not reached by then",
  },
  { name: "no-relay", kind: "switch", help: "Use no relay, only the prompt" },
  {
    name: "output",
    kind: "choice",
    value: "FORM",
    choices: ["text", "jsonl"],
    code: "E_FLAG_VALUE",
    default: "text",
    help: "Agent's output",
  },
  { name: "result", kind: "file", value: "FILE", help: "Write the outcome as JSON, whatever the end" },
] satisfies FlagSpec[]).map((flag) => ({ ...flag, section: "Without a person" }));

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

const agent: PositionalSpec = { name: "agent", required: true };

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
    positionals: [{ name: "target", required: true }, { name: "text|-", required: false }],
    flags: [
      {
        name: "until",
        kind: "choice",
        value: "STAGE",
        choices: ["received", "handed", "placed", "seen", "done"],
        code: "E_FLAG_VALUE",
        help: "Wait until every recipient got this far; exit 1 without evidence",
      },
      { name: "wait-reply", kind: "switch", help: "Wait for an answer and print it" },
      {
        name: "timeout",
        kind: "duration",
        minMs: SECOND,
        maxMs: DAY,
        value: "TIME",
        default: "2m",
        help: "Limit for --until and --wait-reply",
      },
      {
        name: "when",
        kind: "choice",
        value: "TIME",
        choices: ["now", "next", "idle"],
        code: "E_FLAG_VALUE",
        default: "idle",
        help: "When the model shall get it",
      },
      { name: "claimable", kind: "switch", help: "Work that exactly one of the recipients does" },
      { name: "queue", kind: "switch", help: "Keep it for a recipient that is not there yet" },
      {
        name: "ttl",
        kind: "duration",
        minMs: SECOND,
        maxMs: 30 * DAY,
        value: "TIME",
        default: "7d",
        help: "Drop it when undelivered for so long",
      },
      { name: "subject", kind: "free-text", value: "TEXT", help: "Subject line" },
      { name: "from", kind: "text", value: "ID", help: "Sender shown to the recipient" },
      {
        name: "reply-to",
        kind: "integer",
        min: 1,
        max: Number.MAX_SAFE_INTEGER,
        value: "ID",
        help: "Message this one answers",
      },
      { name: "kind", kind: "text", value: "KIND", default: "chat", help: "Kind of message" },
      {
        name: "idempotency-key",
        kind: "text",
        value: "KEY",
        help: "Sending twice with one key stores one message",
      },
      json,
      ...relayFlags,
    ],
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
      { name: "tag", kind: "text", value: "TAG", help: "Only agents with this tag" },
      { name: "cap", kind: "text", value: "CAP", help: "Only agents with this capability" },
      { name: "label", kind: "text", value: "NAME", help: "Only agents with this label" },
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
    positionals: [{ name: "list|show|retry|drop", required: false }, { name: "id", required: false }],
    flags: [
      { name: "agent", kind: "text", value: "AGENT", help: "Only those of this agent" },
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
    positionals: [agent],
    flags: lifecycleFlags({ name: "hard", kind: "switch", help: "End it at once" }),
    examples: ["runner stop label:api", "runner stop label:api --hard"],
    load: LOADERS.stop,
  }),
  verb({
    name: "restart",
    summary: "Restart an agent and continue its conversation",
    positionals: [agent],
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
    positionals: [{ name: "provider", required: false }],
    flags: [json, ...relayFlags],
    examples: ["runner config", "runner config codex --json"],
    load: LOADERS.config,
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
    positionals: [{ name: "verb", required: false }],
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
