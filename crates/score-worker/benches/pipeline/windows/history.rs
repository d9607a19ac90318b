//! Weeks of scored rounds, written by the database itself.

use std::sync::Arc;

use domain::{CrunchId, Method, Question, Span, Target, Timestamp, TimestampExt};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use storage::Store;
use tokio::sync::Mutex;

use crate::Result;

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
