/** Client of an agent relay, modelled on the Agent Relay protocol: the bus and the REST side. */
export { RelayBusClient } from "./bus_client.ts";
export { type HttpClientOptions, RelayHttpClient } from "./http_client.ts";
export type * from "./contract.ts";
export type { AgentCard, Command, Message, Receipt, SendInput, SendResult } from "../protocol/message.ts";
