import { shown } from "../../base/errors.ts";
import { VERSION } from "../../base/version.ts";
import { openRelay, type RelayAccess, relayError } from "../relay_access.ts";
import type { Check, Finding } from "./contract.ts";
import { told } from "./told.ts";

/** Difference of two clocks from which times of two machines cannot be compared by a person. */
const SKEW_MS = 5_000;

/** The relay: there, ours, of this version, with a clock like this machine's; and what agents gave up on. */
export const checkRelay: Check = async ({ invocation, io, clock }) => {
  let access: RelayAccess;
  try {
    access = await openRelay(invocation, io);
  } catch (error) {
    return [{ check: "relay", health: "fail", ...told(error) }];
  }
  const { http, url, own } = access;
  const name = shown(url, 200);
  const before = clock.wall();
  const health = await http.health();
  if (!health.ok) {
    // Nobody serves one before the first agent is started; whoever configured an address expects one there.
    if (health.kind === "unavailable" && own) {
      return [finding("relay", "ok", `none is up at ${name}; the first agent serves it`)];
    }
    const { message, hint } = relayError(health, url);
    return [finding("relay", "fail", `${message} (${name})`, hint)];
  }
  const listed = await http.listAgents();
  if (!listed.ok) {
    const { message, hint } = relayError(listed, url);
    return [finding("relay", "fail", `${message} (${name})`, hint)];
  }
  const { version, embedded, serverTime } = health.value;
  const by = embedded ? "served by a runner" : "served by itself";
  const findings = [
    finding("relay", "ok", `${name}, ${shown(version)}, ${by}, ${listed.value.length} agents`),
  ];
  if (version !== VERSION) {
    findings.push(
      finding(
        "relay version",
        "warn",
        `the relay is ${shown(version)}, this is ${VERSION}`,
        "restart the agents that were started before the update",
      ),
    );
  }
  const skewMs = Math.max(before - serverTime, serverTime - clock.wall(), 0);
  if (skewMs > SKEW_MS) {
    findings.push(
      finding(
        "clock",
        "warn",
        `the relay's clock is ${Math.round(skewMs / 1000)} s apart from this one`,
        "times in receipts and in status cannot be compared",
      ),
    );
  }
  const dead = await http.listDead();
  if (dead.ok && dead.value.letters.length > 0) {
    const count = dead.value.letters.length;
    findings.push(
      finding("dead letters", "warn", `${count} messages wait for a person`, "see: runner dead list"),
    );
  }
  return findings;
};

function finding(check: string, health: Finding["health"], text: string, hint?: string): Finding {
  return { check, health, text, ...(hint === undefined ? {} : { hint }) };
}
