// Loaded before the page is drawn, so that a chosen theme does not flash in late.
"use strict";
try {
  const chosen = localStorage.getItem("theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
} catch {
  // The reader's browser keeps nothing: its own theme holds.
}
