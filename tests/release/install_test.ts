import { assertEquals, assertStringIncludes } from "@std/assert";
import { dirname, fromFileUrl, join } from "@std/path";
import { archive } from "../../.github/release/archive.ts";
import { sha256 } from "../../.github/release/digest.ts";
import { archiveName, installer } from "../../.github/release/manifests.ts";
import { TARGETS } from "../../.github/release/targets.ts";
import { withTempDir } from "../support/temp.ts";

const ROOT = dirname(dirname(dirname(fromFileUrl(import.meta.url))));
const TEMPLATE = Deno.readTextFileSync(join(ROOT, ".github", "install.sh"));
const VERSION = "1.2.3";
const PROGRAM = '#!/bin/sh\n[ "$1" = version ] && echo "runner 1.2.3"\n';

/** A machine with a release on a local server, and what it has for its user. */
interface Machine {
  dir: string;
  /** Bytes that the server sends instead of the released ones. */
  serve: { bytes: Uint8Array<ArrayBuffer> | null };
  /** Puts a program on the PATH of the installer. */
  tool(name: string, text: string): void;
  install(...args: string[]): Promise<{ code: number; out: string; err: string }>;
}

async function withMachine(
  work: (machine: Machine) => Promise<void>,
  program = PROGRAM,
): Promise<void> {
  await withTempDir(async (dir) => {
    const bytes = await archive(
      "tar.gz",
      [{ path: "runner", bytes: new TextEncoder().encode(program), executable: true }],
      new Date(0),
    );
    const hash = await sha256(bytes);
    const checksums = new Map(TARGETS.map((target) => [archiveName(target, VERSION), hash]));
    const serve: Machine["serve"] = { bytes: null };
    const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
      const found = checksums.has(new URL(request.url).pathname.slice("/base/".length));
      return found ? new Response(serve.bytes ?? bytes) : new Response(null, { status: 404 });
    });
    const base = `http://127.0.0.1:${server.addr.port}/base`;
    const facts = { version: VERSION, repository: "owner/runner", checksums };
    const script = join(dir, "install.sh");
    Deno.writeTextFileSync(script, installer(TEMPLATE, facts, base));
    const tools = join(dir, "tools");
    Deno.mkdirSync(tools);
    try {
      await work({
        dir,
        serve,
        tool: (name, text) => Deno.writeTextFileSync(join(tools, name), text, { mode: 0o755 }),
        async install(...args) {
          const { code, stdout, stderr } = await new Deno.Command("/bin/sh", {
            args: [script, ...args],
            clearEnv: true,
            env: { HOME: dir, PATH: `${tools}:/usr/local/bin:/usr/bin:/bin`, TMPDIR: dir },
            stdin: "null",
          }).output();
          const decoder = new TextDecoder();
          return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
        },
      });
    } finally {
      await server.shutdown();
    }
  });
}

