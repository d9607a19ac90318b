// Every view, on rounds that were really replayed.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { DESKTOP, PHONE, alterBoard, fitsSideways, isAccessible, keepPicture } from "../harness/browser.mjs";

export function views({ visit, api }) {
  describe("leaderboard", () => {
    it("shows every model with its three windows, best first", async () => {
      const page = await visit("/");
      const { models } = await api("leaderboard");
      const rows = await page.locator(".board tbody tr").allInnerTexts();
      assert.equal(rows.length, models.length);
      models.forEach((model, index) => {
        assert.ok(rows[index].includes(model.model_name), rows[index]);
        for (const window of Object.values(model.windows)) assert.ok(rows[index].includes(window.score.toFixed(4)), rows[index]);
      });
    });

    it("finds a model by a part of its name, and keeps that in the address", async () => {
      const page = await visit("/");
      await page.getByLabel("Search").fill("STUDENT");
      const rows = await page.locator(".board tbody tr").allInnerTexts();
      assert.ok(rows.length > 0 && rows.every((text) => text.includes("Student")), rows);
      assert.equal(new URL(page.url()).search, "?search=STUDENT");
      await page.getByLabel("Search").fill("nobody of this name");
      await page.getByText("No model or cruncher").waitFor();
    });

    it("comes within 300 kB and is usable within a second", async (test) => {
      const page = await visit("/");
      const [size, usableAt] = await page.evaluate(() => {
        const entries = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
        const size = entries.reduce((sum, entry) => sum + entry.transferSize, 0);
        return [size, performance.getEntriesByName("usable")[0].startTime];
      });
      test.diagnostic(`first view: ${(size / 1000).toFixed(1)} kB, usable after ${usableAt.toFixed(0)} ms`);
      assert.ok(size < 300_000, `${size} bytes`);
      assert.ok(usableAt < 1000, `usable after ${usableAt} ms`);
    });

    it("does not move what is shown while it loads", async () => {
      const page = await visit("/");
      const shift = await page.evaluate(() => new Promise((resolve) => {
        let sum = 0;
        const observer = new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) sum += entry.value;
        });
        observer.observe({ type: "layout-shift", buffered: true });
        setTimeout(() => resolve(sum), 200);
      }));
      assert.ok(shift < 0.05, `layout shift of ${shift}`);
    });
  });

  describe("model", () => {
    it("shows its standing, how it answered, and where it failed with the reason", async () => {
      const { models } = await api("leaderboard");
      const failing = models.find((model) => model.windows.anchor.success_rate < 1);
      const page = await visit(`/models/${encodeURIComponent(failing.model_id)}`);
      assert.ok((await page.title()).startsWith(failing.model_name));
      const tiles = await page.locator(".tiles").innerText();
      for (const window of Object.values(failing.windows)) assert.ok(tiles.includes(window.score.toFixed(4)), tiles);
      const { predictions } = await api(`models/${encodeURIComponent(failing.model_id)}/predictions?status=FAILED&limit=1`);
      const row = await page.getByRole("region", { name: "Latest failures" }).locator("tbody tr").first().innerText();
      assert.ok(row.includes(predictions[0].reason ?? predictions[0].cause), row);
    });

    it("shows its scores over time and by asset and horizon", async () => {
      const [{ model_id: id }] = (await api("leaderboard")).models;
      const { parameters, deployment_id: deployment } = await api(`models/${encodeURIComponent(id)}`);
      const page = await visit(`/models/${encodeURIComponent(id)}`);
      const cells = await page.getByRole("region", { name: "Scores by asset and horizon" }).locator("td b").allInnerTexts();
      const scores = parameters.map(({ windows }) => windows.anchor.score?.toFixed(4)).filter(Boolean);
      assert.deepEqual(cells.toSorted(), scores.toSorted());
      await page.getByRole("definition").getByText(deployment, { exact: true }).waitFor();
      await page.getByRole("img", { name: /^Relative score over time: Recent 0\./ }).waitFor();
    });

    it("that nobody knows is said to be unknown", async () => {
      const page = await visit("/models/nobody");
      page.expectedErrors = /status of 404/;
      await page.getByText("There is no model with the id").first().waitFor();
    });
  });

  describe("round", () => {
    it("that is scored shows every answer, ranked, against what the price did, and why", async () => {
      const [round] = (await api("rounds?state=scored&limit=1")).rounds;
      const { predictions } = await api(`rounds/${round.round_id}/predictions`);
      const page = await visit(`/rounds/${round.round_id}`);
      const ranks = await page.locator("tbody tr[data-key] > td:first-child").allInnerTexts();
      assert.equal(ranks.length >= predictions.length, true);
      const best = predictions.find(({ rank }) => rank === 1);
      await page.getByRole("heading", { name: `How ${best.model_name} answered` }).waitFor();
      assert.match(await page.locator("[role=img]").first().getAttribute("aria-label"), /ended at [\d,.]+, median [\d,.]+, 90 % between/);
      const other = predictions.find(({ rank }) => rank === 2);
      await page.getByRole("button", { name: `Show the answer of ${other.model_name} and` }).click();
      await page.getByRole("heading", { name: `How ${other.model_name} answered` }).waitFor();
      assert.equal(new URL(page.url()).searchParams.get("model"), other.model_id);
      await page.locator("summary").first().click();
      const increments = await page.locator("details tbody tr").count();
      assert.ok(increments > 0);
    });

    it("that is open shows who answered and how fast, and nothing of the answers", async () => {
      const { rounds } = await api("rounds?state=closed&limit=100");
      const open = rounds.find((round) => Date.parse(round.resolves_at) > Date.now());
      const page = await visit(`/rounds/${open.round_id}`);
      await page.getByText("resolves in").first().waitFor();
      assert.match(await page.locator("tbody").innerText(), /success\s+\S+ m?s/);
      assert.equal(await page.locator("canvas").count(), 0);
      assert.equal(await page.locator("tbody button").count(), 0);
    });

    it("is found in the list by asset", async () => {
      const page = await visit("/rounds");
      await page.getByLabel("Asset").selectOption("ETH");
      await page.waitForFunction(() => [...document.querySelectorAll("tbody tr")].every((row) => row.innerText.includes("ETH")));
      assert.equal(new URL(page.url()).search, "?asset=ETH");
    });
  });

  describe("market", () => {
    it("shows each asset's last price and every feed", async () => {
      const page = await visit("/market");
      const { feeds } = await api("feeds");
      const { points } = await api(`prices?asset=BTC&to=${feeds[0].newest_at}`);
      const shown = points.at(-1).price.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
      await page.getByText(shown).first().waitFor();
      assert.equal(await page.getByRole("region", { name: "Feeds" }).locator("tbody tr").count(), feeds.length);
    });
  });

  describe("whatever participants call their models", () => {
    it("is shown as text", async () => {
      const page = await visit("/");
      const name = "</td><img src=x onerror=alert(1)><script>alert(2)</script>";
      await alterBoard(page, (board) => (board.models[0].model_name = name));
      await page.getByRole("radio", { name: /Recent/ }).check();
      await page.getByText(name).waitFor();
      assert.equal(await page.locator("main img, main script").count(), 0);
    });
  });

  describe("each view, in light and dark, on a desk and on a phone", () => {
    for (const [name, address] of VIEWS) {
      it(`${name} is accessible and does not scroll sideways`, async () => {
        const page = await visit(await address(api));
        for (const [size, viewport] of [["desktop", DESKTOP], ["phone", PHONE]]) {
          await page.setViewportSize(viewport);
          for (const colorScheme of ["light", "dark"]) {
            await page.emulateMedia({ colorScheme });
            await fitsSideways(page);
            await isAccessible(page);
            await keepPicture(page, `${name}-${colorScheme}-${size}`);
          }
        }
      });
    }
  });
}

/** A name for pictures, and the address of a view with something to see. */
const VIEWS = [
  ["leaderboard", () => "/"],
  ["model", async (api) => `/models/${encodeURIComponent((await api("leaderboard")).models[0].model_id)}`],
  ["rounds", () => "/rounds"],
  ["round", async (api) => `/rounds/${(await api("rounds?state=scored&limit=1")).rounds[0].round_id}`],
  ["market", () => "/market"],
  ["system", () => "/system"],
  ["docs", () => "/docs#api_v1_leaderboard"],
];
