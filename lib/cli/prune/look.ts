import { join } from "@std/path";
import { messageOf, shown } from "../../base/errors.ts";
import { lookIntoJournal } from "../../inbox/look.ts";
import { type HeldPlace, holdPlace } from "../../process/lock.ts";
import type { AgentFacts, Remnant, Rules } from "./contract.ts";
import { isOld } from "./decide.ts";
import {
  agentEntryKind,
  DIRECTORY_NAMES,
  type Entry,
  isKnownIn,
  isTemporaryBody,
  quarantinedAt,
} from "./names.ts";

/** What was found out about an agent; `place` is its lock, to be released once everything is done. */
export interface Looked {
  facts: AgentFacts;
  place: HeldPlace | null;
}

/** An entry of a directory with what is known of it. */
export interface Found extends Entry {
  path: string;
  info: Deno.FileInfo;
}

/** Returns what is in a directory, by name; nothing when it is not there. What disappears meanwhile is left out. */
export function entriesOf(dir: string): Found[] {
  let names: string[];
  try {
    names = [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
  return names.flatMap((name) => {
    const path = join(dir, name);
    try {
      const info = Deno.lstatSync(path);
      const { isFile, isDirectory, isSymlink } = info;
      return [{ name, path, info, isFile, isDirectory, isSymlink }];
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  });
}

/** Returns when something was written last; what does not say so counts as new. */
export function writtenAt({ mtime }: Deno.FileInfo): number {
  return mtime?.getTime() ?? Infinity;
}

/** Takes an agent's place, when nobody has it, and looks at what is there. Never throws. */
export function lookAtAgent(dir: string, { rules, pid }: { rules: Rules; pid: number }): Looked {
  let place: HeldPlace | null = null;
  try {
    const hold = holdPlace(dir, pid);
    switch (hold.state) {
      case "none":
        return { facts: { place: "none", problem: "no runner has ever had it" }, place };
      case "taken":
        return { facts: { place: "taken", ending: hold.ending, remnants: remnantsOf(dir, []) }, place };
      case "held":
        place = hold.place;
        return { facts: factsOf(dir, place.usedAt, rules), place };
    }
  } catch (error) {
    place?.release();
    return {
      facts: { place: "none", problem: `it cannot be looked at: ${shown(messageOf(error), 200)}` },
      place: null,
    };
  }
}

function factsOf(dir: string, usedAt: number, rules: Rules): AgentFacts {
  const entries = entriesOf(dir);
  // The lock has just been written to, and a look into the journal writes to the file that SQLite shares.
  const telling = entries.filter(({ name }) => name !== "lock" && name !== "journal.db-shm");
  const lastRun = Math.max(usedAt, ...telling.map(({ info }) => writtenAt(info)));
  const killed = entries.some(({ name }) => name === "run.json");
  const unknown = [
    ...entries.filter((each) => agentEntryKind(each) === "unknown").map(({ name }) => name),
    ...DIRECTORY_NAMES.flatMap((name) =>
      realEntries(join(dir, name)).filter((each) => !isKnownIn(name, each)).map((each) =>
        `${name}/${each.name}`
      )
    ),
  ];
  const matters = isOld(lastRun, rules) && !killed && unknown.length === 0;
  return {
    place: "held",
    lastRun,
    killed,
    unknown,
    journal: matters ? lookIntoJournal(join(dir, "journal.db")) : null,
    remnants: remnantsOf(dir, entries),
  };
}

function remnantsOf(dir: string, entries: readonly Found[]): Remnant[] {
  return [
    ...entries.flatMap((each): Remnant[] => {
      const kind = agentEntryKind(each);
      return kind === "plugin" || kind === "temporary"
        ? [{ kind, path: each.path, at: writtenAt(each.info) }]
        : [];
    }),
    ...realEntries(join(dir, "bodies")).filter(isTemporaryBody)
      .map(({ path, info }): Remnant => ({ kind: "temporary", path, at: writtenAt(info) })),
    ...realEntries(join(dir, "quarantine")).flatMap((each): Remnant[] => {
      // It keeps the time of its last write, which may be long before it was put aside.
      const at = quarantinedAt(each);
      return at === null
        ? []
        : [{ kind: "quarantine", path: each.path, at: Math.max(at, writtenAt(each.info)) }];
    }),
  ];
}

/** As {@linkcode entriesOf}, of a directory that is no link to one. */
function realEntries(dir: string): Found[] {
  try {
    return Deno.lstatSync(dir).isDirectory ? entriesOf(dir) : [];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
