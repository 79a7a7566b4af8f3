import { until } from "./temp.ts";

/** A real terminal of 120 by 40 in a tmux server of its own. */
export class TmuxTerminal {
  readonly #name = `runner-test-${crypto.randomUUID().slice(0, 8)}`;

  /**
   * Starts a command; the shell around it stays and tells its exit code to {@linkcode untilExited}. What it prints may be
   * lost: on the screen of an agent that is killed after its runner, and leaves that screen last.
   */
  async start(
    command: readonly string[],
    options: { cwd: string; env: Record<string, string> },
  ): Promise<void> {
    const quote = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`;
    const env = Object.entries(options.env).map(([name, value]) => quote(`${name}=${value}`)).join(" ");
    const run = `env -i TERM=xterm-256color ${env} ${command.map(quote).join(" ")}`;
    const after = 'code=$?; echo "exit=$code"; tmux set-option -g @exit "$code"; exec sleep 1000';
    await this.#tmux(
      "new-session",
      "-d",
      "-x",
      "120",
      "-y",
      "40",
      "-s",
      "t",
      "-c",
      options.cwd,
      `${run}; ${after}`,
    );
  }

  /** Resolves once the command has ended with one of these codes; rejects on another one, and after 20 s. */
  async untilExited(codes: readonly number[]): Promise<void> {
    let told = "";
    try {
      await until("the end of the command", async () => {
        told = (await this.#tmux("show-options", "-gqv", "@exit")).trim();
        return told !== "";
      });
    } catch (error) {
      throw new Error(`${(error as Error).message}:\n${await this.capture()}`);
    }
    if (!codes.includes(Number(told))) {
      throw new Error(`exit code ${told} and not ${codes.join(" or ")}:\n${await this.capture()}`);
    }
  }

  /** What is on the screen; nothing at all while a TUI draws it anew, so what must be there is waited for. */
  capture(): Promise<string> {
    return this.#tmux("capture-pane", "-p", "-t", "t");
  }

  /** Types text and sees it on the screen, as a person would; keys that came before the TUI read them are typed again. */
  async type(text: string): Promise<void> {
    const head = text.slice(0, 12);
    for (let attempt = 0; attempt < 5; attempt++) {
      await this.#tmux("send-keys", "-t", "t", "-l", text);
      try {
        await until(`"${head}" on the screen`, async () => (await this.capture()).includes(head), 2_000);
        return;
      } catch { /* typed again */ }
    }
    throw new Error(`the terminal does not take "${head}"`);
  }

  /** Presses a key by tmux's name, like `Enter`, `Escape`, `C-u`. */
  async press(key: string): Promise<void> {
    await this.#tmux("send-keys", "-t", "t", key);
  }

  /**
   * Presses a key until it has had its effect: a dialog takes no key in its first moment (Claude Code 2.1.330, up to
   * 0.2 s after it shows on a quiet machine), and a person presses again.
   */
  async pressUntil(key: string, what: string, effect: () => boolean | Promise<boolean>): Promise<void> {
    await until(what, async () => {
      await this.press(key);
      return await until(what, effect, 2_000).then(() => true, () => false);
    });
  }

  /** Resolves once the screen shows a match. */
  async untilShows(pattern: RegExp, timeoutMs = 20_000): Promise<void> {
    try {
      await until(`${pattern} on the screen`, async () => pattern.test(await this.capture()), timeoutMs);
    } catch (error) {
      throw new Error(`${(error as Error).message}:\n${await this.capture()}`);
    }
  }

  /** Changes the terminal's size, as a person does with a window. */
  async resize(columns: number, rows: number): Promise<void> {
    await this.#tmux("resize-window", "-t", "t", "-x", String(columns), "-y", String(rows));
  }

  /** What a program has set as the window's title. */
  async title(): Promise<string> {
    return (await this.#tmux("display-message", "-p", "-t", "t", "#{pane_title}")).trim();
  }

  /** What a person would call broken about this terminal; empty when it is as a shell needs it. */
  async broken(): Promise<string[]> {
    const format = "#{pane_tty} #{alternate_on} #{cursor_flag} #{mouse_any_flag} #{bracket_paste_flag}";
    const [tty, alternate, cursor, mouse] = (await this.#tmux("display-message", "-p", "-t", "t", format))
      .trim().split(" ");
    const { stdout } = await new Deno.Command("stty", { args: ["-F", tty!, "-a"], stderr: "null" }).output();
    const modes = new TextDecoder().decode(stdout).split(/[\s;]+/);
    return [
      ...["icanon", "echo", "isig", "icrnl", "opost"].filter((mode) => !modes.includes(mode)),
      ...(alternate === "0" ? [] : ["alternate screen"]),
      ...(cursor === "1" ? [] : ["no cursor"]),
      ...(mouse === "0" ? [] : ["mouse"]),
    ];
  }

  async #tmux(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await new Deno.Command("tmux", {
      args: ["-L", this.#name, "-f", "/dev/null", ...args],
      stdout: "piped",
      stderr: "piped",
    }).output();
    if (code !== 0) throw new Error(`tmux ${args[0]}: ${new TextDecoder().decode(stderr)}`);
    return new TextDecoder().decode(stdout);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tmux("kill-server").catch(() => {});
  }
}
