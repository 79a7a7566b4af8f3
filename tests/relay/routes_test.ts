import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import type { RelayServer } from "../../lib/relay/contract.ts";
import { httpOf, ShiftedClock, testRelay, TOKEN } from "../support/relay_world.ts";
import { until, withTempDir } from "../support/temp.ts";
import { api, withRelay } from "./component.ts";

/** What a call is about: new for each, so that no call finds what another one did. */
interface Scene {
  /** The agent that the call is about, and another one. */
  self: string;
  other: string;
  /** Messages to `self`: one, one that anybody may claim, one that `self` has claimed, a dead letter. */
  message: number;
  work: number;
  held: number;
  dead: number;
  /** A command for `self`. */
  command: string;
}

const CALLERS = ["none", "self", "other", "operator"] as const;
type Caller = (typeof CALLERS)[number];
/** Statuses in the order of the callers. */
type Answers = readonly [number, number, number, number];

interface Row {
  line: (scene: Scene) => string;
  body?: (scene: Scene) => unknown;
  answers: Answers;
}

const OWN: Answers = [401, 200, 403, 200];
const OPERATOR: Answers = [401, 403, 403, 200];
const ALL: Answers = [401, 200, 200, 200];

const row = (line: Row["line"], answers: Answers, body?: Row["body"]): Row => ({
  line,
  answers,
  ...(body === undefined ? {} : { body }),
});
const agentId = ({ self }: Scene) => ({ agentId: self });
const letter = ({ self, dead }: Scene) => ({ messageId: dead, agentId: self, generation: 0 });

