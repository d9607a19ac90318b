// The page while things happen.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

/** The page says how fresh it is in one place. */
const connection = (page, text) => page.locator("#connection-text", { hasText: text }).waitFor();

/** Marks the document, so that a reload would be noticed. */
const mark = (page) => page.evaluate(() => (globalThis.isSameDocument = true));
const isMarked = (page) => page.evaluate(() => globalThis.isSameDocument === true);

export function live(context) {
  describe("while the competition goes on", () => {
    it("new scores show without a reload", async () => {
      const page = await context.visit("/");
      await connection(page, "Live");
      await mark(page);
      const asOf = page.locator(".head time");
      const before = await asOf.getAttribute("datetime");
      const cells = await page.locator(".board tbody").innerText();
      await context.competition.goOn(20);
      await page.waitForFunction((before) => document.querySelector(".head time").dateTime > before, before);
      assert.notEqual(await page.locator(".board tbody").innerText(), cells);
      assert.ok(await isMarked(page));
    });

    it("a report worker that is killed is noticed, and the page recovers by itself once it is back", async () => {
      const page = await context.visit("/");
      page.expectedErrors = /Failed to load resource: net::ERR_|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_REFUSED/;
      await connection(page, "Live");
      await mark(page);
      const rows = await page.locator(".board tbody").innerText();
      await context.competition.kill();
      await connection(page, "Stale");
      await page.getByText("The server cannot be reached.").waitFor();
      assert.equal(await page.locator(".board tbody").innerText(), rows, "what was received stays");
      await context.competition.report();
      await connection(page, "Live");
      await page.locator("#notice").waitFor({ state: "hidden" });
      assert.ok(await isMarked(page));
    });

    it("a page that is opened while the worker is away loads once it is back", async () => {
      const page = await context.visit("/");
      page.expectedErrors = /net::ERR_/;
      await page.route("**/api/v1/**", (route) => route.abort());
      await page.reload();
      await page.getByRole("button", { name: "Try again" }).waitFor();
      await page.unroute("**/api/v1/**");
      await page.getByRole("button", { name: "Try again" }).click();
      await page.locator(".board tbody tr").first().waitFor();
    });
  });
}
