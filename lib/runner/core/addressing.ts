import type { Message } from "../../protocol/message.ts";
import type { CoreConfig } from "./types.ts";

/**
 * True when a message is meant for this agent: its own id or runner id, `broadcast`, its label, any tag and any
 * capability it advertises, or a recipient list of the relay that names it. An agent without a label matches no
 * `label:` target, also not `label:undefined`.
 */
export function isForUs(message: Message, config: CoreConfig): boolean {
  const to = message.to;
  if (to === config.agentId || to === config.runnerId) return true;
  if (message.from === config.agentId) return false;
  if (message.recipients?.includes(config.agentId)) return true;
  if (to === "broadcast") return true;
  const colon = to.indexOf(":");
  if (colon < 0) return false;
  const value = to.slice(colon + 1);
  switch (to.slice(0, colon)) {
    case "label":
      return config.label !== null && config.label === value;
    case "tag":
      return config.tags.includes(value);
    case "cap":
      return config.capabilities.includes(value);
    default:
      return false;
  }
}
