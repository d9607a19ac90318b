// The page to try the API.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { isAccessible } from "../harness/browser.mjs";

/** Opens an operation, and gives its box. */
async function operation(page, path) {
  const box = page.locator("details.operation", { has: page.getByRole("heading", { name: `GET ${path}`, exact: true }) });
  await box.locator("summary").first().click();
  return box;
}

export function docs({ visit, api }) {
  describe("the page to try the API", () => {
    it("has every path of the document", async () => {
      const page = await visit("/docs");
      const document = await (await fetch(new URL("/openapi.json", page.url()))).json();
      const shown = await page.locator("details.operation h3").allInnerTexts();
      assert.deepEqual(shown.toSorted(), Object.keys(document.paths).map((path) => `GET ${path}`).toSorted());
    });

    it("sends a request with parameters and shows status, headers and body", async () => {
      const page = await visit("/docs");
      const box = await operation(page, "/api/v1/leaderboard");
      await box.getByLabel("window").selectOption("steady");
      await box.getByLabel("limit").fill("1");
      await box.getByRole("button", { name: "Send" }).click();
      await box.getByText("200 OK after").waitFor();
      assert.match(await box.locator("pre").nth(0).innerText(), /curl 'http:.*\/api\/v1\/leaderboard\?window=steady&limit=1'/);
      assert.match(await box.locator("pre").nth(1).innerText(), /^etag: /m);
      const shown = JSON.parse(await box.locator("pre.body").innerText());
      const expected = await api("leaderboard?window=steady&limit=1");
      assert.deepEqual(shown.models, expected.models);
      await isAccessible(page);
    });

    it("puts what is typed into a path where it belongs, and shows a problem as it is", async () => {
      const page = await visit("/docs");
      page.expectedErrors = /status of 404/;
      const box = await operation(page, "/api/v1/models/{model_id}");
      await box.getByLabel("model_id").fill("no/bo'dy");
      await box.getByRole("button", { name: "Send" }).click();
      await box.getByText("404 Not Found after").waitFor();
      assert.match(await box.locator("pre").nth(0).innerText(), /\/api\/v1\/models\/no%2Fbo%27dy'$/);
      assert.match(await box.locator("pre.body").innerText(), /There is no model with the id/);
    });

    it("shows of a stream what comes in a moment", async () => {
      const page = await visit("/docs");
      const box = await operation(page, "/api/v1/events");
      await box.getByRole("button", { name: "Send" }).click();
      await box.getByText("what came in 3 s").waitFor();
      assert.match(await box.locator("pre.body").innerText(), /retry: 2000/);
    });
  });
}
