/** Shorter values would mask ordinary words. */
const SHORTEST = 6;
const MASK = "[redacted]";

/** Hides registered secrets in every text that leaves the process as log, error or status. */
export interface Redactor {
  /** Registers a secret by value. Values under 6 characters and `null` are ignored. */
  add(secret: string | null | undefined): void;
  /** Returns the text with every secret masked, also in its URL-encoded, JSON-escaped and Base64 forms. */
  redact(text: string): string;
}

/** Creates a redactor that knows nothing yet. */
export function createRedactor(): Redactor {
  let forms: string[] = [];
  return {
    add(secret) {
      if (!secret || secret.length < SHORTEST) return;
      const known = new Set(forms);
      known.add(secret);
      known.add(encodeURIComponent(secret));
      known.add(JSON.stringify(secret).slice(1, -1));
      known.add(btoa(String.fromCharCode(...new TextEncoder().encode(secret).subarray(0, 8_192))));
      // Longest first: a secret that contains another one must not be left half visible.
      forms = [...known].sort((a, b) => b.length - a.length);
    },
    redact(text) {
      let result = text;
      for (const form of forms) if (result.includes(form)) result = result.replaceAll(form, MASK);
      return result.replace(/\b(bearer|x-agent-relay-token:?)\s+[^\s"',]+/gi, `$1 ${MASK}`)
        // The scheme is not part of the match: looking for it would start anew at every letter of a long word, and a
        // megabyte without a space would hold the event loop for hours. All of the userinfo, up to the last @.
        .replace(/(?<=:\/\/)[^/?#\s"<>`:]*:[^/?#\s"<>`]*@/g, `${MASK}@`)
        // Without a colon it is a token where pages are fetched; elsewhere, as in ssh://git@host, just a name.
        .replace(/(?<=\b(?:https?|wss?):\/\/)[^/?#\s"<>`:]+@/gi, `${MASK}@`);
    },
  };
}

/** True for names of variables whose values are secrets by custom. */
export function looksSecret(name: string): boolean {
  return /(token|secret|password|passwd|api_?key|credential|private_?key|auth)/i.test(name);
}
