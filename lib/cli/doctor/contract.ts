import type { Clock } from "../../base/clock.ts";
import type { Paths } from "../../config/contract.ts";
import type { Invocation, Io } from "../contract.ts";

/** How one thing is: as it should be, worth knowing, or in the way of the work. */
export type Health = "ok" | "warn" | "fail";

/** What was found of one thing. */
export interface Finding {
  /** The thing, in a word or two. */
  check: string;
  health: Health;
  /** One line; foreign text in it is escaped. */
  text: string;
  /** What to do about it; left out when it is fine. */
  hint?: string;
  /** How `--fix` puts it in order; only what cannot lose anything. */
  fix?: Fix;
}

/** A repair. */
export interface Fix {
  /** What it does, like `makes it private`. */
  does: string;
  apply(): void | Promise<void>;
}

/** What the checks look at. */
export interface DoctorDeps {
  invocation: Invocation;
  io: Io;
  paths: Paths;
  clock: Clock;
}

/** Looks at one thing. Rejects only by a bug: what is wrong is a finding. */
export type Check = (deps: DoctorDeps) => Promise<Finding[]>;
