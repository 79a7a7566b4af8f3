import { RunnerError } from "../../lib/base/errors.ts";
import type {
  CommandRow,
  Journal,
  JournalRow,
  JournalSnapshot,
  JournalWrite,
} from "../../lib/inbox/contract.ts";
import { finished, keepsText, remembered } from "../../lib/inbox/core/row.ts";

/** What a disk does to the next write. */
export type DiskFate = "ok" | "error";

/** What the journal model asks of its surroundings. */
export interface DiskPorts {
  /** Called before every write; `error` lets it fail whole. */
  fate(): DiskFate;
  /** Which open row is found damaged at a load, null for none. */
  damages(open: readonly JournalRow[]): JournalRow | null;
  /** Called with every row that was committed and what stood there before. */
  committed(before: JournalRow | undefined, row: JournalRow): void;
}

/** The durable part of a journal: what a runner that starts later finds. */
export class DiskModel {
  readonly #ports: DiskPorts;
  readonly #rows = new Map<string, JournalRow>();
  readonly #commands = new Map<string, CommandRow>();
  #resume: string | null = null;
  #incarnation = 0;

  constructor(ports: DiskPorts) {
    this.#ports = ports;
  }

  /** Opens the journal as one process sees it. The rules of a row are production's own (lib/inbox/core/row.ts). */
  open(): Journal {
    return {
      load: () => this.#load(),
      write: (write) => this.#write(write),
      find: (key) => this.#rows.get(key) ?? null,
      prune: () => false,
      close: () => {},
    };
  }

  /** The row of a message as it is on disk. */
  row(key: string): JournalRow | undefined {
    return this.#rows.get(key);
  }

  #sorted(wanted: (row: JournalRow) => boolean): JournalRow[] {
    return [...this.#rows.values()].filter(wanted).sort((a, b) =>
      a.messageId - b.messageId || (a.key < b.key ? -1 : 1)
    );
  }

  #load(): JournalSnapshot {
    let open = this.#sorted((row) => !finished(row));
    const quarantined: string[] = [];
    const damaged = this.#ports.damages(open);
    if (damaged !== null) {
      this.#rows.delete(damaged.key);
      open = open.filter((row) => row !== damaged);
      quarantined.push(`message ${damaged.key}`);
    }
    return {
      open,
      known: [...this.#rows.values()].filter(remembered).sort((a, b) => a.updatedAt - b.updatedAt)
        .map((row) => row.key),
      left: [...this.#rows.values()]
        .filter(({ state }) => state.state === "skipped" || state.state === "dropped")
        .sort((a, b) => a.updatedAt - b.updatedAt).slice(-1_000),
      dead: this.#sorted((row) => row.state.state === "dead"),
      commands: [...this.#commands.values()],
      resume: this.#resume,
      incarnation: this.#incarnation,
      quarantined,
    };
  }

  #check(): void {
    if (this.#ports.fate() === "error") {
      throw new RunnerError("E_STATE_WRITE", "Cannot write the journal: no space left on device");
    }
  }

  #write(write: JournalWrite): void {
    this.#check();
    for (const row of write.rows) {
      const kept = keepsText(row) ? row : { ...row, message: null };
      this.#ports.committed(this.#rows.get(row.key), kept);
      this.#rows.set(row.key, kept);
    }
    for (const command of write.commands) this.#commands.set(command.commandId, command);
    if (write.resume !== undefined) this.#resume = write.resume;
    if (write.incarnation !== undefined) this.#incarnation = write.incarnation;
  }
}
