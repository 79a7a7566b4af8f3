const WS_SCHEME: Record<string, string> = { "http:": "ws:", "https:": "wss:", "ws:": "ws:", "wss:": "wss:" };
const HTTP_SCHEME: Record<string, string> = {
  "http:": "http:",
  "https:": "https:",
  "ws:": "http:",
  "wss:": "https:",
};

/** Returns the bus URL of a relay: scheme mapped (TLS is never dropped), path prefix kept, `/bus` appended. */
export function busUrl(base: string): string {
  return withPath(base, WS_SCHEME, "/bus");
}

/** Returns the base of the REST calls, without a slash at its end. */
export function apiUrl(base: string): string {
  return withPath(base, HTTP_SCHEME, "");
}

function withPath(base: string, schemes: Record<string, string>, suffix: string): string {
  const url = new URL(base);
  const scheme = schemes[url.protocol];
  if (scheme === undefined) throw new TypeError(`Cannot use "${url.protocol}" for a relay`);
  return `${scheme}//${url.host}${url.pathname.replace(/\/+$/, "")}${suffix}`;
}
