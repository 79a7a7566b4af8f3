import { dirname, fromFileUrl, join } from "@std/path";
import { parse } from "npm:deno-std@1.4.0/yaml/mod.js";

const ROOT = dirname(dirname(dirname(fromFileUrl(import.meta.url))));

/** One step of a job, or of a composite action. */
export interface Step {
  uses?: string;
  run?: string;
  with?: Record<string, unknown>;
  env?: Record<string, string>;
}

/** One job of a workflow. */
export interface Job {
  uses?: string;
  needs?: string | string[];
  permissions?: Record<string, string>;
  "timeout-minutes"?: number;
  "runs-on"?: string;
  strategy?: { matrix: { machine: string[] } };
  steps?: Step[];
}

/** A workflow as far as tests look at it. */
export interface Workflow {
  on: Record<string, unknown>;
  permissions?: Record<string, string>;
  jobs: Record<string, Job>;
}

/** A composite action. */
export interface Action {
  inputs: Record<string, { description: string; required?: boolean; default?: string }>;
  outputs: Record<string, { value: string }>;
  runs: { steps: Step[] };
}

/** A file with steps in it, parsed. */
export interface Stepped<Kind> {
  path: string;
  text: string;
  parsed: Kind;
}

function read<Kind>(path: string): Stepped<Kind> {
  const text = Deno.readTextFileSync(join(ROOT, path));
  return { path, text, parsed: parse(text) as Kind };
}

function below(dir: string, name: RegExp): string[] {
  return [...Deno.readDirSync(join(ROOT, dir))].map((entry) => `${dir}/${entry.name}`)
    .filter((path) => name.test(path)).sort();
}

/** The project's own workflows. */
export function workflows(): Stepped<Workflow>[] {
  return below(".github/workflows", /\.ya?ml$/).map((path) => read<Workflow>(path));
}

/** Workflows that others copy. */
export function examples(): Stepped<Workflow>[] {
  return below("examples", /\.ya?ml$/).map((path) => read<Workflow>(path));
}

/** Actions that others use. */
export function actions(): Stepped<Action>[] {
  return below(".github/actions", /./).map((dir) => read<Action>(`${dir}/action.yml`));
}

/** Every step of all of them, with the file it is in. */
export function allSteps(): { path: string; step: Step }[] {
  return [
    ...[...workflows(), ...examples()].flatMap(({ path, parsed }) =>
      Object.values(parsed.jobs).flatMap(({ steps }) => (steps ?? []).map((step) => ({ path, step })))
    ),
    ...actions().flatMap(({ path, parsed }) => parsed.runs.steps.map((step) => ({ path, step }))),
  ];
}
