/**
 * What is due when, by key: the earliest in constant time, changes in logarithmic time. An entry whose time is
 * Infinity is kept but never due. Pure; times are whatever clock the owner uses.
 */
export class Agenda {
  readonly #due = new Map<string, number>();
  /** A binary heap by time. Entries that no longer agree with the map are passed over when they come up. */
  #heap: { at: number; key: string }[] = [];

  get size(): number {
    return this.#due.size;
  }

  keys(): Iterable<string> {
    return this.#due.keys();
  }

  has(key: string): boolean {
    return this.#due.has(key);
  }

  /** Sets or moves the time of a key. */
  set(key: string, at: number): void {
    this.#due.set(key, at);
    if (at === Infinity) return;
    // Stale entries are bounded by rebuilding, so that a key that is moved often costs no memory.
    if (this.#heap.length > 64 && this.#heap.length > 4 * this.#due.size) this.#rebuild();
    else this.#push({ at, key });
  }

  delete(key: string): void {
    this.#due.delete(key);
  }

  /** The earliest time, Infinity when nothing will ever be due. */
  next(): number {
    this.#settle();
    return this.#heap[0]?.at ?? Infinity;
  }

  /** Makes everything due at `at` that was due later, also what was put off for ever. */
  hasten(at: number): void {
    for (const [key, due] of this.#due) if (due > at) this.set(key, at);
  }

  /** Puts every key that is due off for ever and returns them, earliest first. The owner sets or deletes them. */
  take(now: number): string[] {
    const keys: string[] = [];
    while (this.next() <= now) {
      const { key } = this.#pop();
      this.#due.set(key, Infinity);
      keys.push(key);
    }
    return keys;
  }

  #settle(): void {
    while (this.#heap.length > 0 && this.#due.get(this.#heap[0]!.key) !== this.#heap[0]!.at) this.#pop();
  }

  #rebuild(): void {
    this.#heap = [];
    for (const [key, at] of this.#due) if (at !== Infinity) this.#push({ at, key });
  }

  #push(entry: { at: number; key: string }): void {
    const heap = this.#heap;
    let child = heap.push(entry) - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (heap[parent]!.at <= entry.at) break;
      heap[child] = heap[parent]!;
      child = parent;
    }
    heap[child] = entry;
  }

  #pop(): { at: number; key: string } {
    const heap = this.#heap;
    const top = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return top;
    let parent = 0;
    for (;;) {
      let child = 2 * parent + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.at < heap[child]!.at) child++;
      if (heap[child]!.at >= last.at) break;
      heap[parent] = heap[child]!;
      parent = child;
    }
    heap[parent] = last;
    return top;
  }
}
