/** `deno task mutants [NAME...]`: puts known defects into copies of the program and shows how each is caught. */
import { type Hunt, hunt, MUTANTS } from "./mod.ts";

function line({ mutant, outcome, ms }: Hunt): string {
  const how = outcome.is === "caught"
    ? `${mutant.breaks} at seed ${outcome.seed}${
      outcome.also.length > 0 ? ` (also ${outcome.also.join(", ")})` : ""
    }`
    : outcome.is === "caught by others"
    ? `MISSED ${mutant.breaks}: seed ${outcome.seed} breaks ${outcome.ids.join(", ")} (${outcome.what})`
    : outcome.is === "missed"
    ? `MISSED ${mutant.breaks}`
    : `BROKEN: ${outcome.why}`;
  return `${mutant.name.padEnd(38)} ${how.padEnd(30)} ${(ms / 1000).toFixed(1)} s`;
}

if (import.meta.main) {
  const chosen = Deno.args.length === 0
    ? MUTANTS
    : MUTANTS.filter(({ name }) => Deno.args.some((part) => name.includes(part)));
  const print = (text: string) => Deno.stdout.writeSync(new TextEncoder().encode(text + "\n"));
  const hunts = await hunt(chosen, { done: (each) => print(line(each)) });
  const caught = hunts.filter(({ outcome }) => outcome.is === "caught").length;
  print(`${caught} of ${hunts.length} caught by the promise that they break`);
  Deno.exit(caught === hunts.length ? 0 : 1);
}
