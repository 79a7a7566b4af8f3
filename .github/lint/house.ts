/**
 * The house rules of .github/ARCHITECTURE.md as a lint plugin: imports point one way, the core is pure, and the
 * process's own environment, arguments and exit belong to main.ts and the command line.
 */

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
const IMPURE_GLOBALS = new Set([
  "Deno",
  "setTimeout",
  "setInterval",
  "fetch",
  "WebSocket",
  "performance",
  "crypto",
  "queueMicrotask",
]);
const IMPURE_MEMBERS = new Set(["Date.now", "Math.random"]);
const CLI_ONLY = new Set(["env", "args", "exit"]);

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

interface Named {
  type: string;
  name?: string;
}

const plugin: Deno.lint.Plugin = {
  name: "house",
  rules: {
    "import-direction": {
      create(context) {
        const check = (node: Deno.lint.Node, specifier: string) => {
          const message = importProblem(context.filename.replaceAll("\\", "/"), specifier);
          if (message !== null) context.report({ node, message });
        };
        return {
          ImportDeclaration: (node) => check(node, String(node.source.value)),
          ExportNamedDeclaration: (node) => {
            if (node.source !== null) check(node, String(node.source.value));
          },
          ExportAllDeclaration: (node) => check(node, String(node.source.value)),
          ImportExpression: (node) => {
            if (node.source.type === "Literal") check(node, String(node.source.value));
          },
        };
      },
    },
    "pure-core": {
      create(context) {
        if (!CORE.test(context.filename.replaceAll("\\", "/"))) return {};
        return {
          MemberExpression(node) {
            const object = node.object as Named;
            const property = node.property as Named;
            if (object.type !== "Identifier") return;
            const name = object.name!;
            if (IMPURE_GLOBALS.has(name) || IMPURE_MEMBERS.has(`${name}.${property.name}`)) {
              context.report({ node, message: `the core is pure: ${name} belongs to a port` });
            }
          },
          CallExpression(node) {
            const callee = node.callee as Named;
            if (callee.type === "Identifier" && IMPURE_GLOBALS.has(callee.name!)) {
              context.report({ node, message: `the core is pure: ${callee.name} belongs to a port` });
            }
          },
          NewExpression(node) {
            const callee = node.callee as Named;
            if (
              callee.type === "Identifier" && (callee.name === "Date" || IMPURE_GLOBALS.has(callee.name!))
            ) {
              context.report({ node, message: `the core is pure: ${callee.name} belongs to a port` });
            }
          },
        };
      },
    },
    "process-edges": {
      create(context) {
        const file = context.filename.replaceAll("\\", "/");
        if (!/\/lib\//.test(file) || /\/lib\/(?:cli|std)\//.test(file)) return {};
        return {
          MemberExpression(node) {
            const object = node.object as Named;
            const property = node.property as Named;
            if (object.type === "Identifier" && object.name === "Deno" && CLI_ONLY.has(property.name ?? "")) {
              context.report({ node, message: `Deno.${property.name} belongs to main.ts and lib/cli` });
            }
          },
        };
      },
    },
  },
};

export default plugin;
