import { RunnerError, shown } from "../base/errors.ts";

/** Port of the relay when nothing else is said. */
export const DEFAULT_RELAY_PORT = 4850;

/**
 * Checks a relay's base URL and returns it without a slash at its end. Throws `E_RELAY_URL`, or
 * `E_RELAY_PLAINTEXT` when a token would travel unencrypted to another machine.
 */
export function checkRelayUrl(given: string, options: { insecure: boolean; where: string }): string {
  const bad = (what: string, hint?: string) =>
    new RunnerError("E_RELAY_URL", `relay URL "${shown(withoutUserinfo(given))}" ${what}`, {
      where: options.where,
      ...(hint === undefined ? {} : { hint }),
    });
  let url: URL;
  try {
    url = new URL(given);
  } catch {
    if (/^\w+:\/\/[^/]*:\d+/.test(given)) throw bad("has a bad port");
    throw bad("is not a URL", "like http://127.0.0.1:4850");
  }
  if (!["http:", "https:", "ws:", "wss:"].includes(url.protocol)) {
    throw bad("has a bad scheme", "scheme must be http, https, ws, wss");
  }
  if (url.username !== "" || url.password !== "") {
    throw bad("carries credentials, not allowed", "use --token-file, --token-stdin or AGENT_RELAY_TOKEN");
  }
  if (url.hash !== "") throw bad("has a fragment, not allowed");
  const plain = url.protocol === "http:" || url.protocol === "ws:";
  if (plain && !isLoopbackName(url.hostname) && !options.insecure) {
    throw new RunnerError("E_RELAY_PLAINTEXT", "the token would travel unencrypted", {
      where: options.where,
      hint: "use https or --insecure-relay",
    });
  }
  return `${url.protocol}//${url.host}${url.pathname.replace(/\/+$/, "")}`;
}

/** What is no URL may have an @ or a slash in its password: everything before the last @ is left out. */
function withoutUserinfo(text: string): string {
  const scheme = /^\w+:\/\//.exec(text)?.[0] ?? "";
  return text.includes("@") ? scheme + text.slice(text.lastIndexOf("@") + 1) : text;
}

function isLoopbackName(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d{1,3}){3}$/.test(hostname);
}