const ROWS: readonly Row[] = [
  row(() => "POST /messages", [401, 201, 403, 201], ({ self }) => ({ from: self, to: self, body: "x" })),
  row(() => "POST /messages", [401, 422, 403, 422], ({ self }) => ({ from: self, to: "nobody", body: "x" })),
  row(() => "POST /messages", [401, 400, 400, 400], () => ({ to: "x" })),
  row(({ self }) => `GET /messages?for=${self}&unread=1`, OWN),
  row(({ self }) => `GET /messages?for=${self}&limit=0`, [401, 400, 403, 400]),
  row(() => "GET /messages", [401, 400, 400, 400]),
  row(() => "GET /messages/cursor", ALL),
  row(() => "GET /messages/latest", ALL),
  row(({ message }) => `GET /messages/${message}`, OWN),
  row(({ message }) => `GET /messages/${message}/thread`, OWN),
  row(({ message }) => `GET /messages/${message}/receipt`, OWN),
  row(({ message }) => `GET /messages/${message}/receipt?waitMs=30001`, [401, 400, 403, 400]),
  row(() => "GET /messages/999999", [401, 404, 404, 404]),
  row(() => "GET /messages/999999/thread", [401, 404, 404, 404]),
  row(() => "GET /messages/999999/receipt", [401, 404, 404, 404]),
  row(() => "GET /messages/x", [401, 404, 404, 404]),
  row(({ work }) => `POST /messages/${work}/claim`, OWN, agentId),
  row(({ message }) => `POST /messages/${message}/claim`, [401, 400, 403, 400], agentId),
  row(
    ({ held }) => `POST /messages/${held}/claim`,
    [401, 403, 409, 409],
    ({ other }) => ({ agentId: other }),
  ),
  row(({ held }) => `POST /messages/${held}/claim/renew`, OWN, agentId),
  row(({ held }) => `POST /messages/${held}/renew-claim`, OWN, agentId),
  row(({ held }) => `POST /messages/${held}/release`, OWN, agentId),
  row(() => "POST /messages/999999/claim", [401, 404, 403, 404], agentId),
  row(({ message }) => `POST /messages/${message}/read`, OWN, agentId),
  row(({ message }) => `PATCH /messages/${message}/read`, OWN, agentId),
  row(({ message }) => `POST /messages/${message}/read`, [401, 400, 400, 400], () => ({})),
  row(
    ({ message }) => `POST /messages/${message}/read`,
    [401, 403, 403, 403],
    ({ other }) => ({ agentId: other }),
  ),
  row(() => "GET /dead", OPERATOR),
  row(({ self }) => `GET /dead?agent=${self}`, OWN),
  row(() => "POST /dead/retry", OPERATOR, letter),
  row(() => "POST /dead/drop", OPERATOR, letter),
  row(
    () => "POST /dead/retry",
    [401, 403, 403, 409],
    (scene) => ({ ...letter(scene), messageId: scene.message }),
  ),
  row(() => "POST /dead/drop", [401, 403, 403, 404], (scene) => ({ ...letter(scene), messageId: 999_999 })),
  row(() => "POST /dead/drop", [401, 403, 403, 400], (scene) => ({ ...letter(scene), generation: -1 })),
  row(() => "POST /receipts", OWN, ({ self, message }) => ({
    reports: [{ messageId: message, agentId: self, stage: "seen", at: Date.now() }],
  })),
  row(() => "POST /receipts", [401, 400, 400, 400], ({ self, message }) => ({
    reports: [{ messageId: message, agentId: self, stage: "reopened", at: Date.now() }],
  })),
  row(() => "GET /agents", ALL),
  row(() => "GET /agents?tag=t&cap=c&label=l&status=idle", ALL),
  row(({ self }) => `GET /agents/${self}`, ALL),
  row(() => "GET /agents/nobody", [401, 404, 404, 404]),
  row(
    () => "POST /agents",
    [401, 201, 403, 201],
    ({ self }) => ({ id: self, instanceId: "one", tags: ["t"] }),
  ),
  row(() => "POST /agents", [401, 400, 400, 400], () => ({ agentId: "x", role: "king" })),
  row(() => "POST /agents", [401, 400, 400, 400], () => ({})),
  row(() => "POST /agents", [401, 403, 403, 422], () => ({ id: "not an id" })),
  row(({ self }) => `POST /agents/${self}/heartbeat`, OWN),
  row(() => "POST /agents/nobody/heartbeat", [401, 403, 403, 404]),
  ...["POST", "PATCH", "PUT"].flatMap((method) => [
    row(({ self }) => `${method} /agents/${self}/status`, OWN, () => ({ status: "busy", ready: true })),
    row(({ self }) => `${method} /agents/${self}/ready`, OWN, () => ({ ready: true })),
    row(({ self }) => `${method} /agents/${self}/label`, OWN, () => ({ label: "l" })),
    row(({ self }) => `${method} /agents/${self}/tags`, OWN, () => ({ tags: ["t"] })),
  ]),
  row(({ self }) => `POST /agents/${self}/status`, [401, 400, 403, 400], () => ({ status: "banana" })),
  row(({ self }) => `POST /agents/${self}/ready`, [401, 400, 403, 400], () => ({ ready: "yes" })),
  row(({ self }) => `POST /agents/${self}/label`, [401, 400, 403, 400], () => ({ label: "a b" })),
  row(({ self }) => `POST /agents/${self}/tags`, [401, 400, 403, 400], () => ({ tags: "t" })),
  row(() => "POST /agents/nobody/tags", [401, 403, 403, 404], () => ({ tags: [] })),
  row(({ self }) => `DELETE /agents/${self}`, OWN),
  row(() => "DELETE /agents/nobody", [401, 403, 403, 404]),
  row(() => "POST /commands", [401, 403, 403, 201], ({ self }) => ({ type: "agent.restart", target: self })),
  row(() => "POST /commands", [401, 403, 403, 400], () => ({ type: "agent.restart" })),
  row(() => "GET /commands", OPERATOR),
  row(({ command }) => `GET /commands/${command}`, OPERATOR),
  row(() => "GET /commands/nothing", [401, 403, 403, 404]),
  ...["POST", "PATCH", "PUT"].map((method) =>
    row(({ command }) => `${method} /commands/${command}`, OPERATOR, () => ({ status: "canceled" }))
  ),
  row(({ command }) => `PATCH /commands/${command}`, [401, 403, 403, 422], () => ({ status: "banana" })),
  row(({ command }) => `PATCH /commands/${command}`, [401, 403, 403, 400], () => ({})),
  row(() => "PATCH /commands/nothing", [401, 403, 403, 404], () => ({ status: "failed" })),
  row(({ command }) => `DELETE /commands/${command}`, OPERATOR),
  row(() => "DELETE /commands/nothing", [401, 403, 403, 404]),
  row(() => "GET /events", OPERATOR),
  row(() => "DELETE /messages", [401, 405, 405, 405]),
  row(() => "GET /nothing", [401, 404, 404, 404]),
  row(() => "GET /agents/%ff", [401, 404, 404, 404]),
];

