/// <reference lib="deno.worker" />
// A thread that starts processes all the time, until it is told to end.
self.onmessage = ({ data }) => {
  const over = new Int32Array(data);
  self.postMessage("forking");
  while (Atomics.load(over, 0) === 0) new Deno.Command("/bin/true").outputSync();
  self.postMessage("over");
};
