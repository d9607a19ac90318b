// The key that the reader has typed, where reading takes one. It stays in this tab, and goes to this host alone.

const PLACE = "key";
const listeners = new Set();

let key = stored();

function stored() {
  try {
    return sessionStorage.getItem(PLACE) ?? "";
  } catch {
    // The reader's browser keeps nothing: the key holds until the page is left.
    return "";
  }
}

/** True when there is one, of use or not. */
export function hasKey() {
  return key !== "";
}

/** What a request shows it with. */
export function authorization() {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** Takes another key; an empty one is none. */
export function setKey(text) {
  key = text.trim();
  try {
    if (key) sessionStorage.setItem(PLACE, key);
    else sessionStorage.removeItem(PLACE);
  } catch {
    // As above.
  }
  for (const listener of listeners) listener();
}

/** Calls `listener()` whenever there is another key. */
export function onKey(listener) {
  listeners.add(listener);
}
