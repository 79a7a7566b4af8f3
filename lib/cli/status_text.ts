import { showBytes } from "../base/bytes.ts";
import { showDuration } from "../base/duration.ts";
import { shown } from "../base/errors.ts";
import type { MessageView } from "../runner/core/view.ts";
import { labelOf, type SeenAgent } from "./local_agents.ts";
import type { RunView } from "./run/run_view.ts";
import { type Style, styleFor } from "./style.ts";

const IN_HAND = new Set(["delivering", "placed", "seen"]);
const TEXT = 100;
const NAME = 14;

/** Returns what is known of an agent for people: a heading and a line for each thing that there is to say. */
export function statusText(agent: SeenAgent, options: { color: boolean; now: number }): string {
  const style = styleFor(options.color);
  const label = labelOf(agent);
  const heading = [
    style.bold(shown(agent.id)),
    ...(label === null ? [] : [`label:${shown(label)}`]),
    stateText(agent, style),
  ];
  const rows = agent.run === null ? remoteRows(agent, options.now) : localRows(agent.run, style);
  return `${heading.join("  ")}\n${
    rows.map(([name, text]) => `  ${style.dim(name.padEnd(NAME))}${text}\n`).join("")
  }`;
}

type Row = readonly [name: string, text: string];

/** How it is, and why. */
function stateText({ run, card, problem }: SeenAgent, style: Style): string {
  if (problem !== null) return style.red("its runner does not answer");
  const status = run?.status.agentStatus ?? card?.status ?? "offline";
  const ready = run?.status.ready ?? card?.ready ?? false;
  const meta = (run?.status.meta ?? card?.meta ?? {}) as Record<string, unknown>;
  const busy = Array.isArray(meta.busyReasons) ? meta.busyReasons.join(", ") : "";
  const why = typeof meta.reason === "string" ? meta.reason : busy;
  const text = why === "" ? status : `${status}: ${shown(why, 200)}`;
  if (status === "error" || status === "offline") return style.red(text);
  return ready ? style.green(text) : style.yellow(`${text}, not ready`);
}

function localRows(run: RunView, style: Style): Row[] {
  const { provider, relay } = run;
  const since = provider.activity === null
    ? provider.state
    : `${provider.activity} for ${showDuration(provider.forMs ?? 0)}`;
  const cost = run.run.costUsd === null ? "" : `, ${run.run.costUsd.toFixed(2)} USD`;
  const inHand = run.messages.filter(({ state }) => IN_HAND.has(state));
  const waiting = run.messages.filter(({ state }) => !IN_HAND.has(state));
  const rest = run.queued - run.messages.length;
  return [
    [
      "agent",
      [
        `${run.providerName} in ${shown(run.cwd, TEXT)}`,
        since,
        ...(run.agentPid === null ? [] : [`pid ${run.agentPid}`]),
        `start ${provider.incarnation}`,
        ...(provider.recentExits === 0
          ? []
          : [style.yellow(`ended ${provider.recentExits} times in a minute`)]),
        ...(provider.channel === null ? [] : [`by ${provider.channel}`]),
        `approval ${run.approval}`,
      ].join(", "),
    ],
    ...(run.conversation === null ? [] : [["conversation", shown(run.conversation)] as const]),
    [
      "runner",
      `${run.version}, pid ${run.pid}, up ${showDuration(run.run.upMs)}, ${showBytes(run.rssBytes)}`,
    ],
    [
      "relay",
      relay === null
        ? "none"
        : `${shown(relay.url, TEXT)}, ${busText(run.bus)}${
          relay.servedHere ? ", served by this runner" : ""
        }${relay.badFrames === 0 ? "" : style.yellow(`, ${relay.badFrames} frames made no sense`)}`,
    ],
    ["so far", `${run.run.done} done, ${run.run.failed} failed, ${run.run.turns} turns${cost}`],
    ...inHand.map((message): Row => ["in hand", messageText(message)]),
    ...waiting.map((message): Row => ["waiting", messageText(message)]),
    ...(rest > 0 ? [["", `and ${rest} more`] as const] : []),
    ...(run.dead === 0
      ? []
      : [["dead", `${run.dead}, see: runner dead list --agent ${run.agentId}`] as const]),
    ...(run.tmux === null ? [] : [["terminal", `in tmux, see: runner attach ${run.agentId}`] as const]),
    ["log", shown(run.logFile, 200)],
  ];
}

function remoteRows({ card, runner, problem }: SeenAgent, now: number): Row[] {
  const meta = card?.meta ?? {};
  return [
    ...(runner === null || problem === null ? [] : [
      ["runner", `pid ${runner.pid}: ${shown(problem)}; killed, stopped (Ctrl-Z) or stuck`] as const,
    ]),
    ...(card === null ? [] : [
      ["machine", `${shown(card.machine)}, seen ${showDuration(Math.max(0, now - card.lastSeen))} ago`],
      [
        "agent",
        [meta.provider, meta.cwd].filter((each) => typeof each === "string").map((each) =>
          shown(each as string, TEXT)
        ).join(" in "),
      ],
      ["messages", `${Number(meta.queued ?? 0)} waiting or in hand, ${Number(meta.dead ?? 0)} dead`],
    ] as const),
  ];
}

function messageText(message: MessageView): string {
  const from = message.from === null ? "" : ` from ${shown(message.from)}`;
  const subject = message.subject === null ? "" : ` "${shown(message.subject, 60)}"`;
  const because = message.because === null ? "" : ` (${shown(message.because, TEXT)})`;
  const attempt = message.attempt > 1 ? `, attempt ${message.attempt}` : "";
  const kind = message.claimable ? ", claimable" : "";
  return `${message.messageId ?? "the prompt"}${from}${subject}: ${message.state} for ${
    showDuration(message.forMs)
  }${because}${attempt}${kind}`;
}

function busText(bus: string): string {
  return bus === "up" ? "connected" : bus === "auth" ? "refuses the token" : "not connected";
}
