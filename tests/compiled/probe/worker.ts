/// <reference lib="deno.worker" />
self.onmessage = async ({ data }: MessageEvent<string>) => {
  try {
    await import(data);
    self.postMessage(null);
  } catch (error) {
    const { name, message } = error as Error;
    self.postMessage({ name, message });
  }
};
