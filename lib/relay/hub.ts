import { utf8Length } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { BUS_CLOSE } from "../protocol/frames.ts";
import type { BusRole, Command, Message } from "../protocol/message.ts";
import type { FrameBatch } from "../transport/frame_batch.ts";
import type { DeadLetterKey } from "./dead_letters.ts";

/** Pushes a connection may owe an ack for, and their bytes. */
const IN_FLIGHT = 256;
const IN_FLIGHT_BYTES = 2 * 1024 * 1024;
/** A push that was not acked is sent again after this time. */
const RESEND_MS = 30_000;
/** A client that sends nothing, not even heartbeats, for so long is gone. */
const SILENT_MS = 60_000;
/** Most bytes that may wait for a client that does not read. */
const SEND_BUFFER = 4 * 1024 * 1024;

/** One registered socket. */
export interface Connection {
  readonly socket: WebSocket;
  /** What is sent to it. */
  readonly out: FrameBatch;
  readonly agentId: string;
  readonly instanceId: string;
  readonly role: BusRole;
  /** Pushed frames that were not acked, by frame id. */
  readonly unacked: Map<string, { text: string; bytes: number; at: number }>;
  /** Their bytes on the wire, of which a socket holds no more than the send buffer. */
  unackedBytes: number;
  /** Highest message id pushed on this connection. */
  cursor: number;
  /** Messages above the cursor may wait in the database. */
  behind: boolean;
  heardAt: number;
}

/** Where the hub finds what an agent has not read; `more` when that was not all. */
export type UnreadSource = (
  agentId: string,
  sinceId: number,
  limit: number,
) => { messages: Message[]; more: boolean };

/** The registered sockets and what is pushed to them. */
export class Hub {
  readonly #clock: Clock;
  readonly #unread: UnreadSource;
  readonly #byAgent = new Map<string, Connection>();

  constructor(clock: Clock, unread: UnreadSource) {
    this.#clock = clock;
    this.#unread = unread;
  }

  isConnected(agentId: string): boolean {
    return this.#byAgent.has(agentId);
  }

