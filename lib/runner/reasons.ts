import { shown } from "../base/errors.ts";
import type { ProbeResult, ProviderEvent } from "../providers/contract.ts";
import type { Event } from "./core/types.ts";

/** Characters of a reason that are kept and told. */
const SHOWN = 300;
/** An error of ours has a hint at its end. */
const SHOWN_WITH_HINT = 1_000;

/** Returns an event of the provider as the core, the relay and people may have it: reasons without secrets, then cut. */
export function withCleanReasons(event: Event, redact: (text: string) => string): Event {
  const clean = (text: string) => shown(redact(text), SHOWN);
  switch (event.type) {
    case "spawn.failed":
      return { ...event, reason: shown(redact(event.reason), SHOWN_WITH_HINT) };
    case "hand.failed":
      return { ...event, reason: clean(event.reason) };
    case "exited": {
      const { lastWords, ...status } = event.status;
      return lastWords === undefined
        ? event
        : { ...event, status: { ...status, lastWords: clean(lastWords) } };
    }
    case "provider":
      return { ...event, event: ofProvider(event.event, clean) };
    case "probed":
      return {
        ...event,
        results: new Map([...event.results].map(([id, each]) => [id, ofProbe(each, clean)])),
      };
    default:
      return event;
  }
}

function ofProvider(event: ProviderEvent, clean: (text: string) => string): ProviderEvent {
  switch (event.type) {
    case "failed":
    case "refused":
      return { ...event, reason: clean(event.reason) };
    case "fault":
      return event.reason === null ? event : { ...event, reason: clean(event.reason) };
    default:
      return event;
  }
}

function ofProbe(result: ProbeResult, clean: (text: string) => string): ProbeResult {
  return result.state === "failed" || result.state === "unknown"
    ? { ...result, reason: clean(result.reason) }
    : result;
}
