/// <reference lib="deno.worker" />
// A thread that takes the place of agent "a" again and again, and looks each time whether it has it alone.
import { RunnerError } from "../../lib/base/errors.ts";
import { lockInstance } from "../../lib/process/lock.ts";

self.onmessage = ({ data: { stateDir, over } }: MessageEvent<{ stateDir: string; over: Int32Array }>) => {
  const wrong: string[] = [];
  let got = 0;
  while (Atomics.load(over, 0) === 0) {
    try {
      const lock = lockInstance({ stateDir, agentId: () => "a", fixed: true, pid: Number(self.name) });
      try {
        got++;
        // Another one would have written over it, or there would be no such directory.
        Deno.writeTextFileSync(`${lock.dir}/mine`, self.name);
        for (const [name, text] of [["lock", `${self.name}\n`], ["mine", self.name]]) {
          const found = Deno.readTextFileSync(`${lock.dir}/${name}`);
          if (found !== text) wrong.push(`${name}: ${found}`);
        }
      } finally {
        lock.release();
      }
    } catch (error) {
      if (!(error instanceof RunnerError && error.code === "E_LOCKED")) wrong.push(String(error));
    }
  }
  self.postMessage({ got, wrong: wrong.slice(0, 5) });
};
