/** Something that happens at a moment of virtual time; `run` is null once it was cancelled. */
export interface Entry {
  readonly at: number;
  readonly order: number;
  run: (() => void) | null;
}

/** Virtual time in milliseconds and what is going to happen in it: one queue, one thread, no real timer. */
export class Timeline {
  now = 0;
  #heap: Entry[] = [];
  #order = 0;

  /** Lets `run` happen at `at`, or now when that has passed. What is due together happens in the order of the calls. */
  at(at: number, run: () => void): Entry {
    const entry = { at: at > this.now ? at : this.now, order: this.#order++, run };
    const heap = this.#heap;
    let index = heap.push(entry) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!before(entry, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = entry;
    return entry;
  }

  after(delayMs: number, run: () => void): Entry {
    return this.at(this.now + delayMs, run);
  }

  /** Lets the next thing happen; false when nothing is left or it lies beyond `until`. */
  advance(until: number): boolean {
    for (;;) {
      const entry = this.#heap[0];
      if (entry === undefined || entry.at > until) return false;
      this.#pop();
      const { run } = entry;
      if (run === null) continue;
      entry.run = null;
      this.now = entry.at;
      run();
      return true;
    }
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
  }
}

function before(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
