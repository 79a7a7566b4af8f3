/// <reference lib="deno.worker" />
// A thread that starts processes all the time, until it is terminated.
self.postMessage("forking");
while (true) new Deno.Command("/bin/true").outputSync();
