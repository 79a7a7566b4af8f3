/**
 * Cuts a byte stream of one WebSocket direction into its frames (RFC 6455), after the HTTP head. Bytes go in as they
 * come; whole frames come out. Needed to duplicate or drop a frame without tearing the connection.
 */
export class FrameCutter {
  #buffer = new Uint8Array();
  #head = true;
  /** A connection without upgrade (a REST call) has no frames; its bytes are passed over. */
  #plain = false;

  /** True when nothing of a next piece has come yet. */
  get empty(): boolean {
    return this.#buffer.length === 0;
  }

  /** Takes bytes and returns the pieces that are complete: the head, then one entry per frame. */
  push(bytes: Uint8Array): { bytes: Uint8Array; text: boolean }[] {
    if (this.#plain) return [];
    const joined = new Uint8Array(this.#buffer.length + bytes.length);
    joined.set(this.#buffer);
    joined.set(bytes, this.#buffer.length);
    this.#buffer = joined;
    const pieces: { bytes: Uint8Array; text: boolean }[] = [];
    for (;;) {
      const size = this.#head ? this.#headSize() : this.#frameSize();
      if (size === 0 || this.#buffer.length < size) return pieces;
      const piece = this.#buffer.slice(0, size);
      this.#buffer = this.#buffer.slice(size);
      // A text frame that is whole: FIN with opcode 1.
      if (this.#head && !/\bupgrade: *websocket/i.test(new TextDecoder().decode(piece))) {
        this.#plain = true;
        this.#buffer = new Uint8Array();
        return pieces;
      }
      pieces.push({ bytes: piece, text: !this.#head && piece[0] === 0x81 });
      this.#head = false;
    }
  }

  #headSize(): number {
    for (let i = 3; i < this.#buffer.length; i++) {
      if (
        this.#buffer[i] === 10 && this.#buffer[i - 1] === 13 && this.#buffer[i - 2] === 10 &&
        this.#buffer[i - 3] === 13
      ) return i + 1;
    }
    return 0;
  }

  #frameSize(): number {
    const buffer = this.#buffer;
    if (buffer.length < 2) return 0;
    const view = new DataView(buffer.buffer, buffer.byteOffset);
    const mask = (buffer[1]! & 0x80) === 0 ? 0 : 4;
    const short = buffer[1]! & 0x7f;
    if (short < 126) return 2 + mask + short;
    if (short === 126) return buffer.length < 4 ? 0 : 4 + mask + view.getUint16(2);
    return buffer.length < 10 ? 0 : 10 + mask + Number(view.getBigUint64(2));
  }
}
