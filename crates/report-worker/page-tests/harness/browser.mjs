// Chromium, and what every test wants of a page.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

import { chromium } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

export const DESKTOP = { width: 1280, height: 900 };
export const PHONE = { width: 390, height: 844 };

export function launch() {
  const executablePath = execFileSync("sh", ["-c", "command -v chromium"], { encoding: "utf8" }).trim();
  return chromium.launch({ executablePath, args: FLAGS });
}

/** A page that notes everything that a console would show as an error. */
export async function open(browser, url, { viewport = DESKTOP, colorScheme = "light" } = {}) {
  // No animations: what is looked at has come to rest.
  const context = await browser.newContext({ viewport, colorScheme, reducedMotion: "reduce", timezoneId: "Asia/Kolkata" });
  const page = await context.newPage();
  page.errors = [];
  page.on("pageerror", (error) => page.errors.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") page.errors.push(`${message.text()} (${message.location().url})`);
  });
  await page.goto(url);
  return page;
}

/** Waits until a view has its first answers. */
export async function isLoaded(page) {
  await page.waitForFunction(() =>
    ![...document.querySelectorAll('[data-kind="loading"]')].some((box) => box.checkVisibility()));
}

/** Has the page see the leaderboard as `change(board)` leaves it. */
export function alterBoard(page, change) {
  return page.route("**/api/v1/leaderboard?*", async (route) => {
    // In full, also when the page has it already.
    const { "if-none-match": tag, ...headers } = route.request().headers();
    const answer = await route.fetch({ headers });
    const board = await answer.json();
    change(board);
    await route.fulfill({ json: board });
  });
}

/** No finding of axe-core that is serious or worse. */
export async function isAccessible(page) {
  await page.evaluate(AXE);
  const findings = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run();
    return violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html).join(" ")}`);
  });
  assert.deepEqual(findings, []);
}

/** The page itself does not scroll sideways. */
export async function fitsSideways(page) {
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(content <= window, `the page is ${content} wide in a window of ${window}`);
}

/** Keeps a picture of the whole page for whoever looks at the run. */
export async function keepPicture(page, name) {
  const folder = process.env.PAGE_SCREENSHOTS;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}
