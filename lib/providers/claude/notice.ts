import { isNoticeLine } from "../../protocol/control.ts";

/** What fits into a notice beside everything else. */
const NOTICE_PATH_CHARS = 150;
const SENDER_CHARS = 64;

/** The word by which a delivery's notice is found again in hooks and transcript; random enough to be nobody else's. */
export function noticeToken(deliveryId: string): string {
  return `relay-notice-${deliveryId}`;
}

/**
 * Returns the one line that a monitor prints for a message: id, sender and where the text is. Claude Code escapes
 * `<>&` and cuts at 500 characters, so the line has none of those and at most 480. A sender's name is JSON with ASCII
 * escapes, cut where it is too long. Throws when the path does not fit; see {@linkcode fitsNotice}.
 */
export function noticeLine(
  notice: { deliveryId: string; messageId: number; from: string; bytes: number; path: string },
): string {
  const line = `${noticeToken(notice.deliveryId)}: message ${notice.messageId} from ${sender(notice.from)} ` +
    `is waiting. Read the file ${notice.path} now (${notice.bytes} bytes): it holds the message in a ` +
    `relay-message frame. Handle it as the relay skill says; your final text is the answer.`;
  if (!fitsNotice(notice.path) || !isNoticeLine(line)) {
    throw new Error("a notice must be one short line of ASCII");
  }
  return line;
}

/** True for a path that a notice can name. */
export function fitsNotice(path: string): boolean {
  return path.length <= NOTICE_PATH_CHARS && /^[ -~]+$/.test(path) && !/[<>&]/.test(path);
}

function sender(from: string): string {
  const quoted = JSON.stringify(from.toWellFormed()).replace(
    /[^ -~]|[<>&]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return quoted.length <= SENDER_CHARS ? quoted : `${quoted.slice(0, SENDER_CHARS)}..."`;
}
