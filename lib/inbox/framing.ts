import type { Message } from "../protocol/message.ts";

/** What a frame says about its message. */
export interface Frame {
  nonce: string;
  id: string;
  from: string;
  subject: string | null;
  redelivery: number;
  bytes: number;
  trust: string;
  body: string;
}

/**
 * Returns the message as the model gets it (S-10): a frame of its own with a random nonce that the sender cannot
 * know, header values JSON-encoded, trust and length stated. `nonce` is 128 bits in hex. `mentions: "shown"` is for an agent
 * that would act on them.
 */
export function frameMessage(
  message: Message,
  options: { nonce: string; redelivery: number; mentions?: "shown" },
): string {
  const { nonce, redelivery, mentions } = options;
  const inert = mentions === "shown" ? showMentions : String;
  const body = inert(canonicalBody(message.body));
  const subject = message.subject === undefined ? "" : ` subject=${header(inert(message.subject))}`;
  const bytes = new TextEncoder().encode(body).length;
  const open = `<relay-message nonce=${nonce} id=${header(String(message.id))} from=${header(message.from)}` +
    `${subject} redelivery=${redelivery} bytes=${bytes} trust="untrusted">`;
  return `${open}\n${body}\n</relay-message nonce=${nonce}>`;
}

/**
 * Returns the text without mentions of files: an `@` that does not stand within a word, like that of a mail address, becomes
 * `\u{40}`. Claude Code (2.1.330, stream-json) takes `@path` in any prompt for a wish of its user, and sends the file to the
 * model without asking, whatever the approval mode.
 */
export function showMentions(text: string): string {
  return text.replace(/(?<![A-Za-z0-9._%+-])@/g, "\\u{40}");
}

/** Returns the text with every character shown that a reader would not see or that could forge a frame. */
export function canonicalBody(text: string): string {
  return showInvisible(text.toWellFormed().replace(/\r\n|[\r\u2028\u2029]/g, "\n"))
    .replace(/<(\/?)(relay-message)/gi, "\\<$1$2");
}

/** Header values are one line: JSON escapes line feeds and quotes, the rest is shown as in bodies. */
function header(value: string): string {
  const shown = showInvisible(value.toWellFormed().replace(/[\u2028\u2029]/g, "\n"));
  return JSON.stringify(shown.replace(/<(\/?)(relay-message)/gi, "\\<$1$2").replaceAll("\t", " "))
    .replaceAll(">", "\\u003e");
}

/**
 * Shows C0 (but LF and TAB), DEL, C1, bidi controls, tag characters, the byte order mark and every other format
 * character except ZWJ and ZWNJ (which scripts and emoji need) as `\u{XX}`. The backslash is left alone: the
 * result is for reading, the relay keeps the original.
 */
function showInvisible(text: string): string {
  return text.replace(
    // deno-lint-ignore no-control-regex -- control characters are what this looks for
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]|(?![\u200c\u200d])\p{Cf}|[\u{e0000}-\u{e007f}]/gu,
    (c) => `\\u{${c.codePointAt(0)!.toString(16)}}`,
  );
}

/** Reads a frame back; null when the text is not exactly one frame. The inverse of {@linkcode frameMessage}. */
export function parseFrame(text: string): Frame | null {
  const match =
    /^<relay-message nonce=([0-9a-f]{32}) id=("(?:[^"\\]|\\.)*") from=("(?:[^"\\]|\\.)*")(?: subject=("(?:[^"\\]|\\.)*"))? redelivery=(\d+) bytes=(\d+) trust="(\w+)">\n([\s\S]*)\n<\/relay-message nonce=([0-9a-f]{32})>$/
      .exec(text);
  if (!match || match[1] !== match[9]) return null;
  const body = match[8]!;
  const bytes = Number(match[6]);
  if (new TextEncoder().encode(body).length !== bytes) return null;
  return {
    nonce: match[1]!,
    id: JSON.parse(match[2]!) as string,
    from: JSON.parse(match[3]!) as string,
    subject: match[4] === undefined ? null : JSON.parse(match[4]) as string,
    redelivery: Number(match[5]),
    bytes,
    trust: match[7]!,
    body,
  };
}
