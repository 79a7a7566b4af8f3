/**
 * Paths with slashes. Written out because loading `node:path` is 7 ms of every start (Deno 2.9.6); the parity test compares
 * it with the real package.
 */

/** Resolves `.`, `..` and doubled slashes; a slash at the end stays. */
export function normalize(path: string): string {
  const absolute = path.startsWith("/");
  const kept: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") kept.push(part);
    else if (kept.length > 0 && kept.at(-1) !== "..") kept.pop();
    else if (!absolute) kept.push("..");
  }
  const joined = kept.join("/");
  if (joined === "") return absolute ? "/" : path.endsWith("/") && path !== "" ? "./" : ".";
  return (absolute ? "/" : "") + joined + (path.endsWith("/") ? "/" : "");
}

export function join(...parts: string[]): string {
  return normalize(parts.filter((part) => part !== "").join("/"));
}

export function resolve(cwd: () => string, ...parts: string[]): string {
  let path = "";
  for (let i = parts.length - 1; i >= 0 && !path.startsWith("/"); i--) {
    if (parts[i] !== "") path = path === "" ? parts[i]! : `${parts[i]}/${path}`;
  }
  if (!path.startsWith("/")) path = `${cwd()}/${path}`;
  const whole = normalize(path);
  return whole.length > 1 && whole.endsWith("/") ? whole.slice(0, -1) : whole;
}

export function dirname(path: string): string {
  const end = path.replace(/\/+$/, "");
  if (end === "") return path.startsWith("/") ? "/" : ".";
  const slash = end.lastIndexOf("/");
  if (slash < 0) return ".";
  return end.slice(0, slash).replace(/\/+$/, "") || "/";
}

export function basename(path: string, suffix: string): string {
  const end = path.replace(/\/+$/, "");
  if (end === "") return path.startsWith("/") ? "/" : "";
  const name = end.slice(end.lastIndexOf("/") + 1);
  return suffix !== "" && name !== suffix && name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
}

export function extname(path: string): string {
  const name = basename(path, "");
  const dot = name.lastIndexOf(".");
  return dot <= 0 || name === ".." ? "" : name.slice(dot);
}

export function relative(cwd: () => string, from: string, to: string): string {
  const parts = (path: string) => resolve(cwd, path).split("/").filter((part) => part !== "");
  const [a, b] = [parts(from), parts(to)];
  let same = 0;
  while (same < a.length && same < b.length && a[same] === b[same]) same++;
  return [...a.slice(same).map(() => ".."), ...b.slice(same)].join("/");
}

export function fromFileUrl(url: URL): string {
  if (url.protocol !== "file:") {
    throw new TypeError(`URL must be a file URL: received "${url.protocol}"`);
  }
  return decodeURIComponent(url.pathname.replace(/%(?![0-9A-Fa-f]{2})/g, "%25"));
}

export function toFileUrl(path: string): URL {
  if (!path.startsWith("/")) throw new TypeError(`Path must be absolute: received "${path}"`);
  const url = new URL("file:///");
  url.pathname = path.replace(/%/g, "%25").replace(/\\/g, "%5C").replace(/\n/g, "%0A").replace(/\r/g, "%0D")
    .replace(/\t/g, "%09");
  return url;
}
