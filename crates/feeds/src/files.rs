//! Prices recorded in files: `ASSET-….csv` or `.csv.gz`, header `timestamp,price`, the unix seconds of each candle's
//! close in UTC, increasing; or `ASSET-….parquet` with the same two columns. What stands in the name after the first `-` is
//! free; an asset may have several files.

mod parquet;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use domain::{Asset, Price, PricePoint, Span, Timestamp, TimestampExt};
use flate2::read::MultiGzDecoder;

use crate::error::LineFault;
use crate::{Close, FeedError, PriceFeed, Wanted};

const NAME: &str = "recorded";
const PARQUET: &str = ".parquet";
const HEADER: &str = "timestamp,price";
const WEEK: Span = Span::days(7);

/// Ten years of minutes take about 120 MiB.
const MAX_UNPACKED_BYTES: u64 = 256 << 20;

/// A longer gap ends a recording: no market closes for that long (Easter takes equities out for 90 hours).
const LONGEST_CLOSURE: Span = Span::days(5);

/// How much is recorded before a warm-up begins, for models that look a day back.
const BEFORE_WARM_UP: Span = Span::days(1);

/// A stretch of time with prices, from the first close to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedSpan {
    /// The first close.
    pub from: Timestamp,
    /// The last close.
    pub to: Timestamp,
}

/// Prices read from files, held in memory.
#[derive(Debug, Clone)]
pub struct RecordedPrices {
    closes: BTreeMap<Asset, Vec<PricePoint>>,
    shift: Span,
}

impl RecordedPrices {
    /// Reads the files of `assets` in `dir`. Blocks: some 10 ms for an asset's 50 days.
    ///
    /// # Errors
    /// A folder or file that cannot be read, an asset without a file, a line that is not as it has to be, files of an
    /// asset that contradict each other.
    pub fn load(dir: &Path, assets: &[Asset]) -> Result<Self, FeedError> {
        let files = files_by_asset(dir)?;
        let mut closes = BTreeMap::new();
        for asset in assets {
            let paths = files.get(asset.as_str()).ok_or_else(|| FeedError::NoFile {
                asset: asset.clone(),
                dir: dir.to_owned(),
                available: names(&files),
            })?;
            let points = load_asset(dir, asset, paths)?;
            tracing::debug!(%asset, closes = points.len(), files = paths.len(), "read recorded prices of {asset}");
            closes.insert(asset.clone(), points);
        }
        Ok(Self::of(closes))
    }

    /// Prices that were recorded elsewhere, of each asset oldest first and one for each instant.
    pub fn of(closes: BTreeMap<Asset, Vec<PricePoint>>) -> Self {
        RecordedPrices { closes, shift: Span::ZERO }
    }

    /// The same prices, each `shift` later than recorded. A whole number of weeks keeps hours and weekends in place.
    pub fn shifted_by(self, shift: Span) -> Self {
        RecordedPrices { shift, ..self }
    }

    /// The assets that were loaded, in order of name.
    pub fn assets(&self) -> impl Iterator<Item = &Asset> {
        self.closes.keys()
    }

    /// The time for which every asset has prices: from the latest start to the earliest end of each asset's newest
    /// recording, shifted as the prices are. An earlier recording is one that a gap of more than five days sets apart.
    ///
    /// # Errors
    /// [`FeedError::NothingInCommon`].
    pub fn common_span(&self) -> Result<RecordedSpan, FeedError> {
        let spans = || self.closes.values().filter_map(|points| newest_recording(points));
        let from = spans().map(|span| span.from).max();
        let to = spans().map(|span| span.to).min();
        match (from, to) {
            (Some(from), Some(to)) if from < to => {
                Ok(RecordedSpan { from: from + self.shift, to: to + self.shift })
            }
            _ => Err(FeedError::NothingInCommon { stretches: self.describe_recordings() }),
        }
    }

