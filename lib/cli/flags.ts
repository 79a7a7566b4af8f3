import type { FlagSpec } from "./spec.ts";

/** Lengths of time in milliseconds, for bounds. */
export const SECOND = 1_000;
export const HOUR = 3_600 * SECOND;
export const DAY = 24 * HOUR;

/** The flag that every verb has. */
export const help: FlagSpec = { name: "help", kind: "switch", aliases: ["h"], help: "Show this help" };
/** For every verb that reads. */
export const json: FlagSpec = { name: "json", kind: "switch", help: "Print one JSON object" };

/** How to reach the relay; the same for every verb that talks to one. */
export const relayFlags: readonly FlagSpec[] = [
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

/** What a message is sent with, and what its sender waits for. */
export const sendFlags: readonly FlagSpec[] = [
  {
    name: "until",
    kind: "choice",
    value: "STAGE",
    choices: ["received", "handed", "placed", "seen", "done"],
    code: "E_FLAG_VALUE",
    help: "Wait until all recipients got here, else exit 1",
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
];

/** How an agent is started. */
export const runFlags: readonly FlagSpec[] = [
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
  {
    name: "cwd",
    kind: "file",
    only: "directories",
    value: "DIR",
    help: "Working directory of the agent",
    default: ".",
  },
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
  {
    name: "conversation",
    kind: "text",
    value: "ID",
    help: "Conversation to go on with: an id, last (default), new (default for jobs)",
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
    name: "stall-timeout",
    kind: "duration",
    minMs: 0,
    maxMs: DAY,
    value: "TIME",
    help: "Restart an agent that hangs for so long (default 15m headless, else off; 0 is off)",
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

/** What a run without a person may do, and how it ends. */
export const jobFlags: readonly FlagSpec[] = ([
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
