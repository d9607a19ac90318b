// What the system view says of the machinery, and what to do about it.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

/** Has the system be told as `change` makes it of what it is. */
async function told(page, change) {
  await page.route("**/api/v1/system", async (route) => {
    const answer = await route.fetch();
    const system = await answer.json();
    change(system);
    await route.fulfill({ response: answer, json: system });
  });
  await page.reload();
  await page.locator(".advice :is(li, .fresh)").first().waitFor();
  return page.locator(".advice").innerText();
}

const workers = (page) => page.getByRole("region", { name: "Workers" }).locator("tbody tr").allInnerTexts();

/** A system in which nothing is the matter. */
function allWell(system) {
  const [report] = system.workers.slice(-1);
  const other = (role, state, facts) => ({ ...report, role, state, instance: role, host: "engine room", ...facts });
  system.workers = [
    other("predict", "leading", { waiting_writes: 0, journal_bytes: 4_096_000 }),
    other("score", "scoring and ranking", { due_rounds: 2, scoring_lag_s: 3 }),
    report,
  ];
  system.prices = system.prices.map((price) => ({ ...price, newest_at: system.now, age_s: 0 }));
  system.scoring = { due_rounds: 2, oldest_resolved_at: system.now, lag_s: 3 };
}

export function system({ visit, api }) {
  describe("system", () => {
    it("says that nobody asks and nobody scores when the report worker is alone", async () => {
      const page = await visit("/system");
      const { workers: known } = await api("system");
      assert.deepEqual(known.map(({ role }) => role), ["report"]);
      const rows = await workers(page);
      assert.equal(rows.length, 1);
      assert.match(rows[0], /report\s+answering/);
      const advice = await page.locator(".advice").innerText();
      assert.ok(advice.includes("No predict worker leads") && advice.includes("No score worker is alive"), advice);
      await page.getByText("None was missed in the last 24 hours.").waitFor();
    });

    it("says that nothing needs attention when all is well", async () => {
      const page = await visit("/system");
      const advice = await told(page, allWell);
      assert.ok(advice.startsWith("Nothing: every worker is at work"), advice);
      const rows = await workers(page);
      assert.match(rows[0], /predict\s+leading.*engine room.*0 writes, journal 4\.1 MB/s);
      assert.match(rows[1], /2 rounds to score, 3 s behind/);
      assert.match(await page.locator(".tiles").innerText(), /Workers alive\s+3 of 3/);
    });

    it("says what to do about a silent worker, a full journal, old prices, late scores and missed slots", async () => {
      const page = await visit("/system");
      const hourAgo = (system) => new Date(Date.parse(system.now) - 3_630_000).toISOString();
      const advice = await told(page, (system) => {
        allWell(system);
        const [predict, score] = system.workers;
        Object.assign(predict, { waiting_writes: 12, oldest_waiting_at: hourAgo(system), version: "0.0.1" });
        Object.assign(score, { alive: false, silent_s: 600 });
        system.prices[0].newest_at = hourAgo(system);
        system.scoring = { due_rounds: 40, oldest_resolved_at: hourAgo(system), lag_s: 3600 };
        system.slots = { ...system.slots, asked: 9, missed: 7, missed_by_cause: { paused: 2, no_fresh_price: 5 } };
      });
      const sentences = [
        "No score worker is alive", "The score worker on engine room has fallen silent", "different versions",
        "12 writes of the predict worker on engine room wait for the database, the oldest for 60 min", "price of BTC",
        "40 rounds wait for their scores",
      ];
      for (const sentence of sentences) assert.ok(advice.includes(sentence), `${sentence}: ${advice}`);
      assert.match((await workers(page))[1], /silent; was scoring and ranking\s+10 min ago/);
      const missed = await page.getByRole("region", { name: "Slots that were missed" }).locator("tbody tr").allInnerTexts();
      assert.match(missed[0], /The price of the slot had not come\s+5\s+Look at the price source/);
      assert.match(missed[1], /An operator paused the competition\s+2/);
    });

    it("that cannot be read any more is said to be stale", async () => {
      const page = await visit("/system");
      await told(page, (system) => (system.stale = true));
      await page.locator("#connection-text", { hasText: "Stale" }).waitFor();
      await page.getByText("this is what was read last").waitFor();
    });
  });
}