    /// By how much to shift the recordings so that they serve as live prices from `now` on: the largest whole number of
    /// weeks for which a day and `warm_up` are recorded before `now`, so that as much as possible is left after it.
    ///
    /// # Errors
    /// [`FeedError::NothingInCommon`]; [`FeedError::TooShort`] when that leaves nothing after `now`, or when the
    /// recordings are not old enough to be moved.
    pub fn live_shift(&self, now: Timestamp, warm_up: Span) -> Result<Span, FeedError> {
        let RecordedSpan { from, to } = self.common_span()?;
        let too_short = || FeedError::TooShort { from, to, warm_up };
        let earliest_now = from + BEFORE_WARM_UP + warm_up;
        if now < earliest_now {
            return Err(too_short());
        }
        let weeks = now.since(earliest_now).as_secs() / u64::from(WEEK.as_secs());
        let shift = WEEK.times(u32::try_from(weeks).map_err(|_| too_short())?);
        if now - shift < to { Ok(shift) } else { Err(too_short()) }
    }

    fn describe_recordings(&self) -> Vec<String> {
        let describe = |(asset, points): (&Asset, &Vec<PricePoint>)| match newest_recording(points) {
            Some(span) => format!("{asset} {} to {}", span.from + self.shift, span.to + self.shift),
            None => format!("{asset} has no prices"),
        };
        self.closes.iter().map(describe).collect()
    }
}

#[async_trait]
impl PriceFeed for RecordedPrices {
    async fn closes(&self, wanted: Wanted<'_>) -> Result<Vec<Close>, FeedError> {
        let Wanted { asset, after, up_to, .. } = wanted;
        let points = self.closes.get(asset).ok_or_else(|| FeedError::UnknownAsset {
            asset: asset.clone(),
            feed: NAME.into(),
            known: self.assets().cloned().collect(),
        })?;
        let count_up_to =
            |instant: Timestamp| points.partition_point(|point| point.at + self.shift <= instant);
        let range = count_up_to(after)..count_up_to(up_to).max(count_up_to(after));
        let shifted = points[range].iter().map(|point| PricePoint { at: point.at + self.shift, ..*point });
        Ok(Close::all_of(&NAME.into(), shifted))
    }

    fn name(&self) -> &str {
        NAME
    }
}

/// The assets that have price files in `dir`, in order of name.
///
/// # Errors
/// [`FeedError::Unreadable`] when the folder cannot be read.
pub fn assets_in(dir: &Path) -> Result<Vec<Asset>, FeedError> {
    files_by_asset(dir).map(|files| names(&files))
}

/// The price files of a folder, by the asset's name; other files are passed over.
fn files_by_asset(dir: &Path) -> Result<BTreeMap<String, BTreeSet<PathBuf>>, FeedError> {
    let unreadable = |source| FeedError::Unreadable { path: dir.to_owned(), source };
    let mut files: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if let Some(asset) = asset_of(&path) {
            files.entry(asset).or_default().insert(path);
        }
    }
    Ok(files)
}

fn asset_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let stem = [".csv", ".csv.gz", PARQUET].iter().find_map(|suffix| name.strip_suffix(suffix))?;
    let (asset, _) = stem.split_once('-')?;
    Asset::new(asset).ok().map(String::from)
}

fn names(files: &BTreeMap<String, BTreeSet<PathBuf>>) -> Vec<Asset> {
    files.keys().filter_map(|name| Asset::new(name).ok()).collect()
}

/// All closes of an asset, merged in time order.
fn load_asset(dir: &Path, asset: &Asset, paths: &BTreeSet<PathBuf>) -> Result<Vec<PricePoint>, FeedError> {
    let mut points = Vec::new();
    for path in paths {
        let is_parquet = path.to_string_lossy().ends_with(PARQUET);
        points.append(&mut if is_parquet { parquet::load(path)? } else { parse(path, &read(path)?)? });
    }
    points.sort_by_key(|point| point.at);
    for pair in points.windows(2) {
        let (first, second) = (pair[0], pair[1]);
        if first.at == second.at && first.price != second.price {
            return Err(FeedError::Contradiction {
                asset: asset.clone(),
                dir: dir.to_owned(),
                at: first.at,
                first: first.price.value(),
                second: second.price.value(),
            });
        }
    }
    points.dedup();
    Ok(points)
}

