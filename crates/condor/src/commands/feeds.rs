//! `condor feeds check`: asks each source for each asset, and tells how fresh its prices are and whether they agree.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use domain::{Asset, Clock, PricePoint, Span, Stopwatch, SystemClock, Timestamp, TimestampExt};
use feeds::{Close, FeedError, PriceFeed, Wanted};
use futures::future::join_all;
use serde::Serialize;

use crate::cli::FeedsCommand;
use crate::config::{Config, PriceSource, load};
use crate::price_feed;

/// What `--help` adds to the options.
pub const EXPLANATION: &str = "\
Asks every source of [[prices.sources]] for the last ten minutes of each asset that is asked about. A stream is listened to
until its first candle is over, up to 80 s. Then the sources are held against each other as the predict worker does.

A line for each source and asset: its newest close, how old that is, how long the answer took, and by how much its closes
differ at most from those of another source. A line for each asset: whether a close of the last three minutes would be taken,
and from where. Nothing is stored. A market that is closed at the moment has no fresh price either.

Exit status: 0 when every asset has a usable source, 1 when one has none, 2 on wrong usage or configuration.";

/// How far back is asked.
const LOOK_BACK: Span = Span::minutes(10);
/// Older closes do not let rounds be asked.
const FRESH: Span = Span::minutes(3);
/// A stream's first minute may have begun before it was listened to.
const STREAM_PATIENCE: Duration = Duration::from_secs(80);
/// So long one that is asked may take to have a fresh close.
const PATIENCE: Duration = Duration::from_secs(6);
const PAUSE: Duration = Duration::from_millis(500);

/// What one source says of one asset.
#[derive(Debug, Serialize)]
struct Finding {
    source: String,
    asset: Asset,
    /// Of the last ten minutes.
    closes: usize,
    newest: Option<PricePoint>,
    age_s: Option<u64>,
    answer_ms: u64,
    differs: Option<Difference>,
    error: Option<String>,
    #[serde(skip)]
    points: Vec<PricePoint>,
}

/// How far two sources are apart, at most, at the instants that both have.
#[derive(Debug, Clone, Serialize, PartialEq)]
struct Difference {
    from: String,
    /// 0.01 is 1 %.
    share: f64,
}

/// What would become of an asset.
#[derive(Debug, Serialize)]
struct Verdict {
    asset: Asset,
    usable: bool,
    taken_from: Option<String>,
    reason: Option<String>,
}

/// Checks, and prints what it finds.
pub async fn run(command: FeedsCommand) -> anyhow::Result<()> {
    let FeedsCommand::Check { config, json } = command;
    let config = load(config.as_deref(), None)?.config;
    let assets = config.schedules()?.assets();
    let feeds = price_feed::open_each(&config, &assets)?;
    let mut findings = look(&config, &feeds, &assets).await;
    compare(&mut findings);
    findings.iter().for_each(|finding| print(json, finding, Finding::line));
    let together = price_feed::together(&config, feeds);
    let verdicts = join_all(assets.iter().map(|asset| judge(&together, asset))).await;
    verdicts.iter().for_each(|verdict| print(json, verdict, Verdict::line));
    let unusable: Vec<&str> =
        verdicts.iter().filter(|verdict| !verdict.usable).map(|verdict| verdict.asset.as_str()).collect();
    if unusable.is_empty() { Ok(()) } else { bail!("no usable source of {}", unusable.join(", ")) }
}

fn print<T: Serialize>(json: bool, item: &T, line: fn(&T) -> String) {
    match serde_json::to_string(item) {
        Ok(object) if json => println!("{object}"),
        _ => println!("{}", line(item)),
    }
}

async fn look(config: &Config, feeds: &[Arc<dyn PriceFeed>], assets: &[Asset]) -> Vec<Finding> {
    let pairs = config.prices.sources.iter().zip(feeds).flat_map(|(source, feed)| {
        let patience = patience(source);
        assets.iter().map(move |asset| ask(feed.as_ref(), asset, patience))
    });
    join_all(pairs).await.into_iter().flatten().collect()
}

fn patience(source: &PriceSource) -> Duration {
    match source {
        PriceSource::Hermes(_) | PriceSource::BinanceStream(_) => STREAM_PATIENCE,
        _ => PATIENCE,
    }
}