let scenes = 0;

/** Registers two agents and makes what a call may be about; the tokens are those of an agent, the other, and the operator. */
async function sceneOf(relay: RelayServer): Promise<{ scene: Scene; tokens: Record<Caller, string | null> }> {
  const http = httpOf(relay);
  const number = ++scenes;
  const [self, other] = [`self-${number}`, `other-${number}`];
  const register = async (id: string) => {
    const registration = { id, instanceId: "one", tags: [`scene-${number}`] };
    const answer = await api(relay, "POST", "/agents", TOKEN, registration);
    return (await answer.json() as { agentToken: string }).agentToken;
  };
  const tokens = { none: null, self: await register(self), other: await register(other), operator: TOKEN };
  const send = async (more: object = {}) => {
    const sent = await http.send({ from: "person", to: self, body: "x", ...more });
    assert(sent.ok, sent.ok ? "" : sent.message);
    return sent.value.message.id;
  };
  const [message, work, held, dead, command] = await Promise.all([
    send(),
    send({ claimable: true }),
    send({ claimable: true, to: `tag:scene-${number}` }),
    send(),
    http.createCommand({ type: "agent.restart", target: self }),
  ]);
  assert(command.ok);
  assert((await http.claimMessage(held, { agentId: self })).ok);
  const death = { messageId: dead, agentId: self, stage: "dead" as const, at: Date.now() };
  assert((await http.reportStages([death])).ok);
  return { scene: { self, other, message, work, held, dead, command: command.value.id }, tokens };
}

/** Makes a row's call; returns the status. A refusal has its code and a text. */
async function callOf(relay: RelayServer, each: Row, scene: Scene, token: string | null): Promise<number> {
  const [method, path] = each.line(scene).split(" ") as [string, string];
  const answer = await api(relay, method, path, token, each.body?.(scene));
  if (answer.headers.get("content-type") === "text/event-stream") await answer.body!.cancel();
  else {
    const body = await answer.json() as { error?: string; code?: string };
    if (answer.status >= 400) assertMatch(`${body.code} ${body.error}`, /^E_[A-Z_]+ \S/);
  }
  return answer.status;
}

Deno.test("every route answers each caller with what that caller may do", async () => {
  await withRelay(async (relay) => {
    const wrong: string[] = [];
    for (const each of ROWS) {
      const first = await sceneOf(relay);
      const second = await sceneOf(relay);
      // In an order in which what one may do is in nobody's way: the agent and the operator have a scene each.
      const statuses = {
        none: await callOf(relay, each, first.scene, null),
        other: await callOf(relay, each, first.scene, first.tokens.other),
        self: await callOf(relay, each, first.scene, first.tokens.self),
        operator: await callOf(relay, each, second.scene, TOKEN),
      };
      const answered = CALLERS.map((caller) => statuses[caller]);
      if (answered.join() !== each.answers.join()) {
        wrong.push(`${each.line(first.scene)}: ${answered} and not ${each.answers}`);
      }
    }
    assertEquals(wrong, []);
  });
});

