import type { Clock } from "../base/clock.ts";
import { messageOf, RunnerError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { decodeClientFrames, type DecodedFrame, isMessageId } from "../protocol/codec.ts";
import { BUS_CLOSE, type ClientFrame } from "../protocol/frames.ts";
import { type StageReport, STAGES } from "../protocol/message.ts";
import { boundTo, type Caller, mustBe, mustBeOperator } from "./auth.ts";
import { FrameBatch } from "../transport/frame_batch.ts";
import { type Connection, sendText } from "./hub.ts";
import type { RelayService } from "./service.ts";

const SIDE_STAGES = new Set(["skipped", "retry", "held", "dead", "failed", "expired"]);
/** Frames a client may have unanswered; beyond it the socket is dropped. */
const BACKLOG = 4_096;
/** A socket that does not register in this time is closed. */
const REGISTER_MS = 10_000;

/** Speaks the bus with one socket until it closes. */
export function serveBus(
  socket: WebSocket,
  options: { service: RelayService; caller: Caller; clock: Clock; log: Log },
): void {
  const { service, caller, clock, log } = options;
  let connection: Connection | null = null;
  let working = 0;
  const cancelDeadline = clock.setTimer(REGISTER_MS, () => {
    if (connection === null) socket.close(BUS_CLOSE.badFirstFrame, "no registration");
  });
  const out = new FrameBatch({ write: (text) => sendText(socket, text) });
  const answer = (frame: object) => out.send(JSON.stringify(frame));
  const fail = (frameId: string | undefined, error: unknown) => {
    if (!(error instanceof RunnerError)) log.error("a bus frame failed", { error: messageOf(error) });
    const code = error instanceof RunnerError ? error.code : "E_INTERNAL";
    const message = error instanceof RunnerError ? error.message : "internal error";
    if (frameId !== undefined) answer({ type: "error", id: frameId, payload: { frameId, code, message } });
  };

  const register = async (frame: Extract<ClientFrame, { type: "register" }>) => {
    const agentId = frame.payload.agentId ?? frame.payload.componentId;
    mustBe(caller, agentId);
    const registered = await service.register(frame.payload, boundTo(caller));
    if (socket.readyState !== WebSocket.OPEN) return;
    connection = service.hub.attach({
      socket,
      out,
      agentId: registered.agentId,
      instanceId: registered.instanceId,
      role: frame.payload.role,
    });
    answer({ type: "ack", id: frame.id, payload: { frameId: frame.id, ok: true, ...registered } });
    answer({ type: "registered", id: frame.id, payload: registered });
    // Not before: the answer comes in a text of its own, so that nothing which waits for the agent can keep it off the bus.
    out.taken = frame.payload.batch === true;
    service.welcome(connection);
  };

  const handle = async (frame: ClientFrame): Promise<Record<string, unknown>> => {
    const self = connection!;
    const own = (agentId: string) => {
      if (agentId !== self.agentId) throw new RunnerError("E_FORBIDDEN", `registered as ${self.agentId}`);
    };
    switch (frame.type) {
      case "register":
        throw new RunnerError("E_BAD_REQUEST", "registered already");
      case "heartbeat":
        service.heartbeat(self.agentId, frame.payload.status);
        return { serverTime: service.now };
      case "status":
        service.status(self.agentId, frame.payload);
        return {};
      case "subscribe":
        return {};
      case "ack":
        service.hub.acked(self, frame.payload.frameId);
        return {};
      case "resume":
        // What a resume could bring is pushed anyway: a component gets everything it has not read.
        return { cursor: service.messages.cursor() };
      case "command": {
        // The role is what a component says of itself; whose token it shows is not.
        mustBeOperator(caller);
        const { commandType, target, params } = frame.payload;
        return {
          command: await service.createCommand({ type: commandType, target, params, source: self.agentId }),
        };
      }
      case "command.update": {
        const command = service.commands.one(frame.payload.commandId);
        if (command !== undefined && command.target !== self.agentId) {
          throw new RunnerError("E_FORBIDDEN", "the command is for another agent");
        }
        await service.updateCommand(frame.payload);
        return {};
      }
      case "message.send": {
        own(frame.payload.from);
        return { ...await service.send(frame.payload, boundTo(caller)) };
      }
      case "message.claim":
      case "message.renew":
        own(frame.payload.agentId);
        return {
          ...await service.claim(frame.payload.messageId, frame.payload, frame.type === "message.renew"),
        };
      case "message.release":
        own(frame.payload.agentId);
        await service.release(frame.payload.messageId, frame.payload);
        return {};
      case "message.read":
        own(frame.payload.agentId);
        await service.read(frame.payload.messageIds, frame.payload.agentId);
        return { read: frame.payload.messageIds };
      case "receipt.report": {
        const reports = validReports(frame.payload.reports);
        for (const report of reports) own(report.agentId);
        await service.report(reports);
        return {};
      }
    }
  };

  socket.onmessage = (event) => {
    const frames: DecodedFrame<ClientFrame>[] = typeof event.data === "string"
      ? decodeClientFrames(event.data)
      : [{ ok: false, reason: "binary frame" }];
    if (connection !== null) {
      service.hub.heard(connection);
      for (const frame of frames) take(frame, event.data);
      return;
    }
    const [first] = frames;
    if (frames.length !== 1 || !first?.ok || first.value.type !== "register" || working > 0) {
      return socket.close(BUS_CLOSE.badFirstFrame, "the first frame must be register");
    }
    const frame = first.value;
    working++;
    register(frame).catch((error) => fail(frame.id, error)).finally(() => working--);
  };

  const take = (decoded: DecodedFrame<ClientFrame>, data: unknown) => {
    if (!decoded.ok) return fail(decoded.id ?? idOf(data), new RunnerError("E_BAD_REQUEST", decoded.reason));
    if (working >= BACKLOG) return socket.close(BUS_CLOSE.tooSlow, "too many frames at once");
    const frame = decoded.value;
    working++;
    handle(frame).then(
      (more) => {
        if (frame.id !== undefined) {
          answer({ type: "ack", id: frame.id, payload: { frameId: frame.id, ok: true, ...more } });
        }
      },
      (error) => fail(frame.id, error),
    ).finally(() => working--);
  };
  socket.onclose = () => {
    cancelDeadline();
    if (connection !== null) service.left(connection);
  };
  socket.onerror = () => {};
}

/** The id of a text that could not be decoded, so that its sender gets an answer. */
function idOf(data: unknown): string | undefined {
  if (typeof data !== "string") return undefined;
  try {
    const id = (JSON.parse(data) as { id?: unknown } | null)?.id;
    return typeof id === "string" && id.length <= 128 ? id : undefined;
  } catch {
    return undefined;
  }
}

/** What names a delivery: printable, and no longer than the ids of any agent. */
const DELIVERY_ID = /^[!-~]{1,128}$/;

/** Checks the form of stage reports; the first bad one refuses them all. What they say is the store's to judge. */
export function validReports(reports: unknown): StageReport[] {
  const bad = () => new RunnerError("E_BAD_REQUEST", "ill-typed stage report");
  if (!Array.isArray(reports) || reports.length > 1_000) throw bad();
  for (const report of reports as Partial<StageReport>[]) {
    const stage = report?.stage as string;
    const known = (STAGES as readonly string[]).includes(stage) || SIDE_STAGES.has(stage);
    if (!known || !isMessageId(report.messageId) || typeof report.agentId !== "string") throw bad();
    if (typeof report.at !== "number" || !Number.isFinite(report.at)) throw bad();
    if (report.evidence !== undefined && typeof report.evidence !== "string") throw bad();
    const { deliveryId, attempt } = report;
    if (deliveryId !== undefined && !(typeof deliveryId === "string" && DELIVERY_ID.test(deliveryId))) {
      throw bad();
    }
    if (attempt !== undefined && !isMessageId(attempt)) throw bad();
    if (report.generation !== undefined && !isMessageId(report.generation)) throw bad();
  }
  return reports as StageReport[];
}
