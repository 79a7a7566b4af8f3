import { assertEquals } from "@std/assert";
import type { Io } from "../../lib/cli/contract.ts";
import { gathered } from "../../lib/cli/run/gathered.ts";

Deno.test("what a run says in one moment is one write, in its order, and a flush does not wait for the moment's end", async () => {
  const written: string[] = [];
  const io: Io = {
    out: (text) => written.push(text),
    err: () => {},
    outIsTerminal: false,
    errIsTerminal: false,
    color: false,
    env: {},
    cwd: "/",
    readStdin: () => Promise.resolve(""),
  };
  const { io: out, flush } = gathered(io);
  out.out("a\n");
  out.out("b\n");
  assertEquals(written, []);
  await Promise.resolve();
  assertEquals(written, ["a\nb\n"]);
  out.out("c\n");
  flush();
  assertEquals(written, ["a\nb\n", "c\n"]);
  await Promise.resolve();
  flush();
  assertEquals(written.length, 2, "nothing is written twice, and nothing is not written");
});
