import { assertEquals } from "@std/assert";
import type { RelayServer } from "../../lib/relay/contract.ts";
import { httpOf, TestAgent, testRelay, TOKEN } from "../support/relay_world.ts";
import { until, withTempDir } from "../support/temp.ts";

interface Frame {
  type: string;
  payload: Record<string, unknown>;
}

/** A component that speaks the bus with a token of the test's choice. */
class Component {
  readonly #socket: WebSocket;
  readonly answers: Frame[] = [];
  readonly closed: Promise<unknown>;
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
    await new Promise((resolve) => socket.onopen = resolve);
    return new Component(socket);
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

const registration = (agentId: string, role: string) => ({
  role,
  agentId,
  componentId: `component-${agentId}`,
  instanceId: crypto.randomUUID(),
  capabilities: [],
  tags: [],
  machine: "machine",
});

async function withRelay(work: (relay: RelayServer) => Promise<void>): Promise<void> {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    try {
      await work(relay);
    } finally {
      await relay.stop();
    }
  });
}

Deno.test("commands need the relay's own token on the bus as well, whatever role a component gives itself", async () => {
  await withRelay(async (relay) => {
    const victim = await new TestAgent(relay.url, "victim").join();
    const command = { commandType: "agent.kill", target: "victim" };
    for (const role of ["provider", "channel", "orchestrator", "integration"]) {
      const agent = await new TestAgent(relay.url, "evil").join();
      const token = agent.bus.agentToken!;
      await agent.bus.close();
      const component = await Component.open(relay, token);
      assertEquals(await component.say("register", registration("evil", role)), "ok", role);
      assertEquals(await component.say("command", command), "E_FORBIDDEN", role);
      await component.close();
    }
    const operator = await Component.open(relay, TOKEN);
    assertEquals(await operator.say("register", registration("desk", "orchestrator")), "ok");
    assertEquals(await operator.say("command", { ...command, commandType: "agent.restart" }), "ok");
    await until("the command", () => victim.commands.length > 0);
    assertEquals(victim.commands, ["agent.restart"]);
    await operator.close();
    await victim.bus.close();
  });
});

Deno.test("a role or a status that does not exist is refused on the bus, and nothing of it is kept", async () => {
  await withRelay(async (relay) => {
    const wrong = await Component.open(relay, TOKEN);
    // The first frame must be a registration, which this is not.
    wrong.send("register", registration("a", "nonsense"));
    await wrong.closed;
    const component = await Component.open(relay, TOKEN);
    assertEquals(await component.say("register", registration("a", "provider")), "ok");
    assertEquals(await component.say("status", { agentStatus: "banana" }), "E_BAD_REQUEST");
    assertEquals(await component.say("heartbeat", { status: "banana" }), "E_BAD_REQUEST");
    assertEquals(await component.say("status", { agentStatus: "busy" }), "ok");
    const listed = await httpOf(relay).listAgents();
    assertEquals(listed.ok && listed.value.map(({ id, kind, status }) => [id, kind, status]), [[
      "a",
      "provider",
      "busy",
    ]]);
    await component.close();
  });
});
