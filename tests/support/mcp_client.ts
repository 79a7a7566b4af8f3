import { lines } from "../../lib/base/bytes.ts";
import type { TestHome } from "./runner_process.ts";

/** What a tool came to. */
export interface Called {
  text: string;
  isError: boolean;
}

/** An agent's MCP client, with `runner mcp` as its server. */
export class McpClient implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #waiting = new Map<number, (message: Record<string, unknown>) => void>();
  readonly #reading: Promise<void>;
  #id = 0;

  constructor(home: TestHome, controlFile: string) {
    const { command, args } = home.program;
    this.#child = new Deno.Command(command, {
      args: [...args, "mcp"],
      cwd: home.cwd,
      clearEnv: true,
      env: { ...home.env, AGENT_RELAY_CONTROL_FILE: controlFile },
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    for await (const line of lines(this.#child.stdout, { maxLineBytes: 1024 * 1024 })) {
      if (line.kind !== "line") continue;
      const message = JSON.parse(line.text) as Record<string, unknown>;
      this.#waiting.get(message.id as number)?.(message);
    }
  }

  async notify(method: string, params: unknown): Promise<void> {
    await this.#writer.write(
      new TextEncoder().encode(JSON.stringify({ jsonrpc: "2.0", method, params }) + "\n"),
    );
  }

  /** Id of the last request. */
  get lastId(): number {
    return this.#id;
  }

  async request(method: string, params: unknown = {}): Promise<Record<string, unknown>> {
    const id = ++this.#id;
    const answer = new Promise<Record<string, unknown>>((resolve) => this.#waiting.set(id, resolve));
    const line = JSON.stringify({ jsonrpc: "2.0", id, method, params }) + "\n";
    await this.#writer.write(new TextEncoder().encode(line));
    const { result, error } = await answer;
    if (error !== undefined) throw new Error(JSON.stringify(error));
    return result as Record<string, unknown>;
  }

  async call(name: string, args: Record<string, unknown> = {}): Promise<Called> {
    const result = await this.request("tools/call", { name, arguments: args });
    const [{ text }] = result.content as [{ text: string }];
    return { text, isError: result.isError === true };
  }

  /** Ends the input and returns the exit code. */
  async end(): Promise<number> {
    await this.#writer.close().catch(() => {});
    await this.#reading;
    return (await this.#child.status).code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}
