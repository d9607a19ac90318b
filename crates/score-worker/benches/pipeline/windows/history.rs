//! Weeks of scored rounds, written by the database itself.

use std::sync::Arc;

use domain::{
    AnswerBytes, Asset, CrunchId, LedgerEntry, LedgerPosition, Method, Price, PricePoint, Question, Span,
    Target, Timestamp, TimestampExt,
};
use scoring::{Expected, Limits, pack_answer};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use storage::Store;
use tokio::sync::Mutex;

use crate::Result;
use crate::game::{self, Numbers, Random};

const ASSETS: [&str; 4] = ["BTC", "ETH", "SOL", "XAU"];

/// Horizons, and how often each asset is asked about them: 6 rounds an hour.
const SCHEDULES: [(Span, Span); 3] =
    [(Span::HOUR, Span::minutes(15)), (Span::hours(4), Span::HOUR), (Span::hours(24), Span::HOUR)];

const STEP: Span = Span::minutes(1);

/// Numbers of changes of one week.
const CHANGES: u32 = 10_000;

/// Marks the rounds that are asked as scored, and numbers the changes from $BASE on.
const SCORE: &str = "UPDATE rounds SET state = 'scored', rule = '$RULE', success = 1000, closed_at = asked_at, scored_at = resolves_at,
                                       best = 0.0, q95 = 1.0, change_number = $BASE + numbered.n
     FROM (SELECT round_id, row_number() OVER (ORDER BY resolves_at, round_id) AS n
           FROM rounds WHERE state = 'asked') AS numbered
     WHERE numbered.round_id = rounds.round_id";

const COUNT: &str = "UPDATE change_counter
     SET last_number = (SELECT max(change_number) FROM rounds)";

/// A number from 0 to 1 for each model in each of these rounds.
const INSERT: &str = r#"INSERT INTO scores (round_id, model_id, raw, relative, failure, steps)
     SELECT round_id, model_id, 1.0 - value, value, NULL,
            '[{"step":"1m","mean":0.0012345678901234567,"increments":60,"left_out":0}]'
     FROM (SELECT round_id, model_id,
                  CAST((change_number * 7919 + CAST(substr(model_id, 7) AS BIGINT) * 104729) % 999983 AS DOUBLE PRECISION)
                      / CAST(999983 AS DOUBLE PRECISION) AS value
           FROM rounds CROSS JOIN models WHERE change_number > $BASE AND change_number <= $LAST) AS made_up
     ORDER BY round_id, model_id"#;

/// A valid answer of each model in each round over a horizon.
const ANSWER: &str =
    "INSERT INTO predictions (round_id, model_id, deployment_id, status, received_at, took_us, answer)
     SELECT round_id, model_id, 'd-1', 'SUCCESS', asked_at,
            100000 + (change_number * 7919 + CAST(substr(model_id, 7) AS BIGINT) * 104729) % 900000, $ANSWER
     FROM rounds CROSS JOIN models
     WHERE horizon_s = $HORIZON AND change_number > $BASE AND change_number <= $LAST
     ORDER BY round_id, model_id";

/// Of so long before the end there are prices.
const PRICED: Span = Span::days(2);

/// The rounds that resolve after `after` up to `up_to`.
pub fn questions(after: Timestamp, up_to: Timestamp) -> Result<Vec<Question>> {
    let crunch: CrunchId = "condor".parse()?;
    let mut questions = Vec::new();
    for (horizon, every) in SCHEDULES {
        for (asset, number) in ASSETS.iter().zip(0..) {
            let phase = Span::minutes(every.as_secs() / 60 / ASSETS.len() as u32).times(number);
            let mut at = (after - horizon - phase).floor_to(every) + phase;
            while at + horizon <= up_to {
                if at + horizon > after {
                    questions.push(Question::new(
                        &crunch,
                        asset.parse()?,
                        horizon,
                        vec![STEP],
                        Method::Predict,
                        Target::LogReturn,
                        at,
                    ));
                }
                at = at + every;
            }
        }
    }
    Ok(questions)
}

/// The same density in each step.
fn packed_answer(horizon: Span) -> Result<Vec<u8>> {
    let question = game::question(horizon, STEP, game::start()?)?;
    let text = game::text(&question, Numbers::Repeated, 1);
    let (_, packed) = pack_answer(text.as_bytes(), &Expected::from(&question), &Limits::default())?;
    Ok(AnswerBytes::from(packed).as_bytes().to_vec())
}