Deno.test("an embedded relay yields to its operator only, and one of its own to nobody", async () => {
  await withTempDir(async (dir) => {
    const embedded = await testRelay(join(dir, "embedded"));
    const { tokens } = await sceneOf(embedded);
    const ask = async (relay: RelayServer, token: string | null) => {
      const answer = await api(relay, "POST", "/relay/yield", token);
      await answer.body?.cancel();
      return answer.status;
    };
    assertEquals(await ask(embedded, tokens.none), 401);
    assertEquals(await ask(embedded, tokens.self), 403);
    assertEquals(await ask(embedded, TOKEN), 202);
    assertEquals(await embedded.finished, "yielded");
    const own = await testRelay(join(dir, "own"), { embedded: false });
    assertEquals(await ask(own, TOKEN), 403);
    await own.stop();
  });
});

Deno.test("the parts of an agent's card change one by one, a heartbeat makes it heard, and health needs no token", async () => {
  await withTempDir(async (dir) => {
    const clock = new ShiftedClock();
    const relay = await testRelay(dir, { clock });
    const { scene: { self }, tokens } = await sceneOf(relay);
    const change = async (part: string, body: object) => {
      const answer = await api(relay, "PATCH", `/agents/${self}/${part}`, tokens.self, body);
      return await answer.json() as Record<string, unknown>;
    };
    const before = await change("label", { label: "api" });
    assertEquals([before.label, before.status], ["api", "online"]);
    assertEquals((await change("tags", { tags: ["x", "y"] })).tags, ["x", "y"]);
    assertEquals((await change("label", {})).label, undefined);
    assertEquals((await change("status", { agentStatus: "busy" })).status, "busy");
    clock.shiftMs += 11_000;
    const card = async () => await (await api(relay, "GET", `/agents/${self}`, TOKEN)).json();
    assertEquals((await card()).status, "stale");
    const beat = await api(relay, "POST", `/agents/${self}/heartbeat`, tokens.self);
    assertEquals(Object.keys(await beat.json()), ["ok", "serverTime"]);
    assertEquals((await card()).status, "busy");
    for (const path of ["/health", "/api/health"]) {
      const health = await (await fetch(relay.url + path)).json();
      assertEquals([health.service, health.storeId], ["agent-relay", relay.storeId]);
    }
    await relay.stop();
  });
});

Deno.test("a command is canceled, listed and removed by the operator", async () => {
  await withRelay(async (relay) => {
    const { scene } = await sceneOf(relay);
    const one = async (method: string, body?: object) => {
      const answer = await api(relay, method, `/commands/${scene.command}`, TOKEN, body);
      return { status: answer.status, value: await answer.json() };
    };
    const canceled = await one("PATCH", { status: "canceled", error: "not needed", result: { why: 1 } });
    assertEquals([canceled.value.status, canceled.value.error, canceled.value.result], [
      "canceled",
      "not needed",
      { why: 1 },
    ]);
    assertEquals((await one("PATCH", { status: "running" })).value.status, "canceled", "an end is final");
    const list = async () => (await (await api(relay, "GET", "/commands", TOKEN)).json()).commands.length;
    assertEquals(await list(), 1);
    assertEquals((await one("DELETE")).value, { ok: true });
    assertEquals([await list(), (await one("GET")).status], [0, 404]);
  });
});

Deno.test("so many wait for one receipt and no more, until there is something new", async () => {
  await withRelay(async (relay) => {
    const { scene } = await sceneOf(relay);
    const length = 300;
    let refused = 0;
    const polls = Array.from({ length }, async () => {
      const answer = await api(
        relay,
        "GET",
        `/messages/${scene.message}/receipt?after=1&waitMs=30000`,
        TOKEN,
      );
      if (answer.status === 429) refused++;
      return { status: answer.status, after: answer.headers.get("retry-after"), ...await answer.json() };
    });
    await until("the refusals", () => refused === length - 256);
    assert((await httpOf(relay).markRead(scene.message, scene.self)).ok);
    const answers = await Promise.all(polls);
    const by = Map.groupBy(answers, ({ status }) => status);
    assertEquals([by.get(200)!.length, by.get(429)!.length], [256, length - 256]);
    assertEquals(by.get(200)!.every(({ version }) => version === 2), true);
    assertEquals(
      by.get(429)!.map(({ code, after }) => [code, after]),
      Array(length - 256).fill(["E_RATE", "1"]),
    );
  });
});
