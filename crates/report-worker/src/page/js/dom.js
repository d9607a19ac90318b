// Builds elements. Children that are strings become text and never markup, for names and reasons come from participants.

/** An HTML element: `onclick` and the like are listeners, `vars` are CSS variables, all else is an attribute. */
export function el(name, attributes, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** An element of a drawing, in the same way. */
export function svg(name, attributes, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "vars") setVariables(element, value);
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// By CSSOM: the content security policy refuses style attributes.
export function setVariables(element, variables) {
  for (const [name, value] of Object.entries(variables)) element.style.setProperty(name, value);
}

/** Sets the text of an element unless it has it already, so that screen readers are told of changes only. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Text for screen readers alone. */
export function unseen(text) {
  return el("span", { class: "unseen" }, text);
}

/** An instant as the reader's machine writes it is not what others see: all times are UTC. */
export function time(instant, text) {
  return el("time", { datetime: instant, title: instant }, text);
}

/**
 * Makes the children of `parent` those of `items`, in order, and keeps the elements of items that stay, so that focus and
 * what the reader opened survive an update. Elements that change places glide there.
 */
export function reconcile(parent, items, { key, create, update }) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const places = new Map([...old].map(([name, child]) => [name, child.getBoundingClientRect().top]));
  const children = items.map((item) => {
    const name = key(item);
    const child = old.get(name) ?? create(item);
    child.dataset.key = name;
    update(child, item);
    return child;
  });
  const isUnmoved = children.length === parent.children.length
    && children.every((child, index) => child === parent.children[index]);
  if (isUnmoved) return;
  const focused = document.activeElement;
  parent.replaceChildren(...children);
  if (parent.contains(focused)) focused.focus({ preventScroll: true });
  glide(children, places);
}

function glide(children, places) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  for (const child of children) {
    const before = places.get(child.dataset.key);
    if (before === undefined) continue;
    const distance = before - child.getBoundingClientRect().top;
    if (distance === 0 || Math.abs(distance) > innerHeight) continue;
    child.animate([{ transform: `translateY(${distance}px)` }, { transform: "none" }], { duration: 500, easing: "ease" });
  }
}