enum Database {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// The rounds of a database, which is also reached behind the store's back.
pub struct History {
    store: Arc<dyn Store>,
    database: Mutex<Database>,
    rule: String,
    rounds: u64,
}

impl History {
    pub async fn open(url: &str, store: Arc<dyn Store>, rule: String) -> Result<Self> {
        let database = if url.starts_with("sqlite://") {
            Database::Sqlite(SqliteConnection::connect(url).await?)
        } else {
            Database::Postgres(PgConnection::connect(url).await?)
        };
        Ok(History { store, database: Mutex::new(database), rule, rounds: 0 })
    }

    /// How many rounds were written.
    pub fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Writes the rounds of a week that resolve after `after` up to `up_to`, all scored, day by day; a later week has the
    /// higher numbers of changes.
    pub async fn fill(&mut self, week: u32, after: Timestamp, up_to: Timestamp) -> Result<()> {
        let (mut day, mut base) = (after, u64::from(week * CHANGES));
        while day < up_to {
            eprintln!("week {week}: {day}, {} rounds are stored", self.rounds);
            let questions = questions(day, day + Span::days(1))?;
            self.store.mark_asked(&questions, day).await?;
            let last = base + questions.len() as u64;
            let fill = |sql: &str| {
                let sql = sql.replace("$RULE", &self.rule).replace("$BASE", &base.to_string());
                sql.replace("$LAST", &last.to_string())
            };
            for sql in [SCORE, COUNT, INSERT] {
                self.execute(fill(sql)).await?;
            }
            (day, base) = (day + Span::days(1), last);
            self.rounds += questions.len() as u64;
        }
        Ok(())
    }

    /// Gives every round of this week an answer of each model.
    pub async fn answer(&self, week: u32) -> Result<()> {
        let base = u64::from(week * CHANGES);
        for (horizon, _) in SCHEDULES {
            eprintln!("week {week}: answers over {horizon}");
            let answer = self.literal(&packed_answer(horizon)?).await;
            let sql = ANSWER.replace("$ANSWER", &answer).replace("$HORIZON", &horizon.as_secs().to_string());
            let sql = sql
                .replace("$BASE", &base.to_string())
                .replace("$LAST", &(base + u64::from(CHANGES)).to_string());
            self.execute(sql).await?;
        }
        Ok(())
    }

    /// Bytes as the database writes them.
    async fn literal(&self, bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match *self.database.lock().await {
            Database::Sqlite(_) => format!("x'{hex}'"),
            Database::Postgres(_) => format!("'\\x{hex}'::bytea"),
        }
    }

    /// Writes a close of each asset for each minute of the last days before `end`.
    pub async fn price(&self, end: Timestamp) -> Result<()> {
        let (mut position, mut entries) = (self.store.ledger_end().await?.0, Vec::new());
        let mut random = Random::from_seed(1);
        for asset in ASSETS {
            let (asset, mut price) = (asset.parse::<Asset>()?, 100.0);
            for minute in 1..=PRICED.divided_by(STEP) {
                position += 1;
                price *= 1.0 + random.between(-1e-3..1e-3);
                entries.push(LedgerEntry {
                    position: LedgerPosition(position),
                    asset: asset.clone(),
                    point: PricePoint {
                        at: end - PRICED + STEP.times(minute as u32),
                        price: Price::new(price)?,
                    },
                    source: "made up".to_owned(),
                });
            }
        }
        Ok(self.store.append_prices(&entries, Timestamp::UNIX_EPOCH).await?)
    }

    /// Does what the database would do by and by, so that it does not do so meanwhile.
    pub async fn settle(&self) -> Result<()> {
        let sql = match *self.database.lock().await {
            Database::Sqlite(_) => ["PRAGMA wal_checkpoint(TRUNCATE)"].as_slice(),
            Database::Postgres(_) => ["VACUUM ANALYZE", "CHECKPOINT"].as_slice(),
        };
        for sql in sql {
            self.execute((*sql).to_owned()).await?;
        }
        Ok(())
    }

    async fn execute(&self, sql: String) -> Result<()> {
        match &mut *self.database.lock().await {
            Database::Sqlite(connection) => {
                sqlx::query(AssertSqlSafe(sql)).execute(connection).await?;
            }
            Database::Postgres(connection) => {
                sqlx::query(AssertSqlSafe(sql)).execute(connection).await?;
            }
        }
        Ok(())
    }
}
