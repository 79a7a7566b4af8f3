import type { ApprovalMode, DeliveryChannel } from "../providers/contract.ts";

/** A value and where it came from, so that `runner config` and errors can say it. */
export interface Setting<T> {
  value: T;
  source: "flag" | "environment" | "file" | "default";
  /** Flag, variable, or file with key. */
  where?: string;
}

/** `providers/<name>.json` after validation. */
export interface ProviderSettings {
  command: Setting<string>;
  defaultArgs: Setting<string[]>;
  env: Setting<Record<string, string>>;
  passEnv: Setting<string[]>;
  pluginDirs: Setting<string[]>;
  defaultCapabilities: Setting<string[]>;
  defaultApprovalMode: Setting<ApprovalMode>;
  defaultTags: Setting<string[]>;
  delivery: Setting<DeliveryChannel>;
  tmuxPrefix: Setting<string>;
  shutdownTimeoutMs: Setting<number>;
  allowUnsafeEnv: Setting<boolean>;
}

/** Where things are. All absolute. */
export interface Paths {
  /** `$AGENT_RELAY_HOME`, default `~/.agent-relay`. */
  home: string;
  configFile: string;
  providersDir: string;
  relayTokenFile: string;
  relayDb: string;
  stateDir: string;
  logsDir: string;
}

/** How to reach the relay. `url` null: none configured, use or serve the default address. */
export interface RelaySettings {
  url: Setting<string | null>;
  token: Setting<string | null>;
}

/** What a run is for and how much it may use (see `Goal` of the runner's core); null does not bind. */
export interface GoalSettings {
  once: "prompt" | "message" | null;
  bus: boolean;
  exitOnIdleMs: number | null;
  connectTimeoutMs: number | null;
  maxTurns: number | null;
  maxTimeMs: number | null;
  maxCostUsd: number | null;
}

/** Everything a run needs, resolved: flag, then environment, then file, then default. */
export interface RunSettings {
  paths: Paths;
  relay: RelaySettings;
  /** Port of the embedded relay. */
  port: Setting<number>;
  provider: string;
  providerSettings: ProviderSettings;
  approval: Setting<ApprovalMode>;
  /** Real path of the working directory. */
  cwd: Setting<string>;
  label: Setting<string | null>;
  agentId: Setting<string | null>;
  /** Advertised tags: provider, AGENT_RELAY_TAGS, defaultTags, `headless`. */
  tags: string[];
  /** Advertised capabilities. */
  capabilities: string[];
  headless: boolean;
  goal: GoalSettings;
  /** `last` (of this agent), `new`, or the id of a conversation. */
  conversation: Setting<string>;
  prompt: string | null;
  providerArgs: string[];
  drainTimeoutMs: Setting<number>;
  /** 0: an agent that hangs is left alone. */
  stallTimeoutMs: Setting<number>;
  /** Grace between asking the provider to stop and killing it. */
  stopGraceMs: number;
}
