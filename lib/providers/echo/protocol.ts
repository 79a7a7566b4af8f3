import type { FailureClass } from "../contract.ts";

/**
 * The line protocol between the echo adapter and its child: one JSON object per line. It exists so that the
 * whole way of a message can be seen and tested without any agent installed.
 */
export type EchoInput =
  | { type: "deliver"; deliveryId: string; text: string }
  | { type: "interrupt" }
  | { type: "stop" };

/** What the child answers, in this order for every delivery. */
export type EchoOutput =
  | { type: "ready" }
  | { type: "placed" | "seen"; deliveryId: string }
  | { type: "turn" }
  | { type: "done"; deliveryId: string; text: string; costUsd?: number }
  | { type: "failed"; deliveryId: string; failure: FailureClass; reason: string };

/** Largest line either side takes: a body of 1 MiB, JSON-escaped in the worst case, fits. */
export const ECHO_LINE_LIMIT = 8 * 1024 * 1024;

/** In the record, before the id of a delivery whose answer had begun. */
export const SEEN = "seen ";

/** Name of the child's own record of what it has handled, below the agent's state directory. */
export const ECHO_RECORD = "echo.log";
