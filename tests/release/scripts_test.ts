import { assert, assertEquals } from "@std/assert";
import { dirname, fromFileUrl, join } from "@std/path";
import { bashScript } from "../../lib/cli/completions/bash.ts";
import { IGNORED } from "../../lib/cli/run/signals.ts";
import { KEEP } from "../../lib/cli/run/tmux.ts";
import { GUARD_SCRIPT } from "../../lib/process/guard_script.ts";
import { shellScripts } from "../support/scripts.ts";
import { onPath } from "../support/shells.ts";
import { withTempDir } from "../support/temp.ts";
import { allSteps } from "../support/workflows.ts";

const ROOT = dirname(dirname(dirname(fromFileUrl(import.meta.url))));
const SCRIPTS = shellScripts(ROOT);
/** Scripts that the program carries in its own text. */
const EMBEDDED: Readonly<Record<string, string>> = {
  "guard.sh": `#!/bin/sh\n${GUARD_SCRIPT}`,
  "keep.sh": `#!/bin/sh\n${KEEP}\n`,
  "ignored.sh": `#!/bin/sh\n${IGNORED}\n`,
  "completions.bash": `#!/usr/bin/env bash\n${bashScript(["runner"])}`,
};

Deno.test("the scripts that the other tests look at are all that there are", () => {
  assertEquals(SCRIPTS, [
    ".ci/denort.sh",
    ".ci/run",
    ".github/actions/runner/run.sh",
    ".github/deno/install.sh",
    ".github/install.sh",
  ]);
  const embedded = sourcesWith(/"\/bin\/sh"|"sh", "-c"/);
  assertEquals(embedded, ["cli/run/signals.ts", "cli/run/tmux.ts", "process/guard.ts"], "add it to EMBEDDED");
});

/** The scripts of all steps of workflows, examples and actions. */
function steps(): Record<string, string> {
  const runs = allSteps().flatMap(({ path, step }) =>
    step.run === undefined ? [] : [{ path, run: step.run }]
  );
  assert(runs.length >= 15);
  return Object.fromEntries(
    runs.map((
      { path, run },
      i,
    ) => [`${path.replaceAll("/", "-")}-${i}.sh`, `#!/usr/bin/env bash\nset -eo pipefail\n${run}\n`]),
  );
}

/** Files below `lib` whose text matches. */
function sourcesWith(pattern: RegExp, below = ""): string[] {
  return [...Deno.readDirSync(join(ROOT, "lib", below))].flatMap(({ name, isDirectory }) => {
    const path = below === "" ? name : `${below}/${name}`;
    if (isDirectory) return sourcesWith(pattern, path);
    return pattern.test(Deno.readTextFileSync(join(ROOT, "lib", path))) ? [path] : [];
  }).sort();
}

const git = await onPath("git");
Deno.test({
  name: `a checkout on Windows has no CR in any script${git ? "" : " (SKIPPED: git is not here)"}`,
  ignore: !git,
  fn: () =>
    withTempDir(async (dir) => {
      const origin = join(dir, "origin");
      for (const path of [...SCRIPTS, ".gitattributes"]) {
        await Deno.mkdir(dirname(join(origin, path)), { recursive: true });
        await Deno.copyFile(join(ROOT, path), join(origin, path));
      }
      const run = async (...args: string[]) => {
        const { success, stderr } = await new Deno.Command("git", {
          args: ["-c", "user.name=test", "-c", "user.email=test@localhost", ...args],
          cwd: origin,
          // Nobody's own configuration.
          env: { GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_SYSTEM: "/dev/null", HOME: dir },
        }).output();
        assert(success, `${args}: ${new TextDecoder().decode(stderr)}`);
      };
      const withCr = async (name: string) => {
        const clone = join(dir, name);
        await run("clone", "--quiet", "--config", "core.autocrlf=true", origin, clone);
        return SCRIPTS.filter((path) => Deno.readTextFileSync(join(clone, path)).includes("\r"));
      };
      await run("init", "--quiet");
      await run("add", "--all");
      await run("commit", "--quiet", "--message", "as it is");
      assertEquals(await withCr("clone"), []);
      // The control: without the attributes every one of them has.
      await run("rm", "--quiet", ".gitattributes");
      await run("commit", "--quiet", "--message", "without");
      assertEquals(await withCr("control"), SCRIPTS);
    }),
});

const shellcheck = await onPath("shellcheck");
Deno.test({
  name: `shellcheck finds nothing in the scripts of the project, of its workflows and of the program${
    shellcheck ? "" : " (SKIPPED: it is not here)"
  }`,
  ignore: !shellcheck,
  fn: () =>
    withTempDir(async (dir) => {
      const check = async (paths: string[]) => {
        const { code, stdout } = await new Deno.Command("shellcheck", { args: paths }).output();
        return { code, said: new TextDecoder().decode(stdout) };
      };
      const scripts = { ...EMBEDDED, ...steps() };
      const embedded = Object.entries(scripts).map(([name, text]) => {
        Deno.writeTextFileSync(join(dir, name), text);
        return join(dir, name);
      });
      const { code, said } = await check([...SCRIPTS.map((path) => join(ROOT, path)), ...embedded]);
      assertEquals(code, 0, said);
      await Deno.writeTextFile(join(dir, "bad.sh"), "#!/bin/sh\ncd $1\n");
      assertEquals((await check([join(dir, "bad.sh")])).code, 1);
    }),
});
