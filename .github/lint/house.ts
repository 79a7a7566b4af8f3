/**
 * The house rules of .github/ARCHITECTURE.md as a lint plugin: imports point one way, the core is pure, time and chance
 * are injected, and the process's own environment, arguments and exit belong to main.ts and the command line.
 */

import { type GlobalUse, globalUses } from "./uses.ts";

/** Floors of the house; a file may import from the floors below its own and from its own room. */
const FLOOR: Readonly<Record<string, number>> = {
  base: 0,
  protocol: 1,
  transport: 1,
  process: 1,
  sdk: 2,
  inbox: 2,
  config: 2,
  providers: 2,
  runner: 3,
  relay: 3,
  control: 3,
  cli: 4,
};

const CORE = /\/lib\/(?:runner|inbox)\/core\//;
const TIMERS = ["setTimeout", "setInterval", "setImmediate", "performance", "Temporal"];
/** Globals that the core has no business with, in whatever way it would use them. */
const IMPURE = new Set([
  ...TIMERS,
  "AbortSignal",
  "BroadcastChannel",
  "Deno",
  "EventSource",
  "FinalizationRegistry",
  "Function",
  "MessageChannel",
  "WeakRef",
  "WebSocket",
  "Worker",
  "alert",
  "caches",
  "confirm",
  "console",
  "crypto",
  "eval",
  "fetch",
  "globalThis",
  "localStorage",
  "navigator",
  "process",
  "prompt",
  "queueMicrotask",
  "sessionStorage",
]);
/** What else has clocks and randomness in it; types of them are welcome in the core. */
const IMPURE_FILES = /\/lib\/base\/(?:clock|secret)\.ts$/;
/** Where time and chance come from, and where they are handed to the rest of the house. */
const TIME_KEEPERS = /\/lib\/(?:base|cli|std)\//;
/** Of the process: where it is run from, and how it ends. */
const EDGES = new Set(["args", "env", "exit", "exitCode"]);

function roomOf(path: string): { room: string; rest: string } | null {
  const match = /\/lib\/([^/]+)\/(.*)$/.exec(path);
  return match ? { room: match[1]!, rest: match[2]! } : null;
}

function resolveImport(from: string, specifier: string): string | null {
  if (specifier === "agent-relay-sdk") return from.replace(/\/lib\/.*$/, "/lib/sdk/mod.ts");
  if (!specifier.startsWith(".")) return null;
  return new URL(specifier, `file://${from}`).pathname;
}

/** Says what is wrong with an import, or null. Exported for its test. */
export function importProblem(from: string, specifier: string): string | null {
  const source = roomOf(from);
  const resolved = resolveImport(from, specifier);
  if (source === null || resolved === null || source.room === "std") return null;
  const target = roomOf(resolved);
  if (target === null) return /\/main\.ts$/.test(resolved) ? "nothing imports main.ts" : null;
  if (target.room === source.room) return null;
  const up = FLOOR[source.room];
  const down = FLOOR[target.room];
  if (up === undefined) return `lib/${source.room} is no room of the house`;
  if (down === undefined) return `lib/${target.room} is no room of the house`;
  // A contract on the same floor holds types only; it is how neighbours know of each other.
  if (down < up || (down === up && target.rest === "contract.ts")) return null;
  return `lib/${source.room} must not import lib/${target.room}: imports point down`;
}

/** Says what is wrong with a value that the core imports, or null. Exported for its test. */
export function coreImportProblem(from: string, specifier: string): string | null {
  if (!CORE.test(from)) return null;
  const resolved = resolveImport(from, specifier);
  if (resolved === null) return `the core is pure: ${specifier} is not of this house`;
  return IMPURE_FILES.test(resolved) ? `the core is pure: ${specifier} belongs to a port` : null;
}

/** True for a use of time or chance. `new Date(at)` and `Date.parse` are neither. */
function isTimeOrChance({ name, member, harmless }: GlobalUse): boolean {
  if (name === "Math") return member === "random" || member === null;
  if (name === "Date") return member === null ? !harmless : member !== "parse" && member !== "UTC";
  return TIMERS.includes(name);
}

/** Reports what `problem` says about each use of a global. */
function onGlobals(
  context: Deno.lint.RuleContext,
  problem: (use: GlobalUse) => string | null,
): Deno.lint.LintVisitor {
  return {
    Identifier(node) {
      for (const use of globalUses(node)) {
        const message = problem(use);
        if (message !== null) context.report({ node: use.node, message });
      }
    },
  };
}

/** Calls back with every module that is imported or exported again, and whether only its types are. */
function onImports(
  check: (node: Deno.lint.Node, specifier: string, typesOnly: boolean) => void,
): Deno.lint.LintVisitor {
  return {
    ImportDeclaration: (node) => {
      const kinds = node.specifiers.map((each) =>
        each.type === "ImportSpecifier" ? each.importKind : "value"
      );
      const typesOnly = node.importKind === "type" ||
        (kinds.length > 0 && kinds.every((kind) => kind === "type"));
      check(node, String(node.source.value), typesOnly);
    },
    ExportNamedDeclaration: (node) => {
      if (node.source !== null) check(node, String(node.source.value), node.exportKind === "type");
    },
    ExportAllDeclaration: (node) => check(node, String(node.source.value), node.exportKind === "type"),
    ImportExpression: (node) => {
      check(
        node,
        node.source.type === "Literal" ? String(node.source.value) : "what is not said here",
        false,
      );
    },
  };
}

const fileOf = ({ filename }: Deno.lint.RuleContext) => filename.replaceAll("\\", "/");

const plugin: Deno.lint.Plugin = {
  name: "house",
  rules: {
    "import-direction": {
      create(context) {
        return onImports((node, specifier) => {
          const message = importProblem(fileOf(context), specifier);
          if (message !== null) context.report({ node, message });
        });
      },
    },
    "pure-core-imports": {
      create(context) {
        return onImports((node, specifier, typesOnly) => {
          const message = typesOnly ? null : coreImportProblem(fileOf(context), specifier);
          if (message !== null) context.report({ node, message });
        });
      },
    },
    "pure-core": {
      create(context) {
        if (!CORE.test(fileOf(context))) return {};
        return onGlobals(context, (use) => {
          const harmless = use.name === "Date"
            ? use.member !== null && !isTimeOrChance(use)
            : !isTimeOrChance(use);
          return harmless && !IMPURE.has(use.name) ? null : `the core is pure: ${use.name} belongs to a port`;
        });
      },
    },
    "injected-time": {
      create(context) {
        const file = fileOf(context);
        if (!/\/lib\//.test(file) || TIME_KEEPERS.test(file) || CORE.test(file)) return {};
        const check = onGlobals(
          context,
          (use) =>
            isTimeOrChance(use)
              ? `${use.name} is not injected: take a clock, or a source of randomness`
              : null,
        );
        const imports = onImports((node, specifier) => {
          if (/^node:(?:timers|perf_hooks)/.test(specifier)) {
            context.report({ node, message: `${specifier} is not injected: take a clock` });
          }
        });
        return { ...check, ...imports };
      },
    },
    "process-edges": {
      create(context) {
        const file = fileOf(context);
        if (!/\/lib\//.test(file) || /\/lib\/(?:cli|std)\//.test(file)) return {};
        return onGlobals(context, ({ name, member }) => {
          const edge = (name === "Deno" && (member === null || EDGES.has(member))) ||
            (name === "process" && (member === "argv" || EDGES.has(member ?? "")));
          return edge ? `${name}.${member ?? "*"} belongs to main.ts and lib/cli` : null;
        });
      },
    },
  },
};

export default plugin;
