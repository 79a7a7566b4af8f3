import { assert, assertEquals, assertMatch } from "@std/assert";
import { dirname, fromFileUrl, join } from "@std/path";
import { TARGETS } from "../../.github/release/targets.ts";
import { withTempDir } from "../support/temp.ts";
import { actions, allSteps, examples, workflows } from "../support/workflows.ts";

const ROOT = dirname(dirname(dirname(fromFileUrl(import.meta.url))));

const own = workflows();
/** Everything with steps in it: the project's own workflows, those that others copy, and the action. */
const all = [...own, ...examples(), ...actions()];
const steps = allSteps();
const get = (name: string) => own.find(({ path }) => path.endsWith(`/${name}`))!.parsed;

Deno.test("every workflow starts with no permission, and every job names its own and its time limit", () => {
  assertEquals(own.map(({ path }) => path.split("/").at(-1)), ["build.yml", "ci.yml", "release.yml"]);
  for (const { path, parsed } of [...own, ...examples()]) {
    assertEquals(parsed.permissions, {}, path);
    for (const [id, job] of Object.entries(parsed.jobs)) {
      assert(job.permissions !== undefined, `${path} ${id}`);
      if (job.uses === undefined) assert((job["timeout-minutes"] ?? 0) > 0, `${path} ${id}`);
    }
  }
});

Deno.test("every action is pinned by its full commit, with its version beside it", () => {
  let pinned = 0;
  for (const { path, text } of all) {
    for (const line of text.split("\n").filter((each) => /^\s*(?:- )?uses:/.test(each))) {
      // Ours, whose repository and version the reader puts in.
      if (/uses: (?:\.\/\.github\/workflows\/|OWNER\/runner\/\S+@vVERSION$)/.test(line)) continue;
      assertMatch(line, /uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/, path);
      pinned++;
    }
  }
  assert(pinned >= 10);
  const actions = new Map<string, Set<string>>();
  for (const { step } of steps) {
    const [action, commit] = step.uses?.split("@") ?? [];
    if (commit !== undefined && commit !== "vVERSION") {
      actions.set(action!, (actions.get(action!) ?? new Set()).add(commit));
    }
  }
  for (const [action, commits] of actions) assertEquals(commits.size, 1, action);
});

Deno.test("no checkout keeps its credentials, and no script has an expression of the event in it", () => {
  let checkouts = 0;
  for (const { path, step } of steps) {
    if (step.uses?.startsWith("actions/checkout@")) {
      assertEquals(step.with?.["persist-credentials"], false, path);
      checkouts++;
    }
    // A value that somebody else chose must come in by a variable, never as a part of the script.
    assertEquals(step.run?.includes("${{") ?? false, false, `${path}: ${step.run}`);
  }
  assert(checkouts >= 6);
});

Deno.test("pull requests run with read access only, without secrets and never in the base's context", () => {
  for (const { path, text, parsed } of own) {
    assertEquals(/pull_request_target|workflow_run|secrets\./.test(text), false, path);
    if (!("pull_request" in parsed.on)) continue;
    assertEquals(text.includes("github.token"), false, path);
    for (const job of Object.values(parsed.jobs)) assertEquals(job.permissions, { contents: "read" });
  }
});

Deno.test("only the jobs that sign may sign, and only those that draft and publish may write", () => {
  const holders = (permission: string) =>
    own.flatMap(({ path, parsed }) =>
      Object.entries(parsed.jobs).filter(([, job]) => job.permissions?.[permission] === "write")
        .map(([id]) => `${path.split("/").at(-1)} ${id}`)
    ).sort();
  assertEquals(holders("id-token"), ["build.yml build", "release.yml build"]);
  assertEquals(holders("attestations"), ["build.yml build", "release.yml build"]);
  assertEquals(holders("contents"), ["release.yml draft", "release.yml publish"]);
});