fn read(path: &Path) -> Result<String, FeedError> {
    let unreadable = |source| FeedError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let is_packed = path.extension().is_some_and(|extension| extension == "gz");
    let reader: Box<dyn Read> = if is_packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut text = String::new();
    let size = reader.take(MAX_UNPACKED_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if size as u64 > MAX_UNPACKED_BYTES {
        return Err(FeedError::TooLarge { path: path.to_owned(), limit_mib: MAX_UNPACKED_BYTES >> 20 });
    }
    Ok(text)
}

fn parse(path: &Path, text: &str) -> Result<Vec<PricePoint>, FeedError> {
    let at_line = |line, fault| FeedError::BadLine { path: path.to_owned(), line, fault };
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    if header != HEADER {
        return Err(at_line(1, LineFault::Header(shorten(header))));
    }
    let mut points: Vec<PricePoint> = Vec::new();
    for (i, line) in lines.enumerate() {
        let point = parse_line(line, points.last()).map_err(|fault| at_line(i + 2, fault))?;
        points.push(point);
    }
    Ok(points)
}

fn parse_line(line: &str, before: Option<&PricePoint>) -> Result<PricePoint, LineFault> {
    let (time, price) = line
        .split_once(',')
        .filter(|(_, price)| !price.contains(','))
        .ok_or_else(|| LineFault::Fields(shorten(line)))?;
    let seconds: i64 = time.parse().map_err(|_| LineFault::Time(shorten(time)))?;
    let at = Timestamp::from_unix_seconds(seconds).ok_or_else(|| LineFault::Time(shorten(time)))?;
    if let Some(before) = before.filter(|before| at <= before.at) {
        return Err(LineFault::Order { now: seconds, before: before.at.timestamp() });
    }
    let price: f64 = price.parse().map_err(|_| LineFault::Number(shorten(price)))?;
    Ok(PricePoint { at, price: Price::new(price)? })
}

/// What of a bad line is shown: a file that holds something else may have very long ones.
fn shorten(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

fn newest_recording(points: &[PricePoint]) -> Option<RecordedSpan> {
    let to = points.last()?.at;
    let ends_a_recording = |pair: &[PricePoint]| pair[1].at - LONGEST_CLOSURE > pair[0].at;
    let first = points.windows(2).rposition(ends_a_recording).map_or(0, |gap| gap + 1);
    Some(RecordedSpan { from: points[first].at, to })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    fn asset(name: &str) -> Asset {
        Asset::new(name).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let dir = TempDir::new().unwrap();
        for (name, text) in files {
            if name.ends_with(".gz") {
                let mut packed =
                    GzEncoder::new(File::create(dir.path().join(name)).unwrap(), Compression::fast());
                packed.write_all(text.as_bytes()).unwrap();
                packed.finish().unwrap();
            } else {
                std::fs::write(dir.path().join(name), text).unwrap();
            }
        }
        dir
    }

    /// A file with a close every hour of `days` days.
    fn hourly(from: &str, days: i64) -> String {
        let start = at(from).timestamp();
        let rows: String =
            (0..=days * 24).map(|hour| format!("{},{}\n", start + hour * 3600, 100 + hour)).collect();
        format!("{HEADER}\n{rows}")
    }

    fn load(dir: &TempDir, names: &[&str]) -> Result<RecordedPrices, String> {
        let assets: Vec<Asset> = names.iter().map(|name| asset(name)).collect();
        RecordedPrices::load(dir.path(), &assets)
            .map_err(|error| error.to_string().replace(dir.path().to_str().unwrap(), "DIR"))
    }

    async fn all(prices: &RecordedPrices, name: &str) -> Vec<(i64, f64)> {
        let closes =
            prices.closes(Wanted::new(&asset(name), Timestamp::MIN_UTC, Timestamp::MAX_UTC)).await.unwrap();
        closes.iter().map(|close| (close.point.at.timestamp(), close.point.price.value())).collect()
    }

    #[tokio::test]
    async fn an_assets_files_are_merged_in_time_order_and_equal_rows_count_once() {
        let dir = folder(&[
            ("BTC-1m-late.csv.gz", "timestamp,price\n180,3.5\n240,4\n"),
            ("BTC-1m-mid.csv", "timestamp,price\r\n120,2\r\n180,3.5\r\n"),
            ("BTC-1m-zearly.csv", "timestamp,price\n60,1"),
            ("BTCX-1m.csv", "timestamp,price\n60,9\n"),
            ("README.md", "no prices"),
        ]);
        let prices = load(&dir, &["BTC"]).unwrap();
        assert_eq!(all(&prices, "BTC").await, [(60, 1.0), (120, 2.0), (180, 3.5), (240, 4.0)]);
        assert_eq!(assets_in(dir.path()).unwrap(), [asset("BTC"), asset("BTCX")]);
    }

    #[tokio::test]
    async fn a_range_leaves_out_its_start_and_holds_its_end() {
        let dir = folder(&[("BTC-1m.csv", "timestamp,price\n60,1\n120,2\n180,3\n")]);
        let prices = load(&dir, &["BTC"]).unwrap().shifted_by(WEEK);
        let week = i64::from(WEEK.as_secs());
        let instant = |seconds| Timestamp::from_unix_seconds(week + seconds).unwrap();
        let closes = prices.closes(Wanted::new(&asset("BTC"), instant(60), instant(180))).await.unwrap();
        assert_eq!(
            closes.iter().map(|close| close.point.at).collect::<Vec<_>>(),
            [instant(120), instant(180)]
        );
        assert!(
            prices.closes(Wanted::new(&asset("BTC"), instant(180), instant(60))).await.unwrap().is_empty()
        );
        let error = prices.closes(Wanted::new(&asset("ETH"), instant(0), instant(60))).await.unwrap_err();
        assert_eq!(error.to_string(), "the recorded prices have no ETH: choose among BTC");
    }

    #[test]
    fn a_bad_file_is_refused_with_file_line_and_cure() {
        let refused = |text: &str| load(&folder(&[("BTC-1m.csv", text)]), &["BTC"]).unwrap_err();
        assert_eq!(
            refused("time,close\n"),
            "DIR/BTC-1m.csv, line 1: expected the header `timestamp,price`, got `time,close`"
        );
        assert!(refused("").contains("line 1: expected the header"));
        assert_eq!(
            refused("timestamp,price\n60,1\n60,2\n"),
            "DIR/BTC-1m.csv, line 3: the time 60 is not after 60, that of the line before: sort the file and keep \
             each time once"
        );
        assert!(refused("timestamp,price\n120,1\n60,2\n").contains("line 3: the time 60 is not after 120"));
        for price in ["0", "-1", "NaN", "inf", "1e999"] {
            let error = refused(&format!("timestamp,price\n60,1\n120,{price}\n"));
            assert!(error.contains("line 3: ") && error.contains("is no price"), "{error}");
        }
        assert!(refused("timestamp,price\n60,x\n").contains("line 2: `x` is no number"));
        assert!(refused("timestamp,price\n\n60,1\n").contains("line 2: expected `unix seconds,price`"));
        assert!(refused("timestamp,price\n60,1,2\n").contains("line 2: expected `unix seconds,price`"));
        assert!(refused("timestamp,price\n2025-05-20,1\n").contains("write unix seconds"));
        assert!(refused("timestamp,price\n99999999999999999,1\n").contains("write unix seconds"));
    }

    #[test]
    fn a_broken_archive_is_refused_by_name() {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("BTC-1m.csv.gz"), b"no gzip").unwrap();
        assert!(load(&dir, &["BTC"]).unwrap_err().contains("cannot read DIR/BTC-1m.csv.gz"));
    }

    #[test]
    fn files_that_contradict_each_other_are_refused() {
        let dir =
            folder(&[("BTC-a.csv", "timestamp,price\n60,1\n"), ("BTC-b.csv", "timestamp,price\n60,2\n")]);
        assert_eq!(
            load(&dir, &["BTC"]).unwrap_err(),
            "the files of BTC in DIR have two prices at 1970-01-01 00:01:00 UTC, 1 and 2: remove one of the files"
        );
    }

    #[test]
    fn a_missing_asset_is_named_with_the_folder_and_what_is_there() {
        let dir = folder(&[("BTC-1m.csv", "timestamp,price\n"), ("ETH-1m.csv.gz", "timestamp,price\n")]);
        assert_eq!(
            load(&dir, &["BTC", "DOGE"]).unwrap_err(),
            "no prices of DOGE in DIR: add a file DOGE-….csv, .csv.gz or .parquet, or choose among BTC, ETH"
        );
        assert!(load(&folder(&[]), &["BTC"]).unwrap_err().ends_with("none (it has no price files)"));
        let gone = RecordedPrices::load(&dir.path().join("gone"), &[]).unwrap_err();
        assert!(gone.to_string().ends_with("check that it exists, may be read and is whole"));
    }

    #[test]
    fn the_common_span_is_that_of_the_newest_recordings() {
        let dir = folder(&[
            ("BTC-2021.csv", &hourly("2021-12-31T00:00:00Z", 30)),
            ("BTC-2025a.csv", &hourly("2025-05-01T00:00:00Z", 30)),
            ("BTC-2025b.csv", &hourly("2025-06-02T00:00:00Z", 20)),
            ("XAU-2025.csv", &hourly("2025-05-15T04:00:00Z", 20)),
        ]);
        let common = load(&dir, &["BTC", "XAU"]).unwrap().common_span().unwrap();
        assert_eq!(common, RecordedSpan { from: at("2025-05-15T04:00:00Z"), to: at("2025-06-04T04:00:00Z") });
        let alone = load(&dir, &["BTC"]).unwrap().common_span().unwrap();
        assert_eq!(alone, RecordedSpan { from: at("2025-05-01T00:00:00Z"), to: at("2025-06-22T00:00:00Z") });
    }

    #[test]
    fn recordings_without_common_time_or_too_short_ones_are_refused_in_words() {
        let dir = folder(&[
            ("BTC-2021.csv", &hourly("2021-12-31T00:00:00Z", 30)),
            ("XAU-2025.csv", &hourly("2025-05-15T04:00:00Z", 9)),
        ]);
        let now = at("2026-01-01T00:00:00Z");
        let error = load(&dir, &["BTC", "XAU"]).unwrap().live_shift(now, Span::days(8)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the newest recordings have no time in common: BTC 2021-12-31 00:00:00 UTC to 2022-01-30 00:00:00 UTC, \
             XAU 2025-05-15 04:00:00 UTC to 2025-05-24 04:00:00 UTC"
        );
        let short = load(&dir, &["XAU"]).unwrap();
        let error = short.live_shift(now, Span::days(8)).unwrap_err().to_string();
        assert!(error.contains("cannot hold a warm-up of 8d"), "{error}");
        assert!(
            short.live_shift(at("2025-05-16T00:00:00Z"), Span::days(8)).is_err(),
            "recorded in the future"
        );
    }

    proptest! {
        #[test]
        fn a_live_shift_is_whole_weeks_and_leaves_the_warm_up_before_now_and_the_most_after_it(
            minutes in 0u32..1_000_000,
            warm_up_hours in 1u32..240,
        ) {
            let dir = folder(&[("BTC-1m.csv", &hourly("2025-05-01T00:00:00Z", 30))]);
            let prices = load(&dir, &["BTC"]).unwrap();
            let RecordedSpan { from, to } = prices.common_span().unwrap();
            let warm_up = Span::hours(warm_up_hours);
            let now = to + Span::minutes(minutes);
            let shift = prices.live_shift(now, warm_up).unwrap();
            prop_assert!(shift.is_multiple_of(WEEK) || shift.is_zero());
            let before = (now - shift).since(from);
            let needed = BEFORE_WARM_UP + warm_up;
            prop_assert!(before >= needed.as_duration() && before < (needed + WEEK).as_duration());
            let shifted = prices.shifted_by(shift).common_span().unwrap();
            prop_assert!(shifted.from + needed <= now && now < shifted.to);
        }
    }

    #[tokio::test]
    async fn real_recordings_load() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/prices");
        if !dir.is_dir() {
            println!("skipped: there are no recorded prices beside the repository");
            return;
        }
        let assets = assets_in(&dir).unwrap();
        let prices = RecordedPrices::load(&dir, &assets).unwrap();
        let btc = all(&prices, "BTC").await;
        assert_eq!(btc.len(), 45_031 + 43_209 + 73_139);
        assert_eq!(btc.last(), Some(&(1_750_761_120, 105_086.5)));
        let four = ["BTC", "ETH", "SOL", "XAU"].map(asset);
        let common = RecordedPrices::load(&dir, &four).unwrap().common_span().unwrap();
        assert_eq!(common, RecordedSpan { from: at("2025-05-15T04:36:00Z"), to: at("2025-06-04T18:24:00Z") });
    }
}