  get connections(): Connection[] {
    return [...this.#byAgent.values()];
  }

  /** Takes a registered socket in; an older one of the same agent is closed as replaced. */
  attach(
    info: Pick<Connection, "socket" | "out" | "agentId" | "instanceId" | "role">,
  ): Connection {
    const older = this.#byAgent.get(info.agentId);
    const connection: Connection = {
      ...info,
      unacked: new Map(),
      unackedBytes: 0,
      cursor: 0,
      behind: true,
      heardAt: this.#clock.mono(),
    };
    this.#byAgent.set(info.agentId, connection);
    if (older !== undefined && older.socket !== info.socket) {
      close(older, BUS_CLOSE.replaced, "another instance registered");
    }
    return connection;
  }

  /** Forgets a socket; true when it was the agent's current one. */
  detach(connection: Connection): boolean {
    if (this.#byAgent.get(connection.agentId) !== connection) return false;
    this.#byAgent.delete(connection.agentId);
    return true;
  }

  /** Pushes what the agent has not read and did not get on this connection yet, within the in-flight bound. */
  pump(agentId: string): void {
    const connection = this.#byAgent.get(agentId);
    if (connection === undefined) return;
    connection.behind = true;
    if (!hasRoom(connection)) return;
    const { messages, more } = this.#unread(agentId, connection.cursor, IN_FLIGHT - connection.unacked.size);
    for (const message of messages) {
      if (!hasRoom(connection)) return;
      connection.cursor = Math.max(connection.cursor, message.id);
      this.#pushMessage(connection, message);
    }
    connection.behind = more;
  }

  /** Pushes a message that was just stored. Must be called in the order of the ids: a lower one counts as pushed. */
  offer(agentId: string, message: Message): void {
    const connection = this.#byAgent.get(agentId);
    if (connection === undefined || connection.cursor >= message.id) return;
    // What waits comes first; the acks of what is on its way bring it.
    if (connection.behind || !hasRoom(connection)) {
      connection.behind = true;
      return;
    }
    connection.cursor = message.id;
    this.#pushMessage(connection, message);
  }

  /** Offers one message again, also when it was pushed before (its claim lapsed or was given back). */
  offerAgain(agentId: string, message: Message): void {
    const connection = this.#byAgent.get(agentId);
    if (connection === undefined) return;
    if (connection.cursor >= message.id) this.#pushMessage(connection, message);
    // It was held by another agent when the pages passed it.
    else this.pump(agentId);
  }

  #pushMessage(connection: Connection, message: Message): void {
    const id = `evt-${message.id}`;
    this.#push(connection, id, {
      type: "event",
      id,
      payload: { seq: message.id, event: "message.new", data: message },
    });
  }

  /** Tells an agent that a person dropped a dead letter of it. One that is away finds out when it comes. */
  pushDropped({ agentId, messageId, generation }: DeadLetterKey, storeId: string): void {
    const connection = this.#byAgent.get(agentId);
    if (connection === undefined) return;
    const id = `drop-${messageId}-${generation}`;
    const data = { storeId, messageId, generation };
    this.#push(connection, id, {
      type: "event",
      id,
      payload: { seq: messageId, event: "message.dropped", data },
    });
  }

  /** Pushes a command to the agent it is for; false when it is not there. */
  pushCommand(command: Command): boolean {
    const connection = this.#byAgent.get(command.target);
    if (connection === undefined) return false;
    this.#push(connection, command.id, {
      type: "command",
      id: command.id,
      payload: {
        commandType: command.type,
        target: command.target,
        params: command.params,
        commandId: command.id,
        command,
      },
    });
    return true;
  }

  #push(connection: Connection, id: string, frame: object): void {
    const text = JSON.stringify(frame);
    const bytes = utf8Length(text);
    connection.unackedBytes += bytes - (connection.unacked.get(id)?.bytes ?? 0);
    connection.unacked.set(id, { text, bytes, at: this.#clock.mono() });
    connection.out.send(text);
  }

  /** A frame came from the connection's peer. */
  heard(connection: Connection): void {
    connection.heardAt = this.#clock.mono();
  }

  /** A push arrived; there is room for the next. */
  acked(connection: Connection, frameId: string): void {
    const push = connection.unacked.get(frameId);
    if (push === undefined) return;
    connection.unacked.delete(frameId);
    connection.unackedBytes -= push.bytes;
    // In pages: a query for every ack would cost more than the messages it brings.
    const half = connection.unacked.size <= IN_FLIGHT / 2 && connection.unackedBytes <= IN_FLIGHT_BYTES / 2;
    if (connection.behind && half) this.pump(connection.agentId);
  }

  /** Repeats pushes without ack and drops silent sockets. Called at least every 5 s. */
  sweep(): void {
    const now = this.#clock.mono();
    for (const connection of this.#byAgent.values()) {
      if (now - connection.heardAt > SILENT_MS) {
        close(connection, BUS_CLOSE.goingAway, "silent");
        continue;
      }
      for (const push of connection.unacked.values()) {
        if (now - push.at < RESEND_MS) continue;
        push.at = now;
        connection.out.send(push.text);
      }
    }
  }

  /** Drops every client; each comes again. */
  dropAll(): void {
    for (const connection of this.#byAgent.values()) {
      close(connection, BUS_CLOSE.tooSlow, "the relay is short of memory");
    }
  }

  /** Closes every socket. */
  closeAll(): void {
    for (const connection of this.#byAgent.values()) {
      close(connection, BUS_CLOSE.goingAway, "the relay stops");
    }
    this.#byAgent.clear();
  }
}

function hasRoom(connection: Connection): boolean {
  return connection.unacked.size < IN_FLIGHT && connection.unackedBytes < IN_FLIGHT_BYTES;
}

/** Closes a connection after what was to be sent to it. */
function close(connection: Connection, code: number, reason: string): void {
  connection.out.flush();
  connection.socket.close(code, reason);
}

/** Sends a text unless the peer has stopped reading; such a peer is dropped. */
export function sendText(socket: WebSocket, text: string): void {
  if (socket.readyState !== WebSocket.OPEN) return;
  if (socket.bufferedAmount > SEND_BUFFER) return socket.close(BUS_CLOSE.tooSlow, "does not read");
  socket.send(text);
}