/// Asks until there is a fresh close, the source fails, or patience ends; `None` when the source has nothing to do with the
/// asset.
async fn ask(feed: &dyn PriceFeed, asset: &Asset, patience: Duration) -> Option<Finding> {
    let begun = Stopwatch::start();
    loop {
        let (now, asked) = (SystemClock.now(), Stopwatch::start());
        let answer = feed.closes(Wanted::new(asset, now - LOOK_BACK, now)).await;
        let found = match answer {
            Err(FeedError::UnknownAsset { .. }) => return None,
            Ok(closes) => Finding::new(feed, asset, closes.iter().map(|close| close.point).collect(), &asked),
            Err(error) => {
                let error = Some(error.to_string());
                return Some(Finding { error, ..Finding::new(feed, asset, Vec::new(), &asked) });
            }
        };
        if found.is_fresh() || begun.elapsed() > patience {
            return Some(found);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl Finding {
    fn new(feed: &dyn PriceFeed, asset: &Asset, points: Vec<PricePoint>, asked: &Stopwatch) -> Self {
        let newest = points.last().copied();
        Finding {
            source: feed.name().to_owned(),
            asset: asset.clone(),
            closes: points.len(),
            newest,
            age_s: newest.map(|newest| age(newest.at).as_secs()),
            answer_ms: u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX),
            differs: None,
            error: None,
            points,
        }
    }

    fn is_fresh(&self) -> bool {
        self.newest.is_some_and(|newest| age(newest.at) <= FRESH.as_duration())
    }

    fn line(&self) -> String {
        let (source, asset) = (&self.source, &self.asset);
        let told = match (&self.error, self.newest) {
            (Some(error), _) => error.clone(),
            (None, None) => format!("no close in the last {LOOK_BACK}"),
            (None, Some(newest)) => {
                let (price, at) = (newest.price.value(), newest.at.to_utc_string());
                let age = self.age_s.unwrap_or_default();
                format!(
                    "{price} at {at}, {age} s old; {} closes in {} ms{}",
                    self.closes,
                    self.answer_ms,
                    self.agreement()
                )
            }
        };
        format!("{source:<16} {asset:<8} {told}")
    }

    fn agreement(&self) -> String {
        let Some(Difference { from, share }) = &self.differs else { return String::new() };
        format!("; at most {:.3} % from {from}", share * 100.0)
    }
}

impl Verdict {
    fn line(&self) -> String {
        let asset = &self.asset;
        match (&self.taken_from, &self.reason) {
            (Some(source), _) if self.usable => format!("{asset}: usable, from {source}"),
            (_, Some(reason)) => format!("{asset}: NO USABLE SOURCE: {reason}"),
            _ => format!("{asset}: NO USABLE SOURCE"),
        }
    }
}

fn age(at: Timestamp) -> Duration {
    SystemClock.now().since(at)
}

/// Notes of each finding from which other source it differs most.
fn compare(findings: &mut [Finding]) {
    let differences: Vec<Option<Difference>> = findings
        .iter()
        .map(|finding| {
            let others = findings
                .iter()
                .filter(|other| other.asset == finding.asset && other.source != finding.source);
            others.filter_map(|other| difference(finding, other)).max_by(|a, b| a.share.total_cmp(&b.share))
        })
        .collect();
    findings.iter_mut().zip(differences).for_each(|(finding, differs)| finding.differs = differs);
}

fn difference(finding: &Finding, other: &Finding) -> Option<Difference> {
    let shares = finding.points.iter().filter_map(|point| {
        let same = other.points.iter().find(|candidate| candidate.at == point.at)?;
        let (a, b) = (point.price.value(), same.price.value());
        Some((a - b).abs() / a.min(b))
    });
    let share = shares.max_by(f64::total_cmp)?;
    Some(Difference { from: other.source.clone(), share })
}

/// What the predict worker would do now.
async fn judge(together: &dyn PriceFeed, asset: &Asset) -> Verdict {
    let now = SystemClock.now();
    let verdict = |taken: Option<&Close>, reason: Option<String>| Verdict {
        asset: asset.clone(),
        usable: reason.is_none(),
        taken_from: taken.map(|close| close.source.to_string()),
        reason,
    };
    match together.closes(Wanted::new(asset, now - LOOK_BACK, now)).await {
        Err(error) => verdict(None, Some(error.to_string())),
        Ok(closes) => match closes.last() {
            None => verdict(None, Some(format!("no close in the last {LOOK_BACK} that could be taken"))),
            Some(newest) if age(newest.point.at) > FRESH.as_duration() => {
                let at = newest.point.at.to_utc_string();
                verdict(Some(newest), Some(format!("the newest close that could be taken is of {at}")))
            }
            newest => verdict(newest, None),
        },
    }
}

#[cfg(test)]
mod tests {
    use domain::Price;

    use super::*;

    fn finding(source: &str, prices: &[(i64, f64)]) -> Finding {
        let point = |(minute, price): &(i64, f64)| PricePoint {
            at: Timestamp::from_unix_seconds(minute * 60).unwrap(),
            price: Price::new(*price).unwrap(),
        };
        let market = feeds::SimulatedMarket::new(1, Timestamp::default(), &[]);
        let points = prices.iter().map(point).collect();
        let found = Finding::new(&market, &Asset::new("BTC").unwrap(), points, &Stopwatch::start());
        Finding { source: source.into(), ..found }
    }

    #[test]
    fn each_source_is_compared_with_the_one_that_it_differs_from_most_where_both_have_closes() {
        let mut findings = [
            finding("a", &[(1, 100.0), (2, 100.0)]),
            finding("b", &[(2, 101.0), (3, 500.0)]),
            finding("c", &[(1, 103.0)]),
            finding("d", &[(9, 1.0)]),
        ];
        compare(&mut findings);
        let differs = |i: usize| findings[i].differs.clone();
        assert_eq!(differs(0), Some(Difference { from: "c".into(), share: 0.03 }));
        assert_eq!(differs(1), Some(Difference { from: "a".into(), share: 0.01 }));
        assert_eq!(differs(3), None);
        assert!(findings[0].line().ends_with("; at most 3.000 % from c"), "{}", findings[0].line());
    }
}
