import { systemClock } from "../../base/clock.ts";
import { messageOf, shown } from "../../base/errors.ts";
import { VERSION } from "../../base/version.ts";
import { resolvePaths } from "../../config/paths.ts";
import type { Io, Verb } from "../contract.ts";
import { checkAgents } from "../doctor/agents.ts";
import type { Check, DoctorDeps, Finding, Health } from "../doctor/contract.ts";
import { checkFiles, checkHome } from "../doctor/home.ts";
import { checkProviders, checkTmux } from "../doctor/providers.ts";
import { checkRelay } from "../doctor/relay.ts";
import { styleFor } from "../style.ts";
import { columns } from "../table_text.ts";

const checkProgram: Check = () =>
  Promise.resolve([{
    check: "program",
    health: "ok",
    text: `${VERSION}, Deno ${Deno.version.deno}, ${Deno.build.os} ${Deno.build.arch}, ${
      Deno.build.standalone ? shown(Deno.execPath(), 200) : "from the sources"
    }`,
  }]);

const CHECKS: readonly Check[] = [
  checkProgram,
  checkHome,
  checkFiles,
  checkProviders,
  checkTmux,
  checkRelay,
  checkAgents,
];

/** Looks whether everything that agents need is in order; with --fix mends what can be mended without losing anything. */
export const run: Verb = async (invocation, io) => {
  const { flags } = invocation;
  const deps: DoctorDeps = { invocation, io, paths: resolvePaths(io.env), clock: systemClock };
  let findings = await look(deps);
  const fixed: { check: string; text: string; does: string }[] = [];
  if (flags.fix === true) {
    for (const { check, text, fix } of findings) {
      if (fix === undefined) continue;
      try {
        await fix.apply();
        fixed.push({ check, text, does: fix.does });
      } catch (error) {
        io.err(`runner: warning: ${check}: ${shown(messageOf(error), 200)}\n`);
      }
    }
    // Not what the repairs meant to do counts, but how it is now.
    if (fixed.length > 0) findings = await look(deps);
  }
  const failed = findings.some(({ health }) => health === "fail");
  if (flags.json === true) {
    const told = findings.map(({ fix, ...rest }) => ({ ...rest, fixable: fix !== undefined }));
    io.out(JSON.stringify({ ok: !failed, findings: told, fixed }) + "\n");
  } else {
    show(findings, fixed, io);
  }
  return failed ? 1 : 0;
};

/** At the same time: most of it is waiting for other programs. */
async function look(deps: DoctorDeps): Promise<Finding[]> {
  const findings = (await Promise.all(CHECKS.map((check) => check(deps)))).flat();
  // A broken configuration file is in the way of several checks; it is said once.
  return findings.filter(({ text }, i) => findings.findIndex((each) => each.text === text) === i);
}

function show(
  findings: readonly Finding[],
  fixed: readonly { check: string; text: string; does: string }[],
  io: Io,
): void {
  const style = styleFor(io.color);
  const paint: Readonly<Record<Health, (text: string) => string>> = {
    ok: style.green,
    warn: style.yellow,
    fail: style.red,
  };
  io.out(columns([
    ...fixed.map(({ check, text, does }) => [style.green("fixed"), check, `${text}: ${does}`]),
    ...findings.map(({ check, health, text, hint, fix }) => [
      paint[health](health),
      check,
      [text, ...(hint === undefined ? [] : [hint]), ...(fix === undefined ? [] : ["or: runner doctor --fix"])]
        .join("; "),
    ]),
  ]));
  const count = (health: Health) => findings.filter((each) => each.health === health).length;
  const [warnings, failures] = [count("warn"), count("fail")];
  if (warnings + failures === 0) return io.out("everything is in order\n");
  const many = (n: number, word: string) => `${n} ${word}${n === 1 ? "" : "s"}`;
  io.out(`${many(failures, "failure")}, ${many(warnings, "warning")}\n`);
}
