import { systemClock } from "../../base/clock.ts";
import { RunnerError, shown } from "../../base/errors.ts";
import { slug } from "../../config/identity.ts";
import { checkIdentifier } from "../parse.ts";
import type { DeliveryTiming, SendInput, Stage } from "../../protocol/message.ts";
import type { Invocation, Io, Verb } from "../contract.ts";
import { foreignText } from "../foreign_text.ts";
import { noRecipient } from "../../sdk/no_recipient.ts";
import { sendOnce } from "../../sdk/send_once.ts";
import { openRelay, relayError } from "../relay_access.ts";
import { waitForReceipt } from "../wait.ts";
import { durationFlag } from "../flag_values.ts";

const TIMEOUT_MS = 120_000;
const TTL_MS = 7 * 86_400_000;

/** Sends a message; with --until or --wait-reply it waits for the evidence or the answer. */
export const run: Verb = async (invocation, io) => {
  const { flags } = invocation;
  const text = (name: string) => typeof flags[name] === "string" ? flags[name] : undefined;
  const target = invocation.positionals[0]!;
  const access = await openRelay(invocation, io);
  const body = await bodyOf(invocation, io);
  const waitReply = flags["wait-reply"] === true;
  const until = text("until") as Stage | undefined;
  const subject = text("subject");
  const replyTo = text("reply-to");
  const kind = text("kind");
  const input = {
    from: sender(text("from"), io),
    to: target,
    body,
    ...(subject === undefined ? {} : { subject }),
    ...(kind === undefined ? {} : { kind }),
    ...(replyTo === undefined ? {} : { replyTo: Number(replyTo) }),
    ...(flags.claimable === true ? { claimable: true } : {}),
    ...(waitReply ? { replyExpected: true } : {}),
    when: (text("when") ?? "idle") as DeliveryTiming,
    ...(flags.queue === true ? { queue: true } : {}),
    ttlMs: durationFlag(flags.ttl, TTL_MS),
    // Every send has a key, so that repeating it after a lost answer cannot store it twice.
    idempotencyKey: text("idempotency-key") ?? crypto.randomUUID(),
  } satisfies SendInput;
  const sent = await sendOnce(access.http, input);
  if (!sent.ok) {
    if (sent.kind === "rejected" && sent.code === "E_NO_RECIPIENT") {
      throw noRecipient(target, sent.candidates ?? [], {
        sender: input.from,
        hint: "--queue keeps it until somebody comes",
      });
    }
    throw relayError(sent, access.url);
  }
  const { message, recipients } = sent.value;
  if (sent.value.duplicate && message.body !== body) {
    throw new RunnerError("E_CONFLICT", `message ${message.id} has this idempotency key and another text`, {
      details: { messageId: message.id },
      hint: `use another key; see "runner receipt ${message.id}"`,
    });
  }
  const json = flags.json === true;
  const told = recipients.length > 0 ? recipients.join(", ") : "nobody yet, it is kept";
  if (until === undefined && !waitReply) {
    io.out(json ? JSON.stringify(sent.value) + "\n" : `message ${message.id} is stored for ${told}\n`);
    return 0;
  }
  const progress = io.errIsTerminal && !json;
  if (progress) io.err(`message ${message.id} is stored for ${told}\n`);
  let shownReports = 0;
  const { receipt, reply } = await waitForReceipt({
    http: access.http,
    url: access.url,
    messageId: message.id,
    clock: systemClock,
    wait: { until: until ?? null, reply: waitReply, timeoutMs: durationFlag(flags.timeout, TIMEOUT_MS) },
    onChange: (current) => {
      const reports = current.recipients.flatMap((each) => each.reports).sort((a, b) => a.at - b.at);
      for (const report of reports.slice(shownReports)) {
        if (progress) {
          const evidence = shown(report.evidence ?? "", 200);
          io.err(`  ${report.stage.padEnd(9)} ${shown(report.agentId)}  ${evidence}\n`);
        }
      }
      shownReports = reports.length;
    },
  });
  if (json) io.out(JSON.stringify({ message, recipients, receipt, reply }) + "\n");
  else if (waitReply) {
    const answer = foreignText(reply!.body, io);
    io.out(answer + (answer.endsWith("\n") ? "" : "\n"));
  } else io.out(`message ${message.id} is ${until} at ${told}\n`);
  return 0;
};

async function bodyOf({ positionals }: Invocation, io: Io): Promise<string> {
  const given = positionals[1];
  const body = given === undefined || given === "-" ? await io.readStdin() : given;
  if (body.trim() === "") {
    throw new RunnerError("E_USAGE", "the message is empty", {
      hint: 'give the text as argument, or "-" and pipe it in',
    });
  }
  return given === undefined || given === "-" ? body.replace(/\r?\n$/, "") : body;
}

function sender(given: string | undefined, io: Io): string {
  if (given !== undefined) {
    checkIdentifier(given, "E_NAME", "sender");
    return given;
  }
  const user = slug(io.env.USER ?? io.env.LOGNAME ?? io.env.USERNAME ?? "user", 20) || "user";
  return `cli-${user}-${slug(Deno.hostname().split(".")[0] ?? "", 20) || "host"}`;
}
