// The page of a coordinator whose readers need a key.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";

import { isAccessible, keepPicture } from "../harness/browser.mjs";

const KEY = "a key for the page";

const SETTINGS = `
[report]
read = "key_holders"
[[report.keys]]
name = "ann"
sha256 = "${createHash("sha256").update(KEY).digest("hex")}"
role = "read"
`;

const field = (page) => page.getByLabel("Key", { exact: true });

export function key(context) {
  describe("where reading takes a key", () => {
    let address = null;

    /** The page without a key. */
    async function locked() {
      address ??= await context.competition.reportWith(SETTINGS);
      const page = await context.visit(address);
      page.expectedErrors = /status of 401/;
      await field(page).waitFor();
      return page;
    }

    it("the page asks for one and says where to get it", async () => {
      const page = await locked();
      await page.getByText("Reading takes a key here.").waitFor();
      await page.locator("#connection-text", { hasText: "Key needed" }).waitFor();
      await isAccessible(page);
      await keepPicture(page, "key-light-desktop");
    });

    it("a key that is not known is said to be unknown, and may be typed again", async () => {
      const page = await locked();
      await field(page).fill("a guess");
      await page.keyboard.press("Enter");
      await page.getByText("This key is not known here.").waitFor();
      assert.ok(await field(page).evaluate((input) => input === document.activeElement));
    });

    it("with the key everything is shown and moves live, also after a reload, and the key is in no address", async () => {
      const page = await locked();
      await field(page).fill(KEY);
      await page.getByRole("button", { name: "Use this key" }).click();
      await page.locator(".board tbody tr").first().waitFor();
      await page.locator("#connection-text", { hasText: "Live" }).waitFor();
      await page.reload();
      await page.locator(".board tbody tr").first().waitFor();
      await page.locator("#connection-text", { hasText: "Live" }).waitFor();
      await page.getByRole("link", { name: "System" }).click();
      await page.getByRole("region", { name: "Workers" }).waitFor();
      const kept = await page.evaluate(() => [location.href, JSON.stringify({ ...localStorage }), document.cookie].join(" "));
      assert.ok(!kept.includes(KEY) && !kept.includes(encodeURIComponent(KEY)), kept);
    });

    it("an event reaches a page that shows its key", async () => {
      const page = await locked();
      await field(page).fill(KEY);
      await page.keyboard.press("Enter");
      await page.locator("#connection-text", { hasText: "Live" }).waitFor();
      const asOf = page.locator(".head time");
      const before = await asOf.getAttribute("datetime");
      await context.competition.goOn(20);
      await page.waitForFunction((before) => document.querySelector(".head time").dateTime > before, before, { timeout: 5000 });
    });

    it("the page to try the API sends it", async () => {
      const page = await locked();
      await page.goto(`${address}/docs`);
      await page.getByLabel("Key, where one is wanted").fill(KEY);
      await page.keyboard.press("Tab");
      const box = page.locator("details.operation", { has: page.getByRole("heading", { name: "GET /statistics", exact: true }) });
      await box.locator("summary").first().click();
      await box.getByRole("button", { name: "Send" }).click();
      await box.getByText("200 OK after").waitFor();
      assert.ok(!(await box.innerText()).includes(KEY), "the key is not shown");
    });
  });
}
