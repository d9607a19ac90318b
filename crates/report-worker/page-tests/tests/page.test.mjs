// What the page promises. One competition for all tests, since a replay takes its time.

import assert from "node:assert/strict";
import { after, afterEach, before } from "node:test";

import { isLoaded, launch, open } from "../harness/browser.mjs";
import { Competition } from "../harness/condor.mjs";
import { boards } from "./boards.mjs";
import { docs } from "./docs.mjs";
import { key } from "./key.mjs";
import { keyboard } from "./keyboard.mjs";
import { live } from "./live.mjs";
import { system } from "./system.mjs";
import { views } from "./views.mjs";

const context = {
  competition: null,
  browser: null,
  pages: [],

  /** A page of the report worker, or of another at a whole address, once it has its first answers. */
  async visit(path, options) {
    const page = await open(context.browser, new URL(path, context.competition.url).href, options);
    context.pages.push(page);
    await isLoaded(page);
    return page;
  },

  /** What the API answers. */
  async api(path) {
    const answer = await fetch(`${context.competition.url}/api/v1/${path}`);
    assert.equal(answer.status, 200, path);
    return answer.json();
  },
};

before(async () => {
  [context.competition, context.browser] = await Promise.all([Competition.replayed(3), launch()]);
  await context.competition.report();
});

after(async () => {
  await context.browser?.close();
  await context.competition?.remove();
});

afterEach(async () => {
  for (const page of context.pages.splice(0)) {
    // A refresh may be on its way through a route of the test.
    await page.unrouteAll({ behavior: "ignoreErrors" });
    const errors = page.errors.filter((error) => !page.expectedErrors?.test(error));
    await page.context().close();
    assert.deepEqual(errors, [], "the console shows errors");
  }
});

views(context);
boards(context);
system(context);
docs(context);
key(context);
keyboard(context);
live(context);
