import { join } from "@std/path";
import { noLog } from "../../lib/base/log.ts";
import type { Clock } from "../../lib/base/clock.ts";
import { systemClock } from "../../lib/base/clock.ts";
import type { Message } from "../../lib/protocol/message.ts";
import type { RelayServer } from "../../lib/relay/contract.ts";
import { serveRelay } from "../../lib/relay/serve.ts";
import { RelayBusClient, RelayHttpClient } from "../../lib/sdk/mod.ts";
import type { TransportState } from "../../lib/sdk/contract.ts";
import { freePort, until } from "./temp.ts";

/** Token of the relay in tests. */
export const TOKEN = "open-sesame-token";

/** A clock whose wall time can be moved on while its timers stay real. */
export class ShiftedClock implements Clock {
  shiftMs = 0;
  wall = () => systemClock.wall() + this.shiftMs;
  mono = () => systemClock.mono() + this.shiftMs;
  setTimer = (delayMs: number, callback: () => void) => systemClock.setTimer(delayMs, callback);
}

/** Serves a real relay for a test. */
export function testRelay(
  dir: string,
  options: { token?: string | null; port?: number; clock?: Clock; leaseMs?: number; embedded?: boolean } = {},
): Promise<RelayServer> {
  return serveRelay({
    hostname: "127.0.0.1",
    port: options.port ?? freePort(),
    dbPath: join(dir, "relay.db"),
    token: options.token === undefined ? TOKEN : options.token,
    embedded: options.embedded ?? true,
    version: "test",
    leaseMs: options.leaseMs ?? 60_000,
    clock: options.clock ?? systemClock,
    log: noLog,
  });
}

/** An agent on the bus that only listens. */
export class TestAgent {
  readonly bus: RelayBusClient;
  readonly messages: Message[] = [];
  readonly commands: string[] = [];
  readonly states: TransportState[] = [];

  constructor(
    url: string,
    readonly id: string,
    options: {
      label?: string;
      tags?: string[];
      caps?: string[];
      token?: string | null;
      instanceId?: string;
      heartbeatIntervalMs?: number;
      clock?: Clock;
    } = {},
  ) {
    this.bus = new RelayBusClient({
      url,
      token: options.token === undefined ? TOKEN : options.token,
      registration: {
        role: "provider",
        componentId: `run-${id}`,
        agentId: id,
        instanceId: options.instanceId ?? crypto.randomUUID(),
        capabilities: options.caps ?? ["chat"],
        tags: options.tags ?? ["test"],
        machine: "machine",
        meta: options.label === undefined ? {} : { label: options.label },
      },
      events: {
        state: (state) => this.states.push(state),
        message: (message) => this.messages.push(message),
        command: (command) => this.commands.push(command.commandType),
      },
      clock: options.clock ?? systemClock,
      random: () => 0.5,
      log: noLog,
      ...(options.heartbeatIntervalMs === undefined
        ? {}
        : { heartbeatIntervalMs: options.heartbeatIntervalMs }),
    });
  }

  /** Connects and resolves once registered and ready. */
  async join(): Promise<this> {
    this.bus.connect();
    await until("registration", () => this.bus.transportState.state === "registered");
    await this.bus.statusAsync({ agentStatus: "idle", ready: true });
    return this;
  }

  /** Resolves once a message with this body came. */
  async untilGot(body: string, count = 1): Promise<void> {
    await until(
      `message ${body}`,
      () => this.messages.filter((message) => message.body === body).length >= count,
    );
  }
}

/** An HTTP client with the relay's token, or another one. */
export function httpOf(relay: RelayServer, token: string | null = TOKEN): RelayHttpClient {
  return new RelayHttpClient({ url: relay.url, token });
}
