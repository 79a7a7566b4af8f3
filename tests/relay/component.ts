import type { RelayServer } from "../../lib/relay/contract.ts";
import { testRelay, TOKEN } from "../support/relay_world.ts";
import { until, withTempDir } from "../support/temp.ts";

interface Frame {
  type: string;
  payload: Record<string, unknown>;
}

/** A component that speaks the bus with a token of the test's choice. */
export class Component {
  readonly #socket: WebSocket;
  readonly answers: Frame[] = [];
  readonly closed: Promise<CloseEvent>;
  #next = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    this.closed = new Promise((resolve) => socket.onclose = resolve);
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data as string) as Frame;
      if (frame.type === "ack" || frame.type === "error") this.answers.push(frame);
    };
  }

  static async open(relay: RelayServer, token: string): Promise<Component> {
    const socket = new WebSocket(`${relay.url.replace("http", "ws")}/bus`, {
      headers: { "x-agent-relay-token": token },
    });
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(new Error("the relay refused the bus"));
    });
    socket.onerror = null;
    return new Component(socket);
  }

  get readyState(): number {
    return this.#socket.readyState;
  }

  /** Sends a text. */
  raw(text: string): void {
    this.#socket.send(text);
  }

  /** Sends a frame and returns its id. */
  send(type: string, payload: Record<string, unknown>): string {
    const id = String(++this.#next);
    this.#socket.send(JSON.stringify({ type, id, payload }));
    return id;
  }

  /** Sends a frame; returns `ok` or the code of the refusal. */
  async say(type: string, payload: Record<string, unknown>): Promise<unknown> {
    const frameId = this.send(type, payload);
    const find = () => this.answers.find((each) => each.payload.frameId === frameId);
    await until(`the answer to ${type}`, () => find() !== undefined);
    return find()!.type === "ack" ? "ok" : find()!.payload.code;
  }

  async close(): Promise<void> {
    this.#socket.close();
    await this.closed;
  }
}

/** What a component registers with. */
export const registration = (agentId: string, role = "provider", componentId = `component-${agentId}`) => ({
  role,
  agentId,
  componentId,
  instanceId: crypto.randomUUID(),
  capabilities: [],
  tags: [],
  machine: "machine",
});

/** Serves a relay while `work` runs. */
export async function withRelay(work: (relay: RelayServer) => Promise<void>): Promise<void> {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    try {
      await work(relay);
    } finally {
      await relay.stop();
    }
  });
}

/** Registers an agent as its runner does and returns its own token. */
export async function agentToken(relay: RelayServer, agentId: string): Promise<string> {
  const response = await api(relay, "POST", "/agents", TOKEN, { id: agentId, componentId: `run-${agentId}` });
  return (await response.json() as { agentToken: string }).agentToken;
}

/** One REST call with a token of the test's choice. */
export function api(
  relay: RelayServer,
  method: string,
  path: string,
  token: string | null,
  body?: unknown,
): Promise<Response> {
  return fetch(`${relay.url}/api${path}`, {
    method,
    headers: {
      ...(token === null ? {} : { "x-agent-relay-token": token }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}
