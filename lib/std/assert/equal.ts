/**
 * Tells whether two values have the same structure: same constructor, same own enumerable keys (symbols too),
 * same entries of maps and sets in any order, same bytes, same time. `NaN` equals `NaN`; cycles are followed once.
 */
export function equal(a: unknown, b: unknown): boolean {
  return compare(a, b, new Map());
}

function compare(
  a: unknown,
  b: unknown,
  seen: Map<object, Set<object>>,
): boolean {
  // 0 and -0 count as equal, as they do in the original.
  if (a === b || Object.is(a, b)) return true;
  if (
    typeof a !== "object" || typeof b !== "object" || a === null || b === null
  ) return false;
  if (!sameConstructor(a, b)) return false;
  const partners = seen.get(a);
  // A pair that is being compared further up: equal unless some other place differs.
  if (partners?.has(b)) return true;
  if (partners) partners.add(b);
  else seen.set(a, new Set([b]));

  if (a instanceof Date && b instanceof Date) {
    return Object.is(a.getTime(), b.getTime());
  }
  if (a instanceof RegExp && b instanceof RegExp) {
    return String(a) === String(b);
  }
  if (a instanceof URL && b instanceof URL) return a.href === b.href;
  if (a instanceof WeakMap || a instanceof WeakSet || a instanceof Promise) {
    return false;
  }
  if (a instanceof WeakRef && b instanceof WeakRef) {
    return compare(a.deref(), b.deref(), seen);
  }
  if (a instanceof Set && b instanceof Set) return sameSet(a, b, seen);
  if (a instanceof Map && b instanceof Map) return sameMap(a, b, seen);
  if (a instanceof ArrayBuffer && b instanceof ArrayBuffer) {
    return sameBytes(new Uint8Array(a), new Uint8Array(b));
  }
  if (ArrayBuffer.isView(a) && ArrayBuffer.isView(b)) return sameView(a, b);
  if (isBoxed(a) && isBoxed(b) && !Object.is(a.valueOf(), b.valueOf())) {
    return false;
  }
  if (a instanceof Error && b instanceof Error) {
    if (
      a.name !== b.name || a.message !== b.message ||
      !compare(a.cause, b.cause, seen)
    ) return false;
  }
  if (Array.isArray(a) && Array.isArray(b) && a.length !== b.length) {
    return false;
  }
  return sameKeys(a, b, seen);
}

function sameConstructor(a: object, b: object): boolean {
  if (a.constructor === b.constructor) return true;
  const plain = (value: object) => value.constructor === undefined || value.constructor === Object;
  return plain(a) && plain(b);
}

function ownKeys(value: object): (string | symbol)[] {
  return Reflect.ownKeys(value).filter((key) => Object.prototype.propertyIsEnumerable.call(value, key));
}

function sameKeys(
  a: object,
  b: object,
  seen: Map<object, Set<object>>,
): boolean {
  const keys = ownKeys(a);
  if (keys.length !== ownKeys(b).length) return false;
  return keys.every((key) =>
    Object.prototype.propertyIsEnumerable.call(b, key) &&
    compare(Reflect.get(a, key), Reflect.get(b, key), seen)
  );
}

function sameSet(
  a: Set<unknown>,
  b: Set<unknown>,
  seen: Map<object, Set<object>>,
): boolean {
  if (a.size !== b.size) return false;
  const rest = [...b].filter((item) => !a.has(item));
  for (const item of a) {
    if (b.has(item)) continue;
    const at = rest.findIndex((other) => compare(item, other, new Map(seen)));
    if (at < 0) return false;
    rest.splice(at, 1);
  }
  return true;
}

function sameMap(
  a: Map<unknown, unknown>,
  b: Map<unknown, unknown>,
  seen: Map<object, Set<object>>,
): boolean {
  if (a.size !== b.size) return false;
  const rest = [...b].filter(([key]) => !a.has(key));
  for (const [key, value] of a) {
    if (b.has(key)) {
      if (!compare(value, b.get(key), seen)) return false;
      continue;
    }
    const at = rest.findIndex(([otherKey, other]) =>
      compare(key, otherKey, new Map(seen)) &&
      compare(value, other, new Map(seen))
    );
    if (at < 0) return false;
    rest.splice(at, 1);
  }
  return true;
}

function sameView(a: ArrayBufferView, b: ArrayBufferView): boolean {
  if (a instanceof Float32Array || a instanceof Float64Array) {
    const other = b as Float64Array;
    return a.length === other.length &&
      a.every((value, i) => value === other[i] || Object.is(value, other[i]));
  }
  return sameBytes(
    new Uint8Array(a.buffer, a.byteOffset, a.byteLength),
    new Uint8Array(b.buffer, b.byteOffset, b.byteLength),
  );
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

function isBoxed(value: object): boolean {
  return value instanceof String || value instanceof Number ||
    value instanceof Boolean;
}
