import { sha256Hex } from "../base/hash.ts";
import { basename } from "@std/path";
import { randomHex } from "../base/secret.ts";

const LONGEST = 64;
/** Room kept for a slot suffix like `-12`. */
const SLOT_ROOM = 3;

/** Returns text as part of an identifier: lower case, runs of other characters become one dash. */
export function slug(text: string, max = 24): string {
  const cleaned = text.normalize("NFKD").toLowerCase().replace(/[^a-z0-9._-]+/g, "-").replace(
    /^[^a-z0-9]+/,
    "",
  );
  return cleaned.slice(0, max).replace(/[^a-z0-9]+$/, "");
}

/** Who a run is. */
export interface IdentityInput {
  host: string;
  provider: string;
  label: string | null;
  /** Real path of the working directory. */
  cwd: string;
}

/**
 * Returns the stable id of the agent: `host-provider-<label or project>-<4 hex of the directory>`. The host is cut
 * so that the id and a slot suffix fit 64 characters.
 */
export function stableAgentId(input: IdentityInput): string {
  const hash = sha256Hex(input.cwd).slice(0, 4);
  const tail = `${slug(input.provider)}-${nameOf(input)}-${hash}`;
  return `${hostPart(input.host, LONGEST - SLOT_ROOM - tail.length - 1)}-${tail}`;
}

/** Returns the id of this very run: `host-provider-<label or project>-<8 random hex>`. */
export function newRunnerId(input: IdentityInput): string {
  const tail = `${slug(input.provider)}-${nameOf(input)}-${randomHex(4)}`;
  return `${hostPart(input.host, LONGEST - tail.length - 1)}-${tail}`;
}

function nameOf({ label, cwd }: IdentityInput): string {
  return slug(label ?? basename(cwd), 24) || "project";
}

function hostPart(host: string, max: number): string {
  return slug(host.split(".")[0] ?? "", Math.max(1, max)) || "host";
}

/** Returns the id of a slot: the first agent of a place has no suffix, the others `-2`, `-3` and so on. */
export function slotId(agentId: string, slot: number): string {
  return slot === 1 ? agentId : `${agentId}-${slot}`;
}
