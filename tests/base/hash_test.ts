import { assertEquals } from "@std/assert";
import { createHash, createHmac } from "node:crypto";
import { utf8Length } from "../../lib/base/bytes.ts";
import { hmacSha256, sha1, sha1Here, sha256, sha256Here, sha256Hex } from "../../lib/base/hash.ts";

const hex = (bytes: Uint8Array) => bytes.toHex();

Deno.test("sha256(), sha1() and hmacSha256() give the published test vectors", () => {
  assertEquals(sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  assertEquals(sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  assertEquals(hex(sha1("abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
  assertEquals(
    hex(hmacSha256("Jefe", "what do ya want for nothing?")),
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
  );
});

Deno.test("sha256() gives the same before and after it moves to the runtime's own", () => {
  const texts = Array.from({ length: 2_000 }, (_, i) => `text ${i} ${"x".repeat(i % 200)}`);
  for (const text of texts) {
    assertEquals(sha256Hex(text), createHash("sha256").update(text).digest("hex"));
  }
});

Deno.test("sha256(), sha1() and hmacSha256() give what node:crypto gives, at every length around a block and for any key", () => {
  let compared = 0;
  for (let length = 0; length <= 260; length++) {
    // A view into a larger buffer, so that an ignored offset is seen.
    const bytes = crypto.getRandomValues(new Uint8Array(length + 3)).subarray(3);
    for (const each of [sha256, sha256Here]) {
      assertEquals(hex(each(bytes)), createHash("sha256").update(bytes).digest("hex"));
    }
    for (const each of [sha1, sha1Here]) {
      assertEquals(hex(each(bytes)), createHash("sha1").update(bytes).digest("hex"));
    }
    const key = crypto.getRandomValues(new Uint8Array(length));
    assertEquals(hex(hmacSha256(key, bytes)), createHmac("sha256", key).update(bytes).digest("hex"));
    compared++;
  }
  const large = crypto.getRandomValues(new Uint8Array(60_000));
  const text = "ü€😀\ud800".repeat(5_000);
  for (const each of [sha256, sha256Here]) {
    assertEquals(hex(each(large)), createHash("sha256").update(large).digest("hex"));
  }
  assertEquals(sha256Hex(text), createHash("sha256").update(text).digest("hex"));
  assertEquals(compared, 261);
});

Deno.test("utf8Length() counts what the encoder writes, lone surrogates too", () => {
  const pieces = ["a", "\x7f", "ü", "\u07ff", "€", "\uffff", "😀", "\ud800", "\udc00", ""];
  for (const first of pieces) {
    for (const second of pieces) {
      for (const third of pieces) {
        const text = first + second + third;
        assertEquals(utf8Length(text), new TextEncoder().encode(text).length, JSON.stringify(text));
      }
    }
  }
});
