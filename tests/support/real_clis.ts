import { dirname, fromFileUrl, join } from "@std/path";

const ROOT = dirname(dirname(dirname(fromFileUrl(import.meta.url))));
const CACHE = join(ROOT, ".cache", "clis");

/** Versions that the adapters are written for. The platform package of Claude Code needs no newer Node. */
export const CLAUDE_VERSION = "2.1.330";
export const CODEX_VERSION = "0.169.0";

const ARCH = Deno.build.arch === "aarch64" ? "arm64" : "x64";
const TRIPLE = `${Deno.build.arch}-unknown-linux-musl`;

let installing: Promise<{ claude: string; codex: string }> | null = null;

/** Installs both CLIs into the git-ignored cache, once, without running any script, and returns their binaries. */
export function realClis(): Promise<{ claude: string; codex: string }> {
  installing ??= install();
  return installing;
}

async function install(): Promise<{ claude: string; codex: string }> {
  const clis = {
    claude: join(CACHE, "node_modules", "@anthropic-ai", `claude-code-linux-${ARCH}`, "claude"),
    codex: join(CACHE, "node_modules", "codex-bin", "vendor", TRIPLE, "bin", "codex"),
  };
  if (!(await says(clis.claude, CLAUDE_VERSION) && await says(clis.codex, CODEX_VERSION))) {
    await npmInstall(CACHE, [
      `@anthropic-ai/claude-code-linux-${ARCH}@${CLAUDE_VERSION}`,
      `codex-bin@npm:@openai/codex@${CODEX_VERSION}-linux-${ARCH}`,
    ]);
    if (!(await says(clis.claude, CLAUDE_VERSION) && await says(clis.codex, CODEX_VERSION))) {
      throw new Error("the installed CLIs have other versions than asked for");
    }
  }
  return clis;
}

/** A Claude Code from before the session socket, whose plugin monitors are behind a switch. */
export const OLD_CLAUDE_VERSION = "2.1.197";

let installingOld: Promise<string> | null = null;

/** Installs the old Claude Code beside the present one, once, and returns its binary. */
export function oldClaude(): Promise<string> {
  installingOld ??= (async () => {
    const dir = join(CACHE, `claude-${OLD_CLAUDE_VERSION}`);
    const name = `claude-code-linux-${ARCH}`;
    const binary = join(dir, "node_modules", "@anthropic-ai", name, "claude");
    if (await says(binary, OLD_CLAUDE_VERSION)) return binary;
    await npmInstall(dir, [`@anthropic-ai/${name}@${OLD_CLAUDE_VERSION}`]);
    if (!await says(binary, OLD_CLAUDE_VERSION)) throw new Error("the installed claude has another version");
    return binary;
  })();
  return installingOld;
}

async function npmInstall(dir: string, packages: string[]): Promise<void> {
  await Deno.mkdir(dir, { recursive: true });
  await Deno.writeTextFile(join(dir, "package.json"), '{"private":true}\n');
  const { code, stderr } = await new Deno.Command("npm", {
    args: ["install", "--ignore-scripts", "--no-audit", "--no-fund", ...packages],
    cwd: dir,
    stdout: "null",
    stderr: "piped",
  }).output();
  if (code !== 0) throw new Error(`npm install failed: ${new TextDecoder().decode(stderr)}`);
}

async function says(command: string, version: string): Promise<boolean> {
  try {
    const { code, stdout } = await new Deno.Command(command, { args: ["--version"], stderr: "null" })
      .output();
    return code === 0 && new TextDecoder().decode(stdout).includes(version);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
