import type { CallFailure, CloseReason, RelayBus, RelayHttp, TransportState } from "../sdk/contract.ts";

const REASON: CloseReason = { kind: "local" };
const CLOSED: TransportState = { state: "closed", reason: REASON };
const NO_RELAY: CallFailure = { ok: false, kind: "unavailable", message: "this run uses no relay" };

/** The bus of a run without a relay: it is never up, and nothing is ever sent. */
export const noBus: RelayBus = {
  transportState: CLOSED,
  connect: () => {},
  setStatus: () => {},
  statusAsync: () => Promise.resolve(false),
  claim: () => Promise.resolve(NO_RELAY),
  renew: () => Promise.resolve(NO_RELAY),
  release: () => Promise.resolve(NO_RELAY),
  markRead: () => Promise.resolve(NO_RELAY),
  reportStages: () => Promise.resolve(NO_RELAY),
  send: () => Promise.resolve(NO_RELAY),
  updateCommand: () => Promise.resolve(NO_RELAY),
  holdPushes: () => {},
  reconnect: () => {},
  close: () => Promise.resolve(),
};

/** The HTTP side of a run without a relay. */
export const noHttp: Pick<RelayHttp, "listUnread" | "listDead" | "getMessage" | "deleteAgent"> = {
  listUnread: () => Promise.resolve(NO_RELAY),
  listDead: () => Promise.resolve(NO_RELAY),
  getMessage: () => Promise.resolve(NO_RELAY),
  deleteAgent: () => Promise.resolve(NO_RELAY),
};
