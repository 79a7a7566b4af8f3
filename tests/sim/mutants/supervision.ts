import type { Mutant } from "./patch.ts";

const PROVIDER = "lib/runner/core/provider.ts";
const LIFECYCLE = "lib/runner/core/lifecycle.ts";
const PUMP = "lib/runner/core/pump.ts";
const STATUS = "lib/runner/core/status.ts";

/** Defects in what keeps an agent alive, ends it, and tells the bus about it. */
export const SUPERVISION_MUTANTS: readonly Mutant[] = [
  {
    name: "no restart",
    defect: "a provider that died stays dead while the runner keeps its place on the bus",
    breaks: "I8",
    file: PUMP,
    edits: [{
      find:
        `else if (state.provider.state === "waiting" && now.mono >= state.provider.until) spawn(state, effects);`,
      replace: ``,
    }],
  },
  {
    name: "restart at once",
    defect: "a provider that dies is started again without any delay",
    breaks: "I16",
    file: PROVIDER,
    edits: [{
      find: `const delayMs = 1_000 + now.random * spread;`,
      replace: `const delayMs = now.random * spread * 0.01;`,
    }],
  },
  {
    name: "no breaker",
    defect: "a provider that always dies is started for ever",
    breaks: "I16",
    file: PROVIDER,
    edits: [{ find: `if (recent > BREAKER_EXITS) {`, replace: `if (recent > 1_000) {` }],
  },
  {
    name: "breaker at two",
    defect: "the run gives up after two deaths",
    breaks: "I10",
    file: PROVIDER,
    edits: [{ find: `const BREAKER_EXITS = 5;`, replace: `const BREAKER_EXITS = 1;` }],
  },
  {
    name: "two providers",
    defect: "a restart starts the new provider while the old one lives",
    breaks: "I6",
    file: LIFECYCLE,
    edits: [{
      find: `if (state.phase.phase !== "stopping" || "incarnation" in state.provider) return;`,
      replace:
        `if (state.phase.phase !== "stopping") return;\n  if ("incarnation" in state.provider && state.phase.then === "exit") return;`,
    }],
  },
  {
    name: "ready while dead",
    defect: "between a provider's death and its next start the bus is told that it is ready",
    breaks: "I8",
    file: STATUS,
    edits: [{
      find: `return say("error", false, \`provider ended`,
      replace: `return say("idle", true, \`provider ended`,
    }],
  },
  {
    name: "ready while starting",
    defect: "the agent is called ready before it can take anything",
    breaks: "I8",
    file: STATUS,
    edits: [{
      find: `return say("online", false, "starting");`,
      replace: `return say("online", true, "starting");`,
    }],
  },
  {
    name: "fault for ever",
    defect: "an agent whose login was renewed stays in error until somebody writes to it, which nobody does",
    breaks: "I8",
    file: PUMP,
    edits: [{ find: `    forgetFault(state, now);\n`, replace: `    void forgetFault;\n` }],
  },
  {
    name: "commands without memory",
    defect: "a restart that the relay repeats happens again",
    breaks: "I9",
    file: LIFECYCLE,
    edits: [{
      find: `if (state.commands.has(commandId)) return;`,
      replace: `if (state.commands.has(\`\${commandId} \`)) return;`,
    }],
  },
  {
    name: "any target",
    defect: "a command for another agent is obeyed",
    breaks: "I9",
    file: LIFECYCLE,
    edits: [{
      find: `if (target !== state.config.agentId && target !== state.config.runnerId) return;`,
      replace: `if (target === "") return;`,
    }],
  },
  {
    name: "answer lost with the run",
    defect: "a command whose run died is never answered",
    breaks: "I9",
    file: "lib/runner/core/step.ts",
    edits: [{ find: `return lifecycle.answerEarlier(state, effects);`, replace: `return;` }],
  },
  {
    name: "second signal ignored",
    defect: "whoever insists has to kill the runner, and its agent lives on",
    breaks: "I10",
    file: LIFECYCLE,
    edits: [{
      find: `stopHard(state, effects, { cause: { kind: "signal", signal: name }, deregister: false });`,
      replace: ``,
    }],
  },
  {
    name: "drain without an end",
    defect: "the end waits for a turn however long it takes",
    breaks: "I10",
    file: LIFECYCLE,
    edits: [{
      find: `if (busy && now.mono < state.phase.deadline) return;`,
      replace: `if (busy && (state.phase.then === "exit" || now.mono < state.phase.deadline)) return;`,
    }],
  },
  {
    name: "goodbye without an end",
    defect: "a relay that does not answer keeps the runner from ending",
    breaks: "I10",
    file: "lib/runner/relay_actions.ts",
    edits: [{
      find: `await withDeadline(clock, hard ? HARD_GOODBYE_MS : GOODBYE_MS, said);`,
      replace: `await said;`,
    }],
  },
  {
    name: "a deaf provider is left alone",
    defect: "a provider that takes messages and does nothing with them is never ended",
    breaks: "I2",
    file: "lib/runner/core/turns.ts",
    edits: [{
      find: `giveUp(state, effects, "it takes messages and does nothing with them");`,
      replace: `state.traceless.delete(row.key);`,
    }],
  },
  {
    name: "slow start holds up the end",
    defect: "a hard end waits until the provider has started",
    breaks: "I10",
    file: "lib/runner/provider_host.ts",
    edits: [{
      find: `const session = await withDeadline(clock, waitMs, current.session);`,
      replace: `const session = await withDeadline(clock, waitMs + 60_000, current.session);`,
    }],
  },
];
