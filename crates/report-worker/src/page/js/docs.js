// A page to try the API, made from its OpenAPI document.

import { el, setText } from "./dom.js";
import { authorization, hasKey, setKey } from "./key.js";

/** Of a stream so much is shown, and of anything so many characters. */
const STREAM_MS = 3000;
const MOST_CHARACTERS = 200_000;
/** How deep members of members are described. */
const MOST_LEVELS = 5;

const byId = (id) => document.getElementById(id);

async function start() {
  byId("key-form").addEventListener("submit", (event) => event.preventDefault());
  byId("key").addEventListener("change", (event) => useKey(event.target.value));
  showKey();
  const place = byId("operations");
  try {
    const answer = await fetch("/openapi.json");
    const api = await answer.json();
    setText(byId("about"), plain(api.info.description ?? ""));
    place.replaceChildren(...groups(api).flatMap(([name, operations]) => [el("h2", null, name), ...operations]));
    openNamed();
  } catch {
    place.replaceChildren(el("p", { class: "state", "data-kind": "error" },
      "The description cannot be read at the moment. Load this page again in a while."));
  }
}

function useKey(text) {
  setKey(text);
  showKey();
}

function showKey() {
  setText(byId("key-note"), hasKey() ? "Requests are sent with the key of this tab." : "Requests are sent without a key.");
}

/** Operations by their tag, in the order of the document. */
function groups(api) {
  const byTag = new Map();
  for (const [path, { get }] of Object.entries(api.paths)) {
    const tag = get.tags?.[0] ?? "other";
    if (!byTag.has(tag)) byTag.set(tag, []);
    byTag.get(tag).push(new Operation(api, path, get).element);
  }
  return [...byTag];
}

/** An address can point at an operation by its id. */
function openNamed() {
  const named = location.hash && byId(location.hash.slice(1));
  if (!named) return;
  named.open = true;
  named.scrollIntoView();
}

class Operation {
  constructor(api, path, description) {
    this.path = path;
    this.description = description;
    this.parameters = (description.parameters ?? []).map((parameter) => new Parameter(description.operationId, parameter));
    this.exchange = el("div", { class: "exchange", "aria-live": "polite" });
    const send = (event) => {
      event.preventDefault();
      this.send();
    };
    this.element = el("details", { class: "operation", id: description.operationId },
      el("summary", null, el("h3", null, el("code", null, `GET ${path}`)), el("span", null, description.summary ?? "")),
      el("div", { class: "operation-body" },
        description.description && el("p", null, plain(description.description)),
        el("form", { onsubmit: send },
          this.parameters.length > 0 && el("div", { class: "parameters" }, this.parameters.map(({ element }) => element)),
          el("button", { class: "button" }, "Send", el("span", { class: "unseen" }, ` GET ${path}`))),
        this.exchange,
        answers(api, description)));
  }

  /** Path and query as the fields have them. */
  address() {
    let path = this.path;
    const query = new URLSearchParams();
    for (const { name, place, value } of this.parameters.map((parameter) => parameter.given())) {
      if (place === "path") path = path.replace(`{${name}}`, encodeURIComponent(value));
      else if (value !== "") query.append(name, value);
    }
    // An apostrophe would end the address in a shell.
    return `${path}${query.size ? `?${query}` : ""}`.replaceAll("'", "%27");
  }

  async send() {
    this.sending?.abort();
    const sending = new AbortController();
    this.sending = sending;
    const address = this.address();
    const request = el("pre", { tabindex: "0" }, curl(address));
    const verdict = el("p", { class: "verdict", role: "status" }, "Waiting for the answer");
    this.exchange.replaceChildren(el("h4", null, "Request"), request, verdict);
    const began = performance.now();
    try {
      const response = await fetch(address, { headers: authorization(), cache: "no-store", signal: sending.signal });
      const took = Math.round(performance.now() - began);
      setText(verdict, `${response.status} ${response.statusText} after ${took} ms`);
      const { text, note } = await body(response, sending);
      this.exchange.append(
        el("h4", null, "Headers"), el("pre", { tabindex: "0" }, [...response.headers].map((pair) => pair.join(": ")).join("\n")),
        el("h4", null, "Body", note && el("small", null, ` ${note}`)), el("pre", { class: "body", tabindex: "0" }, pretty(text)));
    } catch (error) {
      if (this.sending === sending) setText(verdict, `No answer: ${error.message}`);
    }
  }
}

