//! What can go wrong with a source of prices.

use std::path::PathBuf;
use std::time::Duration;

use domain::{Asset, InvalidPrice, Span, Timestamp};

/// What can go wrong with a source of prices. Each text says how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// A file or folder that cannot be read.
    #[error("cannot read {path}: check that it exists, may be read and is whole", path = path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A price file with a line (a row of a Parquet file) that is not as it has to be.
    #[error("{path}, line {line}: {fault}", path = path.display())]
    BadLine {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        fault: LineFault,
    },
    /// A Parquet file that is none, or does not hold prices.
    #[error("{path}: {fault}", path = path.display())]
    BadParquet {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        fault: String,
    },
    /// A file beyond any sensible size.
    #[error("{path} holds more than {limit_mib} MiB when unpacked: split it by period", path = path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// How much is read at most, in MiB.
        limit_mib: u64,
    },
    /// Two files of an asset disagree.
    #[error(
        "the files of {asset} in {dir} have two prices at {at}, {first} and {second}: remove one of the files",
        dir = dir.display()
    )]
    Contradiction {
        /// Which asset.
        asset: Asset,
        /// The folder.
        dir: PathBuf,
        /// The instant.
        at: Timestamp,
        /// One price.
        first: f64,
        /// The other.
        second: f64,
    },
    /// No file for an asset that is asked for.
    #[error(
        "no prices of {asset} in {dir}: add a file {asset}-….csv, .csv.gz or .parquet, or choose among {}",
        list(available), dir = dir.display()
    )]
    NoFile {
        /// What is missing.
        asset: Asset,
        /// Where.
        dir: PathBuf,
        /// The assets that have files there.
        available: Vec<Asset>,
    },
    /// An asset that this source does not price.
    #[error("the {feed} prices have no {asset}: choose among {}", list(known))]
    UnknownAsset {
        /// Which.
        asset: Asset,
        /// The source.
        feed: String,
        /// What it prices.
        known: Vec<Asset>,
    },
    /// The recordings share no time.
    #[error("the newest recordings have no time in common: {}", stretches.join(", "))]
    NothingInCommon {
        /// Each asset with its newest recording.
        stretches: Vec<String>,
    },
    /// The recordings are too short, or too new, to warm up on and go on from.
    #[error(
        "the recorded prices, {from} to {to}, cannot hold a warm-up of {warm_up}: that takes its length and 8 days \
         more, all of it in the past; choose a shorter --warm-up or longer recordings"
    )]
    TooShort {
        /// The start of what the assets have in common.
        from: Timestamp,
        /// Its end.
        to: Timestamp,
        /// What was asked for.
        warm_up: Span,
    },
    /// A service that does not give an asset's prices.
    #[error("{feed}, {asset}: {fault}")]
    Service {
        /// The source.
        feed: String,
        /// Which prices.
        asset: Asset,
        /// What is wrong.
        fault: Fault,
    },
    /// A service that cannot even be asked.
    #[error("{feed}: {fault}")]
    Setup {
        /// The source.
        feed: String,
        /// What is wrong, and what to change.
        fault: String,
    },
    /// None of several sources gives an asset's prices.
    #[error("no source has prices of {asset} now: {}", faults.join("; "))]
    NoneUsable {
        /// Which.
        asset: Asset,
        /// What each of them says, in the order of preference.
        faults: Vec<String>,
    },
    /// An instant that the simulated market does not reach.
    #[error("the simulated market, begun at {origin}, ends at {end}: start it again from a later origin")]
    BeyondSimulation {
        /// Where it begins.
        origin: Timestamp,
        /// Where it ends.
        end: Timestamp,
    },
}

