import { isAgentStatus, isMessageId, isRecord, validateMessage } from "../protocol/codec.ts";
import type { AgentCard, DeadLetter, Receipt } from "../protocol/message.ts";

/** The last time that a `Date` can show; what is beyond it cannot be told to anybody. */
const LAST_TIME = 8.64e15;

/** Reads a list of agents; undefined when one of them is none. Members that are only shown are left out when ill-typed. */
export function readAgents({ agents }: Record<string, unknown>): AgentCard[] | undefined {
  return Array.isArray(agents) && agents.every(isCard) ? agents.map(tidyCard) : undefined;
}

/** Reads one agent; undefined when it is none. */
export function readAgent(value: Record<string, unknown>): AgentCard | undefined {
  return isCard(value) ? tidyCard(value) : undefined;
}

/** Reads a list of dead letters; undefined when one of them is none. */
export function readLetters(
  { letters, storeId }: Record<string, unknown>,
): { storeId: string; letters: DeadLetter[] } | undefined {
  return typeof storeId === "string" && Array.isArray(letters) && letters.every(isLetter)
    ? { storeId, letters }
    : undefined;
}

/** Reads a receipt; undefined when it is none. */
export function readReceipt(value: Record<string, unknown>): Receipt | undefined {
  const { version, recipients, replies, message } = value;
  const sound = typeof version === "number" && isMessage(message) &&
    Array.isArray(recipients) && recipients.every(isRecipient) &&
    Array.isArray(replies) && replies.every(isMessage);
  return sound ? value as unknown as Receipt : undefined;
}

function isMessage(value: unknown): boolean {
  const message = validateMessage(value);
  return message.ok && isTime(message.value.createdAt);
}

function isCard(value: unknown): value is AgentCard {
  return isRecord(value) && typeof value.id === "string" && typeof value.componentId === "string" &&
    isAgentStatus(value.status) && typeof value.ready === "boolean" && isTime(value.lastSeen) &&
    isText(value.label) && isText(value.machine) && isTexts(value.tags) && isTexts(value.capabilities) &&
    (value.meta === undefined || value.meta === null || isRecord(value.meta));
}

/** An agent says of itself what it likes; who shows it relies on these. */
function tidyCard(card: AgentCard): AgentCard {
  if (card.meta === undefined || card.meta === null) return card;
  const { reason, busyReasons, ...meta } = card.meta;
  return {
    ...card,
    meta: {
      ...meta,
      ...(typeof reason === "string" ? { reason } : {}),
      ...(isTexts(busyReasons) && Array.isArray(busyReasons) ? { busyReasons } : {}),
    },
  };
}

function isLetter(value: unknown): value is DeadLetter {
  return isRecord(value) && isMessageId(value.messageId) && isMessageId(value.generation) &&
    typeof value.agentId === "string" && isTime(value.at) && typeof value.reason === "string" &&
    typeof value.from === "string" && typeof value.to === "string" && isText(value.subject);
}

function isRecipient(value: unknown): boolean {
  return isRecord(value) && typeof value.agentId === "string" && Array.isArray(value.reports) &&
    value.reports.every((report) =>
      isRecord(report) && typeof report.stage === "string" && isTime(report.at) && isText(report.evidence)
    );
}

function isTime(value: unknown): boolean {
  return typeof value === "number" && value >= 0 && value <= LAST_TIME;
}

function isText(value: unknown): boolean {
  return value === undefined || value === null || typeof value === "string";
}

function isTexts(value: unknown): boolean {
  return value === undefined || value === null ||
    (Array.isArray(value) && value.every((each) => typeof each === "string"));
}
