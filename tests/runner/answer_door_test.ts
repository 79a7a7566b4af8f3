import { assertEquals } from "@std/assert";
import type { Message } from "../../lib/protocol/message.ts";
import { AnswerDoor } from "../../lib/runner/answer_door.ts";

function message(id: number, more: Partial<Message> = {}): Message {
  const base = { storeId: "s", from: "b", to: "a", kind: "reply", body: "", claimable: false, createdAt: 0 };
  return { id, ...base, ...more };
}

/** A door before a queue whose ids are noted. */
function made(): { door: AnswerDoor; queue: number[]; come: (message: Message) => void } {
  const queue: number[] = [];
  const door = new AnswerDoor(({ id }) => queue.push(id));
  return { door, queue, come: (each) => door.takes(each) ? undefined : void queue.push(each.id) };
}

const sent = (id: number) => [() => Promise.resolve(id), (result: number) => result] as const;

Deno.test("AnswerDoor lets pass whatever nobody waits for", async () => {
  const { door, queue, come } = made();
  const [, awaited] = await door.sent(...sent(10));
  come(message(1, { kind: "chat" }));
  come(message(2, { replyTo: 9 }));
  come(message(3, { replyTo: 10, kind: "progress" }));
  assertEquals(queue, [1, 2, 3]);
  awaited!.end();
});

Deno.test("AnswerDoor keeps the answer for its call, and only the first one", async () => {
  const { door, queue, come } = made();
  const [, awaited] = await door.sent(...sent(10));
  come(message(11, { replyTo: 10 }));
  // The bus may push one twice, and a broadcast is answered by many.
  come(message(11, { replyTo: 10 }));
  come(message(12, { replyTo: 10 }));
  const answer = await awaited!.came;
  awaited!.take(answer);
  awaited!.end();
  come(message(13, { replyTo: 10 }));
  assertEquals([answer.id, queue], [11, [12, 13]]);
});

Deno.test("AnswerDoor hands on an answer that was not taken", async () => {
  const { door, queue, come } = made();
  const [, awaited] = await door.sent(...sent(10));
  come(message(11, { replyTo: 10 }));
  awaited!.end();
  awaited!.end();
  assertEquals(queue, [11]);
});

Deno.test("AnswerDoor keeps an answer that the call had from elsewhere when the bus brings it late", async () => {
  const { door, queue, come } = made();
  const [, awaited] = await door.sent(...sent(10));
  awaited!.take(message(11, { replyTo: 10 }));
  come(message(11, { replyTo: 10 }));
  assertEquals(queue, []);
  // One that came over the bus as well, and another that the call returns instead.
  const [, other] = await door.sent(...sent(20));
  come(message(21, { replyTo: 20 }));
  other!.take(message(22, { replyTo: 20 }));
  come(message(22, { replyTo: 20 }));
  assertEquals(queue, [21]);
});

Deno.test("AnswerDoor holds answers while a send is under way, and sorts them after", async () => {
  const { door, queue, come } = made();
  const sending = Promise.withResolvers<number>();
  const pending = door.sent(() => sending.promise, (id) => id);
  come(message(11, { replyTo: 10 }));
  come(message(12, { replyTo: 5 }));
  come(message(13, { kind: "chat" }));
  assertEquals(queue, [13]);
  sending.resolve(10);
  const [, awaited] = await pending;
  assertEquals([(await awaited!.came).id, queue], [11, [13, 12]]);
  // A send that fails keeps nothing back.
  const failing = Promise.withResolvers<number>();
  const failed = door.sent(() => failing.promise, () => null);
  come(message(30, { replyTo: 10 }));
  come(message(31, { replyTo: 29 }));
  failing.reject(new Error("no relay"));
  await failed.catch(() => {});
  awaited!.take(message(11));
  assertEquals(queue, [13, 12, 30, 31]);
});