function installed(dir: string): string[] {
  try {
    return [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

const NO_GH = "#!/bin/sh\nexit 1\n";
const ignore = Deno.build.os === "windows";

Deno.test({
  name: "install.sh installs the released program with its links, and again over itself",
  ignore,
  fn: () =>
    withMachine(async ({ dir, install, tool }) => {
      tool("gh", NO_GH);
      for (let round = 0; round < 2; round++) {
        const { code, out, err } = await install();
        assertEquals(code, 0, err);
        assertStringIncludes(out, "checksum     ok");
        assertStringIncludes(out, "attestation  not checked");
        const bin = join(dir, ".local", "bin");
        assertEquals(installed(bin), ["claude-relay", "codex-relay", "runner"]);
        assertEquals(Deno.readTextFileSync(join(bin, "claude-relay")), PROGRAM);
        assertEquals(Deno.statSync(join(bin, "runner")).mode! & 0o777, 0o755);
        assertStringIncludes(out, "is not on your PATH");
      }
      assertEquals(installed(dir).filter((name) => name.startsWith("tmp.")), []);
    }),
});

Deno.test({
  name: "install.sh refuses a changed archive and installs nothing, also when one bit differs",
  ignore,
  fn: () =>
    withMachine(async ({ dir, install, serve, tool }) => {
      tool("gh", NO_GH);
      const program = new TextEncoder().encode(PROGRAM + "echo tampered\n");
      const other = await archive(
        "tar.gz",
        [{ path: "runner", bytes: program, executable: true }],
        new Date(0),
      );
      const flipped = await archive(
        "tar.gz",
        [{ path: "runner", bytes: new TextEncoder().encode(PROGRAM), executable: true }],
        new Date(0),
      );
      flipped[4]! ^= 1;
      for (const bytes of [other, flipped, new Uint8Array(0)]) {
        serve.bytes = bytes;
        const { code, out, err } = await install();
        assertEquals([code, out], [1, ""]);
        assertStringIncludes(err, "is not the released file");
        assertEquals(installed(join(dir, ".local")), []);
      }
    }),
});

Deno.test({
  name: "install.sh asks GitHub's client when it is there, and refuses what nobody vouches for",
  ignore,
  fn: () =>
    withMachine(async ({ dir, install, tool }) => {
      const gh = (verify: number) =>
        `#!/bin/sh\n[ "$1" = auth ] && exit 0\necho "$@" > "${dir}/asked"\nexit ${verify}\n`;
      tool("gh", gh(1));
      const refused = await install();
      assertEquals(refused.code, 1);
      assertStringIncludes(refused.err, "nobody vouches for");
      assertEquals(installed(join(dir, ".local")), []);
      tool("gh", gh(0));
      const accepted = await install("--dir", join(dir, "bin"), "--no-links");
      assertEquals(accepted.code, 0, accepted.err);
      assertStringIncludes(accepted.out, "attestation  ok");
      assertEquals(installed(join(dir, "bin")), ["runner"]);
      assertStringIncludes(
        Deno.readTextFileSync(join(dir, "asked")),
        "--repo owner/runner --signer-workflow owner/runner/.github/workflows/build.yml",
      );
    }),
});

Deno.test({
  name: "install.sh says what is wrong with its options, its system and the network",
  ignore,
  fn: () =>
    withMachine(async ({ install, tool }) => {
      tool("gh", NO_GH);
      assertStringIncludes((await install("--bogus")).err, "unknown option --bogus");
      assertStringIncludes((await install("--dir")).err, "--dir needs a value");
      assertStringIncludes((await install("--dir", "bin")).err, "--dir must be absolute: bin");
      tool("uname", '#!/bin/sh\n[ "$1" = -s ] && echo Linux || echo riscv64\n');
      assertStringIncludes((await install()).err, "there is no program for riscv64");
      tool("uname", "#!/bin/sh\necho Plan9\n");
      const { code, err } = await install();
      assertEquals(code, 1);
      assertStringIncludes(err, "there is no program for Plan9");
    }),
});

Deno.test({
  name: "install.sh says that it needs glibc before it downloads anything, where ldd is that of musl",
  ignore: Deno.build.os !== "linux",
  fn: () =>
    withMachine(async ({ dir, install, tool }) => {
      tool("ldd", "#!/bin/sh\necho 'musl libc (x86_64)' >&2\necho 'Version 1.2.5' >&2\nexit 1\n");
      tool("curl", `#!/bin/sh\ntouch ${dir}/downloaded\nexit 1\n`);
      const { code, out, err } = await install();
      assertEquals([code, out], [1, ""]);
      assertStringIncludes(err, "this system has musl, and the program needs glibc");
      assertEquals(installed(dir).includes("downloaded"), false);
      tool("ldd", "#!/bin/sh\necho 'ldd (Debian GLIBC 2.36-9) 2.36'\n");
      assertStringIncludes((await install()).err, "cannot download");
    }),
});

for (
  const [why, program, says] of [
    ["has no loader for it", "#!/no/such/loader\n", "its loader is missing, which is that of glibc"],
    ["lets no program run there", "#!/bin/sh\nexit 126\n", "(is it mounted noexec?); give another --dir"],
    [
      "ends it with an error",
      "#!/bin/sh\necho old kernel >&2\nexit 9\n",
      "does not start on this system (exit code 9)",
    ],
  ] as const
) {
  Deno.test({
    name: `install.sh installs nothing, and says why, where the system ${why}`,
    ignore,
    fn: () =>
      withMachine(async ({ dir, install, tool }) => {
        tool("gh", NO_GH);
        const bin = join(dir, "bin");
        Deno.mkdirSync(bin);
        Deno.writeTextFileSync(join(bin, "runner"), "the one before");
        const { code, err } = await install("--dir", bin);
        assertEquals(code, 1);
        assertStringIncludes(err, says);
        assertEquals(installed(bin), ["runner"]);
        assertEquals(Deno.readTextFileSync(join(bin, "runner")), "the one before");
      }, program),
  });
}

Deno.test({
  name: "install.sh does not need to run anything in the temporary directory",
  ignore,
  fn: () => {
    // It can be run below --dir only, as where the temporary directory is mounted noexec.
    const program =
      '#!/bin/sh\ncase $0 in */bin/.runner.new | */bin/runner) echo "runner 1.2.3" ;; *) exit 126 ;; esac\n';
    return withMachine(async ({ dir, install, tool }) => {
      tool("gh", NO_GH);
      const { code, err } = await install("--dir", join(dir, "bin"));
      assertEquals(code, 0, err);
      assertEquals(installed(join(dir, "bin")), ["claude-relay", "codex-relay", "runner"]);
    }, program);
  },
});

Deno.test("installer() throws on a place that it cannot fill in", () => {
  const checksums = new Map(TARGETS.map((target) => [archiveName(target, VERSION), "0".repeat(64)]));
  const facts = { version: VERSION, repository: "o/r", checksums };
  assertEquals(/@[A-Z_]+@/.test(installer(TEMPLATE, facts)), false);
  let message = "";
  try {
    installer("@NOBODY@", facts);
  } catch (error) {
    message = (error as Error).message;
  }
  assertStringIncludes(message, "Cannot fill in @NOBODY@");
});