/// Why a service gives no prices. `host` is where it was asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    /// No connection.
    #[error("{host} cannot be reached ({why}): check the network and the address")]
    Unreachable {
        /// Where.
        host: String,
        /// Why.
        why: String,
    },
    /// No answer in time.
    #[error("{host} did not answer within {within:.1?}: check the network; it is asked again")]
    TimedOut {
        /// Where.
        host: String,
        /// How long was waited.
        within: Duration,
    },
    /// Too many requests: 429, or a ban that followed.
    #[error(
        "{host} wants fewer requests ({status}) and is left alone for {pause:.0?}: if it lasts, use a key or name fewer assets"
    )]
    Limited {
        /// Where.
        host: String,
        /// Of HTTP.
        status: u16,
        /// For how long it is not asked.
        pause: Duration,
    },
    /// No entry: 401, 403 or 451.
    #[error(
        "{host} does not let us in ({status}: {said}): check the key of this source, and where it may be used from"
    )]
    Refused {
        /// Where.
        host: String,
        /// Of HTTP.
        status: u16,
        /// The beginning of the answer.
        said: String,
    },
    /// The question was not understood: any other 3xx or 4xx, or an answer that says so.
    #[error(
        "{host} has no answer for `{symbol}` ({said}): correct the symbol, or the address, of this source"
    )]
    NotUnderstood {
        /// Where.
        host: String,
        /// What was asked for.
        symbol: String,
        /// The beginning of the answer.
        said: String,
    },
    /// The service's own failure: 5xx.
    #[error("{host} fails ({status}: {said}): it is asked again; name another source to go on meanwhile")]
    Broken {
        /// Where.
        host: String,
        /// Of HTTP.
        status: u16,
        /// The beginning of the answer.
        said: String,
    },
    /// The connection ended too early.
    #[error("{host} broke off ({why}): it is asked again")]
    Cut {
        /// Where.
        host: String,
        /// Why.
        why: String,
    },
    /// An answer beyond any sensible size.
    #[error("{host} sends more than {limit_mib} MiB: check the address")]
    TooLarge {
        /// Where.
        host: String,
        /// How much is read at most, in MiB.
        limit_mib: usize,
    },
    /// An answer that is something else.
    #[error("the answer of {host} is not what it should be ({why}): check the address")]
    Unreadable {
        /// Where.
        host: String,
        /// What is wrong.
        why: String,
    },
    /// Candles that are none.
    #[error("{host} sends candles that are none, {count} of {of}, the first: {first}")]
    BadRows {
        /// Where.
        host: String,
        /// How many.
        count: usize,
        /// Of how many.
        of: usize,
        /// The first of them.
        first: RowFault,
    },
}

/// What is wrong with one candle of a service. Nothing is taken of its minute.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum RowFault {
    /// No price.
    #[error("{price} at {at} is no price; wait until the service has corrected it, or name another source")]
    NoPrice {
        /// The close's instant.
        at: Timestamp,
        /// The number.
        price: f64,
    },
    /// Two prices of one instant.
    #[error(
        "{first} and {second}, both at {at}; wait until the service has corrected it, or name another source"
    )]
    TwoPrices {
        /// The close's instant.
        at: Timestamp,
        /// One price.
        first: f64,
        /// The other.
        second: f64,
    },
    /// No full minute.
    #[error(
        "one that ends at {unix_seconds}, which is no full minute; check that the service has one-minute candles"
    )]
    OffMinute {
        /// In unix seconds.
        unix_seconds: i64,
    },
}

/// What is wrong with a line of a price file.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LineFault {
    /// The first line is another one.
    #[error("expected the header `timestamp,price`, got `{0}`")]
    Header(String),
    /// Not two fields.
    #[error("expected `unix seconds,price`, got `{0}`: mend or remove the line")]
    Fields(String),
    /// The first field is no instant.
    #[error("`{0}` is no time: write unix seconds of the candle's close in UTC")]
    Time(String),
    /// The instant is not after that of the line before.
    #[error(
        "the time {now} is not after {before}, that of the line before: sort the file and keep each time once"
    )]
    Order {
        /// This line's, in unix seconds.
        now: i64,
        /// That of the line before.
        before: i64,
    },
    /// The second field is no number.
    #[error("`{0}` is no number: mend or remove the line")]
    Number(String),
    /// The number is no price.
    #[error("{0}; mend or remove the line")]
    Price(#[from] InvalidPrice),
}

fn list(assets: &[Asset]) -> String {
    if assets.is_empty() {
        return "none (it has no price files)".into();
    }
    assets.iter().map(Asset::as_str).collect::<Vec<_>>().join(", ")
}
