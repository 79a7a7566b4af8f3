/** A system that a release is built for. */
export interface Target {
  /** Name in file names and on the command line. */
  name: string;
  /** Name that `deno compile --target` wants. */
  triple: string;
  /** File name of the program. */
  program: string;
  archive: "tar.gz" | "zip";
  /** The hosted machine that can run it. */
  machine: string;
}

/** The five systems. */
export const TARGETS: readonly Target[] = [
  unix("linux-x64", "x86_64-unknown-linux-gnu", "ubuntu-24.04"),
  unix("linux-arm64", "aarch64-unknown-linux-gnu", "ubuntu-24.04-arm"),
  unix("macos-x64", "x86_64-apple-darwin", "macos-15-intel"),
  unix("macos-arm64", "aarch64-apple-darwin", "macos-15"),
  {
    name: "windows-x64",
    triple: "x86_64-pc-windows-msvc",
    program: "runner.exe",
    archive: "zip",
    machine: "windows-2025",
  },
];

function unix(name: string, triple: string, machine: string): Target {
  return { name, triple, program: "runner", archive: "tar.gz", machine };
}

/** Finds a target by its name or its triple, or throws with the names there are. */
export function targetOf(name: string): Target {
  const target = TARGETS.find((each) => each.name === name || each.triple === name);
  if (target === undefined) {
    throw new RangeError(
      `Cannot use target "${name}": expected one of ${TARGETS.map((each) => each.name).join(", ")}`,
    );
  }
  return target;
}
