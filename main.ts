/** A link named claude-relay is seen in argv0 only: the path of the executable is the link's target. */
async function binaryNames(): Promise<string[]> {
  if (!Deno.build.standalone) return [];
  // Half as long again as everything else of a start (13 of 28 ms), so it is loaded when it can matter only.
  const { argv0 } = await import("node:process");
  return [argv0, Deno.execPath()];
}

/** The event of `runner hook EVENT`, in the one form that agents call it in; null for every other command line. */
function hookEvent([verb, event, ...rest]: readonly string[]): string | null {
  return verb === "hook" && event !== undefined && /^\w+$/.test(event) && rest.length === 0 ? event : null;
}

/** True for `runner mcp`, in the one form that agents call it in. */
function isToolServer(args: readonly string[]): boolean {
  return args.length === 1 && args[0] === "mcp";
}

if (isToolServer(Deno.args)) {
  // An agent waits for its tools at its start.
  const { serveTools } = await import("./lib/cli/verbs/mcp.ts");
  await serveTools(Deno.env.get("AGENT_RELAY_CONTROL_FILE"));
  Deno.exit(0);
}
const event = hookEvent(Deno.args);
if (event === null) {
  const [{ runCommandLine }, { processIo }] = await Promise.all([
    import("./lib/cli/main.ts"),
    import("./lib/cli/process_io.ts"),
  ]);
  Deno.exit(await runCommandLine(Deno.args, processIo(), binaryNames));
}
// An agent waits for its hooks: this one goes past the table of verbs, which is 3 of the 20 ms of a hook.
const { passHookOn } = await import("./lib/cli/verbs/hook.ts");
await passHookOn(event, Deno.env.get("AGENT_RELAY_CONTROL_FILE"));
Deno.exit(0);
