// Follows the server's events. They say that something changed and not what is new: views ask for that themselves.
//
// With `fetch`, since an `EventSource` can show no key.

import { authorization, onKey } from "./key.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
/** The server says something every 15 seconds: a line that is silent for longer is dead. */
const SILENCE_MS = 40_000;

/** What the server tells of. */
export const EVENTS = ["round", "scores", "leaderboard", "model"];

/**
 * Calls `onEvent(kind)` for each event, `onOpen()` when the line is there, also again after it was lost, and `onLost()` when it is
 * not. Connects again by itself, after growing waits; at once with another key. While a key is wanted it waits for one.
 */
export function follow(url, { onEvent, onOpen, onLost }) {
  let wait = FIRST_WAIT_MS;
  let line = null;
  let waking = null;
  const connect = async () => {
    const own = new Line(url);
    line = own;
    let isRefused = false;
    try {
      isRefused = !(await own.open());
      if (!isRefused) {
        wait = FIRST_WAIT_MS;
        onOpen();
        await own.listen(onEvent);
      }
    } catch {
      // However it ended, it is opened again.
    }
    own.close();
    onLost();
    if (isRefused || line !== own) return;
    waking = setTimeout(connect, wait * (0.75 + Math.random() / 2));
    wait = Math.min(2 * wait, LONGEST_WAIT_MS);
  };
  onKey(() => {
    clearTimeout(waking);
    wait = FIRST_WAIT_MS;
    line?.close();
    line = null;
    waking = setTimeout(connect, 0);
  });
  connect();
}

/** One connection. */
class Line {
  constructor(url) {
    this.url = url;
    this.closing = new AbortController();
  }

  /** False when a key is wanted, or another one. */
  async open() {
    this.expectSomething();
    const headers = { Accept: "text/event-stream", ...authorization() };
    const response = await fetch(this.url, { headers, cache: "no-store", signal: this.closing.signal });
    if (response.status === 401) return false;
    if (!response.ok) throw new Error(`status ${response.status}`);
    this.reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    return true;
  }

  /** Tells of events until the line is lost. */
  async listen(onEvent) {
    let rest = "";
    let kind = null;
    for (;;) {
      const { done, value } = await this.reader.read();
      if (done) return;
      this.expectSomething();
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const text of lines) {
        if (text.startsWith("event: ")) kind = text.slice("event: ".length);
        // An empty line ends what is told of an event.
        if (text !== "") continue;
        if (EVENTS.includes(kind)) onEvent(kind);
        kind = null;
      }
    }
  }

  expectSomething() {
    clearTimeout(this.patience);
    this.patience = setTimeout(() => this.close(), SILENCE_MS);
  }

  close() {
    clearTimeout(this.patience);
    this.closing.abort();
  }
}
