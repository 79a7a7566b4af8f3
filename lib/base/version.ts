/** Version of this program, equal to `version` in deno.json (a test holds it). */
export const VERSION = "0.1.0";