/** What can be said of a request. */
class Parameter {
  constructor(operation, { name, in: place, required, description, schema }) {
    this.name = name;
    this.place = place;
    const id = `${operation}-${name}`;
    const about = `${id}-about`;
    this.input = field(schema, { id, required, "aria-describedby": about });
    this.element = el("div", { class: "parameter" },
      el("label", { for: id }, el("code", null, name), required ? " (required)" : ""),
      el("div", { class: "field" }, this.input, el("small", { id: about }, plain([description, bounds(schema)].filter(Boolean).join(" ")))));
  }

  given() {
    return { name: this.name, place: this.place, value: this.input.value };
  }
}

function field(schema, attributes) {
  if (schema.enum) {
    const words = attributes.required ? schema.enum : ["", ...schema.enum];
    return el("select", attributes, words.map((word) => el("option", { value: word }, word || "–")));
  }
  const placeholder = schema.default === undefined ? null : String(schema.default);
  if (schema.type === "integer") {
    return el("input", { type: "number", min: schema.minimum, max: schema.maximum, placeholder, ...attributes });
  }
  return el("input", { type: "text", placeholder, spellcheck: "false", ...attributes });
}

function bounds({ minimum, maximum, format, description }) {
  if (minimum !== undefined && maximum !== undefined) return `From ${minimum} to ${maximum}.`;
  if (format === "date-time") return "Such as 2026-01-31T12:00:00Z.";
  return description;
}

/** What can come back, and what is in it. */
function answers(api, { responses }) {
  const rows = Object.entries(responses).map(([status, response]) => {
    const media = Object.entries(response.content ?? {});
    const schemas = status === "200" ? media.map(([, { schema }]) => members(api, schema)) : [];
    const types = media.map(([type]) => type).join(", ");
    return el("li", null, el("code", null, status), ` ${response.description} `, types && el("small", null, types), schemas);
  });
  return el("details", null, el("summary", null, "What can come back"), el("ul", { class: "members" }, rows));
}

/** The members of a schema as a list; none for a plain value. */
function members(api, schema, level = 0) {
  const shape = resolve(api, schema);
  if (level > MOST_LEVELS || !shape) return null;
  if (shape.items) return members(api, shape.items, level);
  const entries = Object.entries(shape.properties ?? {});
  if (entries.length === 0) return null;
  return el("ul", { class: "members" }, entries.map(([name, property]) => {
    const inner = resolve(api, property);
    const about = property.description ?? inner?.description ?? "";
    return el("li", null, el("code", null, name), " ", el("small", null, kind(inner)), " ", plain(about), members(api, property, level + 1));
  }));
}

/** The schema that a reference names, or the one of several that is not null. */
function resolve(api, schema) {
  if (!schema) return null;
  if (schema.$ref) return resolve(api, api.components.schemas[schema.$ref.split("/").at(-1)]);
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return resolve(api, choices.find(({ type }) => type !== "null"));
  return schema;
}

function kind(schema) {
  const types = [schema?.type ?? "any"].flat().join(" or ");
  return schema?.enum ? schema.enum.join(" | ") : types;
}

/** The text of an answer as far as it is shown, and a word where that is not all. */
async function body(response, sending) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const isStream = response.headers.get("Content-Type")?.startsWith("text/event-stream");
  let isOver = false;
  const end = isStream && setTimeout(() => {
    isOver = true;
    reader.cancel();
  }, STREAM_MS);
  let text = "";
  while (text.length < MOST_CHARACTERS) {
    const { done, value } = await reader.read();
    if (done) {
      clearTimeout(end);
      return { text, note: isOver ? `(what came in ${STREAM_MS / 1000} s)` : "" };
    }
    text += value;
  }
  sending.abort();
  return { text: text.slice(0, MOST_CHARACTERS), note: `(the first ${MOST_CHARACTERS} characters)` };
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** The same request in a shell; the key is not shown. */
function curl(address) {
  const key = hasKey() ? `-H "Authorization: Bearer $KEY" ` : "";
  return `curl ${key}'${location.origin}${address}'`;
}

/** Text of the document without the marks of code. */
function plain(text) {
  return text.replaceAll("`", "");
}

start();
