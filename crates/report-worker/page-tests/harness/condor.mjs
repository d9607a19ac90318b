// The real binary over a database of its own: prices that this file makes up, a replay of them, and the report worker.

import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const MINUTE_S = 60;
const HOUR_S = 3600;
const DAY_S = 86_400;

const binary = process.env.CONDOR;
if (!binary) throw new Error("CONDOR names no binary: run these tests with `cargo xtask test --only page`");

/** The assets of the game, with their first price and how much they move in a minute. */
const ASSETS = [["BTC", 104_000, 4e-4], ["ETH", 2600, 6e-4]];

/** One model's answers are longer than this in the longest rounds: they are refused, with a reason. */
const CONFIG = `
[models]
max_answer_bytes = 40000
`;

/** A competition with a past, in a folder that is removed at the end. */
export class Competition {
  /** Replays `days` of rounds up to the last full hour. */
  static async replayed(days) {
    const folder = await mkdtemp(join(tmpdir(), "condor-page-"));
    const competition = new Competition(folder);
    await competition.writePrices(days);
    await writeFile(competition.config, CONFIG);
    await competition.replay(competition.from, competition.to);
    return competition;
  }

  constructor(folder) {
    this.folder = folder;
    this.config = join(folder, "condor.toml");
    this.database = `sqlite://${join(folder, "condor.db")}`;
    this.others = [];
  }

  /** A day of prices before the first round, for models want to know the past; and two hours after the last. */
  async writePrices(days) {
    this.to = Math.floor(Date.now() / 1000 / HOUR_S) * HOUR_S - 2 * HOUR_S;
    this.from = this.to - days * DAY_S;
    for (const [asset, first, volatility] of ASSETS) {
      const lines = walk(asset.charCodeAt(0), first, volatility, this.from - DAY_S, this.to + 2 * HOUR_S);
      await writeFile(join(this.folder, `${asset}-1m.csv`), `timestamp,price\n${lines.join("\n")}\n`);
    }
  }

  /** Goes on for some minutes from where the last replay ended. */
  async goOn(minutes) {
    const from = this.to;
    this.to += minutes * MINUTE_S;
    await this.replay(from, this.to);
  }

  async replay(from, to) {
    const args = ["replay", "--config", this.config, "--prices", this.folder, "--database", this.database, "--models", "6"];
    await promisify(execFile)(binary, [...args, "--from", iso(from), "--to", iso(to), "--add-model", "random-walk:scale=10"]);
  }

  /** Starts the report worker on the port that it had before, or on one that is free. */
  async report() {
    this.port ??= await freePort();
    this.worker = this.spawnReport(this.config, this.port);
    this.url = `http://127.0.0.1:${this.port}`;
    await this.isReady(this.url);
  }

  /** Starts another report worker with further settings, and gives its address; it ends with the competition. */
  async reportWith(settings) {
    const port = await freePort();
    const config = join(this.folder, `report-${port}.toml`);
    await writeFile(config, CONFIG + settings);
    this.others.push(this.spawnReport(config, port));
    const url = `http://127.0.0.1:${port}`;
    await this.isReady(url);
    return url;
  }

  spawnReport(config, port) {
    const args = ["report", "--config", config, "--database", this.database, "--listen", `127.0.0.1:${port}`];
    const worker = spawn(binary, args, { stdio: ["ignore", "ignore", "pipe"] });
    this.log = "";
    worker.stderr.on("data", (text) => (this.log += text));
    return worker;
  }

  async isReady(url) {
    const patience = Date.now() + 20_000;
    while (Date.now() < patience) {
      const answer = await fetch(`${url}/readyz`).catch(() => null);
      if (answer?.ok) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`the report worker is not ready:\n${this.log}`);
  }

  /** Ends the report worker as a crash would, and waits until it is gone. */
  async kill() {
    await end(this.worker);
  }

  async remove() {
    for (const worker of [this.worker, ...this.others]) {
      if (worker?.exitCode === null && worker.signalCode === null) await end(worker);
    }
    await rm(this.folder, { recursive: true, force: true });
  }
}

async function end(worker) {
  const gone = new Promise((resolve) => worker.once("exit", resolve));
  worker.kill("SIGKILL");
  await gone;
}

const iso = (seconds) => new Date(seconds * 1000).toISOString();

/** A random walk that is the same at each run: lines of a price file. */
function walk(seed, first, volatility, from, to) {
  const uniform = () => {
    seed = (seed * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return (seed + 1) / (2 ** 32 + 1);
  };
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  const lines = [];
  let price = first;
  for (let at = from; at <= to; at += MINUTE_S) {
    price *= 1 + volatility * normal();
    lines.push(`${at},${price.toFixed(2)}`);
  }
  return lines;
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
