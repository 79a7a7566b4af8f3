import { assert, assertEquals, assertThrows } from "@std/assert";
import { lines } from "../../lib/base/bytes.ts";
import { RunnerError } from "../../lib/base/errors.ts";
import { WatchDoor } from "../../lib/control/watch.ts";

interface Numbered {
  type: string;
  n?: number;
  events?: number;
  text?: string;
}

const door = () => new WatchDoor((event) => JSON.stringify(event));
const publish = (door: WatchDoor, event: Numbered) => {
  door.publish({ event, chars: event.text?.length ?? 1 });
};

async function all(response: Response): Promise<Numbered[]> {
  const events: Numbered[] = [];
  for await (const line of lines(response.body!, { maxLineBytes: 4 * 1024 * 1024 })) {
    if (line.kind === "line") events.push(JSON.parse(line.text) as Numbered);
  }
  return events;
}

Deno.test("who watches gets the last events and then the new ones, until the end", async () => {
  const watched = door();
  for (let n = 1; n <= 300; n++) publish(watched, { type: "stage", n });
  const heard = all(watched.accept());
  publish(watched, { type: "end", n: 301 });
  watched.stop();
  const numbers = (await heard).map(({ n }) => n);
  assertEquals([numbers.length, numbers[0], numbers.at(-1)], [201, 101, 301]);
});

Deno.test("what is kept for those who come is bounded by its size as well, but for the last", async () => {
  const watched = door();
  const long = "x".repeat(40_000);
  for (let n = 1; n <= 5; n++) publish(watched, { type: "output", n, text: long });
  publish(watched, { type: "output", n: 6, text: long.repeat(3) });
  const heard = all(watched.accept());
  watched.stop();
  assertEquals((await heard).map(({ n }) => n), [6]);
});

Deno.test("a watcher that does not read holds up nobody, and is told how much it missed", async () => {
  const watched = door();
  const slow = watched.accept();
  const text = "x".repeat(100_000);
  for (let n = 1; n <= 50; n++) publish(watched, { type: "output", n, text });
  const reader = slow.body!.getReader();
  const first = await reader.read();
  assert(first.value !== undefined);
  reader.releaseLock();
  publish(watched, { type: "stage", n: 51 });
  watched.stop();
  const rest = await all(slow);
  const missed = rest.find(({ type }) => type === "dropped")?.events ?? 0;
  const taken = 1 + rest.filter(({ type }) => type === "output").length;
  assertEquals(taken + missed, 50);
  assert(missed >= 38 && missed <= 42, String(missed));
  assertEquals(rest.at(-1), { type: "stage", n: 51 });
});

Deno.test("eight may watch; the ninth is refused until one has gone", async () => {
  const watched = door();
  const eight = Array.from({ length: 8 }, () => watched.accept());
  const error = assertThrows(() => watched.accept(), RunnerError);
  assertEquals(error.code, "E_RATE");
  await eight[3]!.body!.cancel();
  const ninth = watched.accept();
  watched.stop();
  assertEquals(await all(ninth), []);
  assertEquals(await all(watched.accept()), [], "who comes after the end sees it at once");
});
