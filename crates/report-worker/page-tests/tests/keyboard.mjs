// The page without a mouse.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

const focused = (page) => page.evaluate(() => (document.activeElement.innerText ?? "").trim());

/** Presses Tab until what has the focus fits. */
async function tabTo(page, fits, most = 60) {
  for (let step = 0; step < most; step += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(fits)) return;
  }
  assert.fail(`not reached by ${most} times Tab`);
}

export function keyboard({ visit }) {
  describe("by keyboard alone", () => {
    it("the content is one key away", async () => {
      const page = await visit("/");
      await page.keyboard.press("Tab");
      assert.equal(await focused(page), "Skip to the content");
      await page.keyboard.press("Enter");
      assert.equal(await page.evaluate(() => document.activeElement.id), "main");
    });

    it("a reader goes to a model and back, and is told of each change of view", async () => {
      const page = await visit("/");
      await tabTo(page, () => document.activeElement.matches(".board a"));
      const name = await focused(page);
      await page.keyboard.press("Enter");
      await page.waitForFunction((wanted) => document.activeElement.matches("h1") && document.title.startsWith(wanted), name);
      await page.goBack();
      await page.waitForFunction(() => document.activeElement.matches("h1") && document.title.startsWith("Leaderboard"));
    });

    it("the ranking is changed by arrow keys", async () => {
      const page = await visit("/");
      await tabTo(page, () => document.activeElement.matches("input[name=window]"));
      await page.keyboard.press("ArrowRight");
      await page.locator(".board[data-window=recent]").waitFor();
      assert.equal(new URL(page.url()).search, "?window=recent");
    });

    it("what has the focus is outlined wherever Tab leads", async () => {
      const page = await visit("/");
      for (let step = 0; step < 25; step += 1) {
        await page.keyboard.press("Tab");
        const isSeen = await page.evaluate(() => {
          const shown = document.activeElement.matches("input[type=radio]") ? document.activeElement.nextElementSibling : document.activeElement;
          return document.activeElement === document.body || getComputedStyle(shown).outlineStyle !== "none";
        });
        assert.ok(isSeen, await page.evaluate(() => document.activeElement.outerHTML.slice(0, 200)));
      }
    });
  });
}
