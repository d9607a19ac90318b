// The leaderboard by asset and horizon, what became of ranks, and how models did over the last days.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { alterBoard } from "../harness/browser.mjs";

const names = (page) => page.locator(".board tbody .model a").allInnerTexts();

export function boards({ visit, api }) {
  describe("leaderboard by asset and horizon", () => {
    it("ranks by the scores in them alone, and keeps the choice in the address", async () => {
      const page = await visit("/");
      await page.getByLabel("Asset").selectOption("ETH");
      await page.getByLabel("Horizon").selectOption("1h");
      await page.getByText(/models in ETH over 1h, best/).waitFor();
      assert.equal(new URL(page.url()).search, "?asset=ETH&horizon=1h");
      const { models } = await api("leaderboard?asset=ETH&horizon=1h");
      assert.deepEqual(await names(page), models.map(({ model_name: name }) => name));
      const first = await page.locator(".board tbody tr").first().innerText();
      for (const window of Object.values(models[0].windows)) assert.ok(first.includes(window.score.toFixed(4)), first);
    });

    it("is the same for whoever follows a link to it", async () => {
      const page = await visit("/?asset=BTC&horizon=24h&window=recent");
      assert.equal(await page.getByLabel("Asset").inputValue(), "BTC");
      assert.equal(await page.getByLabel("Horizon").inputValue(), "24h");
      const { models } = await api("leaderboard?asset=BTC&horizon=24h&window=recent");
      assert.deepEqual(await names(page), models.map(({ model_name: name }) => name));
      await page.getByLabel("Asset").selectOption("");
      await page.getByText(/models over 24h, best/).waitFor();
      assert.equal(new URL(page.url()).search, "?horizon=24h&window=recent");
    });

    it("says so where nobody has a score", async () => {
      const page = await visit("/?asset=NOBODY");
      await page.getByText("No model has a score here yet.").waitFor();
      assert.equal(await page.getByLabel("Asset").inputValue(), "NOBODY");
    });
  });

  describe("change of rank", () => {
    it("is an arrow and a number, and words for who does not see them", async () => {
      const page = await visit("/");
      await alterBoard(page, (board) => {
        board.before_as_of = "2026-01-30T12:00:00Z";
        const [first, second, third, fourth] = board.models;
        first.rank_before = 4;
        second.rank_before = 2;
        third.rank_before = null;
        fourth.rank_before = 3;
      });
      await page.getByRole("radio", { name: /Anchor/ }).check();
      await page.getByText("▲3").waitFor();
      const cells = await page.locator(".board tbody .rank").allTextContents();
      const since = "since 2026-01-30 12:00 UTC";
      assert.deepEqual(cells.slice(0, 4), [
        `1 ▲3 up 3 places ${since}`, "2", `3 new new in the ranking ${since}`, `4 ▼1 down 1 place ${since}`,
      ]);
    });

    it("is what the leaderboard of a day before tells", async () => {
      const { models, before_as_of: before } = await api("leaderboard");
      const page = await visit("/");
      const moved = models.filter(({ rank, rank_before: was }) => before !== null && rank !== null && rank !== was);
      assert.equal(await page.locator(".board .change").count(), moved.length);
    });
  });

  describe("small charts", () => {
    it("show each model's last days, and say them in words", async () => {
      const { models } = await api("leaderboard/trends");
      const page = await visit("/");
      await page.locator(".board .sparkline").nth(models.length - 1).waitFor();
      const drawn = models.filter(({ scores }) => scores.filter((score) => score !== null).length > 1);
      assert.equal(await page.locator(".board .sparkline").count(), drawn.length);
      const first = models.find(({ model_id: id }) => id === drawn[0].model_id);
      const known = first.scores.filter((score) => score !== null);
      const row = await page.locator(`.board tr[data-key="${first.model_id}"] .trend-cell`).textContent();
      assert.equal(row, ` from ${known[0].toFixed(3)} to ${known.at(-1).toFixed(3)} in the last 7 days`);
    });

    it("have their place before they come, and are none while there is nothing to show", async () => {
      const page = await visit("/");
      await page.route("**/leaderboard/trends*", (route) => route.fulfill({ json: { instants: [], models: [] } }));
      const height = () => page.locator(".board tbody").evaluate((body) => body.getBoundingClientRect().height);
      await page.locator(".board .sparkline").first().waitFor();
      const before = await height();
      await page.reload();
      await page.locator(".board tbody tr").first().waitFor();
      assert.equal(await page.locator(".board .sparkline").count(), 0);
      assert.equal(await height(), before);
    });
  });

  describe("a model's deployments", () => {
    it("are listed with when they were seen", async () => {
      const [{ model_id: id }] = (await api("leaderboard")).models;
      const { deployments } = await api(`models/${encodeURIComponent(id)}/deployments`);
      assert.ok(deployments.length > 0);
      const page = await visit(`/models/${encodeURIComponent(id)}`);
      const rows = await page.getByRole("region", { name: "Deployments" }).locator("tbody tr").allInnerTexts();
      assert.equal(rows.length, deployments.length);
      const { deployment_id: latest, first_seen_at: first } = deployments[0];
      assert.ok(rows[0].includes(latest) && rows[0].includes(first.slice(0, 16).replace("T", " ")), rows[0]);
    });
  });
}