Deno.test("a release is tested, reproduced and run on its five systems before anybody can see it", () => {
  const { jobs } = get("release.yml");
  const before = (id: string): string[] => {
    const needs = [jobs[id]!.needs ?? []].flat();
    return [...needs, ...needs.flatMap(before)];
  };
  assertEquals([...new Set(before("publish"))].sort(), [
    "build",
    "draft",
    "reproduce",
    "smoke",
    "test",
    "version",
  ]);
  assertEquals(
    [...jobs.smoke!.strategy!.matrix.machine].sort(),
    TARGETS.map(({ machine }) => machine).sort(),
  );
  assertEquals(Object.keys(get("release.yml").on), ["push"]);
  assertEquals(Object.keys(get("build.yml").on), ["workflow_call"]);
});

Deno.test({
  name:
    "a version with a dash is drafted as a pre-release, any other as a release, and publishing changes neither",
  ignore: Deno.build.os === "windows",
  fn: () =>
    withTempDir(async (dir) => {
      for (const name of ["gh", "deno"]) {
        await Deno.writeTextFile(join(dir, name), `#!/bin/sh\necho "${name} $*" >> "$ASKED"\n`, {
          mode: 0o755,
        });
      }
      await Deno.mkdir(join(dir, "assets"));
      await Deno.writeTextFile(join(dir, "assets", "a.zip"), "");
      const asked = async (job: string, tag: string): Promise<string[]> => {
        const log = join(dir, `${job}-${tag}`);
        const script = get("release.yml").jobs[job]!.steps!.at(-1)!.run!;
        // As GitHub runs it.
        const { success, stderr } = await new Deno.Command("bash", {
          args: ["--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script],
          cwd: dir,
          clearEnv: true,
          env: {
            ASKED: log,
            GITHUB_REF_NAME: tag,
            GITHUB_REPOSITORY: "o/r",
            PATH: `${dir}:/usr/local/bin:/usr/bin:/bin`,
          },
        }).output();
        assert(success, new TextDecoder().decode(stderr));
        return (await Deno.readTextFile(log)).split("\n").filter((line) => line.startsWith("gh "));
      };
      const create = (tag: string, more = "") =>
        `gh release create ${tag} --draft --verify-tag --title ${tag} --notes-file notes.md ${more}assets/a.zip`;
      assertEquals(await asked("draft", "v1.2.3"), [create("v1.2.3")]);
      assertEquals(await asked("draft", "v1.2.3-rc.1"), [create("v1.2.3-rc.1", "--prerelease ")]);
      assertEquals(await asked("publish", "v1.2.3-rc.1"), ["gh release edit v1.2.3-rc.1 --draft=false"]);
    }),
});

Deno.test("every step of a release that a workflow calls exists", async () => {
  const called = new Set(
    steps.flatMap(({ step }) =>
      [...(step.run ?? "").matchAll(/deno task (?:--quiet )?(release \w+|[a-z:]+)/g)].map((match) =>
        match[1]!
      )
    ),
  );
  const { tasks } = JSON.parse(Deno.readTextFileSync(join(ROOT, "deno.json"))) as {
    tasks: Record<string, unknown>;
  };
  const main = await Deno.readTextFile(join(ROOT, ".github", "release", "main.ts"));
  for (const name of called) {
    const [task, step] = name.split(" ");
    assert(task! in tasks, name);
    if (step !== undefined) assertMatch(main, new RegExp(`^  (?:async )?${step}\\(args\\) \\{`, "m"));
  }
  assert(called.size >= 9, [...called].join(", "));
});

Deno.test("Deno is pinned by hash for every system, in the version that the project names", () => {
  const lock = JSON.parse(Deno.readTextFileSync(join(ROOT, ".github", "deno", "package-lock.json"))) as {
    packages: Record<string, { version?: string; integrity?: string; resolved?: string }>;
  };
  const packages = Object.entries(lock.packages).filter(([path]) => path !== "");
  assert(packages.length >= 6);
  for (const [path, { version, integrity, resolved }] of packages) {
    assertEquals([version, resolved], ["2.9.6", undefined], path);
    assertMatch(integrity ?? "", /^sha512-/, path);
  }
  assert(Deno.readTextFileSync(join(ROOT, "README.md")).includes("deno@2.9.6"));
});
