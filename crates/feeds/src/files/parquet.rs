//! Prices in Parquet files, as pandas and polars write them: a column `timestamp`, the instants of the closes (a timestamp in UTC, or
//! unix seconds), and a column `price`.

use std::fs::File;
use std::path::Path;

use domain::{Price, PricePoint, Timestamp};
use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

use super::MAX_UNPACKED_BYTES;
use crate::FeedError;
use crate::error::LineFault;

const TIMESTAMP: &str = "timestamp";
const PRICE: &str = "price";
/// What an instant and a price take in memory.
const ROW_BYTES: u64 = 16;
const BATCH: usize = 1 << 16;

/// The rows of a file, as they are.
///
/// # Errors
/// [`FeedError::Unreadable`]; [`FeedError::TooLarge`]; [`FeedError::BadParquet`] for a file that is none, or has other columns;
/// [`FeedError::BadLine`] for the first row that is not as it has to be.
pub(super) fn load(path: &Path) -> Result<Vec<PricePoint>, FeedError> {
    let file = File::open(path).map_err(|source| FeedError::Unreadable { path: path.to_owned(), source })?;
    let bad = |fault: String| FeedError::BadParquet { path: path.to_owned(), fault };
    let reader = SerializedFileReader::new(file).map_err(|error| bad(error.to_string()))?;
    let metadata = reader.metadata();
    let rows = metadata.file_metadata().num_rows();
    if u64::try_from(rows).map_or(true, |rows| rows > MAX_UNPACKED_BYTES / ROW_BYTES) {
        return Err(FeedError::TooLarge { path: path.to_owned(), limit_mib: MAX_UNPACKED_BYTES >> 20 });
    }
    let columns = Columns::find(metadata.file_metadata().schema_descr()).map_err(bad)?;
    let mut points: Vec<PricePoint> = Vec::new();
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(|error| bad(error.to_string()))?;
        let (times, prices) = columns.read(group.as_ref()).map_err(bad)?;
        for (micros, price) in times.into_iter().zip(prices) {
            let point = point(micros, price, points.last()).map_err(|fault| FeedError::BadLine {
                path: path.to_owned(),
                line: points.len() + 1,
                fault,
            })?;
            points.push(point);
        }
    }
    Ok(points)
}

fn point(micros: i64, price: f64, before: Option<&PricePoint>) -> Result<PricePoint, LineFault> {
    let at =
        Timestamp::from_timestamp_micros(micros).ok_or_else(|| LineFault::Time(format!("{micros} µs")))?;
    if let Some(before) = before.filter(|before| at <= before.at) {
        return Err(LineFault::Order { now: at.timestamp(), before: before.at.timestamp() });
    }
    Ok(PricePoint { at, price: Price::new(price)? })
}

/// Where the two columns are, and what the numbers of the first mean.
struct Columns {
    timestamp: usize,
    unit: Unit,
    price: usize,
}

/// Of an instant as it is written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Unit {
    Seconds,
    Millis,
    Micros,
    Nanos,
}

impl Columns {
    fn find(schema: &SchemaDescriptor) -> Result<Self, String> {
        let place = |name: &str| {
            let found = schema.columns().iter().position(|column| column.path().string() == name);
            found.ok_or_else(|| {
                let names: Vec<String> =
                    schema.columns().iter().map(|column| column.path().string()).collect();
                format!(
                    "it has no column `{name}`, only {}: it needs `{TIMESTAMP}` and `{PRICE}`",
                    names.join(", ")
                )
            })
        };
        let timestamp = place(TIMESTAMP)?;
        Ok(Columns { timestamp, unit: Unit::of(&schema.column(timestamp)), price: place(PRICE)? })
    }

    /// Instants in microseconds, and prices.
    fn read(&self, group: &dyn RowGroupReader) -> Result<(Vec<i64>, Vec<f64>), String> {
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or_default();
        let column = |place| group.get_column_reader(place).map_err(|error| error.to_string());
        let times = match column(self.timestamp)? {
            ColumnReader::Int64ColumnReader(reader) => values(reader, rows, TIMESTAMP)?,
            _ => {
                return Err(format!(
                    "its column `{TIMESTAMP}` holds no timestamps: write timestamps in UTC, or unix seconds"
                ));
            }
        };
        let prices = match column(self.price)? {
            ColumnReader::DoubleColumnReader(reader) => values(reader, rows, PRICE)?,
            ColumnReader::FloatColumnReader(reader) => {
                values(reader, rows, PRICE)?.into_iter().map(f64::from).collect()
            }
            _ => return Err(format!("its column `{PRICE}` holds no floating point numbers")),
        };
        Ok((times.into_iter().map(|time| self.unit.micros(time)).collect(), prices))
    }
}

impl Unit {
    fn of(column: &ColumnDescriptor) -> Self {
        match (column.logical_type_ref(), column.converted_type()) {
            (Some(LogicalType::Timestamp(timestamp)), _) => match timestamp.unit {
                TimeUnit::MILLIS => Unit::Millis,
                TimeUnit::MICROS => Unit::Micros,
                TimeUnit::NANOS => Unit::Nanos,
            },
            (None, ConvertedType::TIMESTAMP_MILLIS) => Unit::Millis,
            (None, ConvertedType::TIMESTAMP_MICROS) => Unit::Micros,
            _ => Unit::Seconds,
        }
    }

    /// What is beyond any calendar becomes the end of what can be said, which is refused as an instant.
    fn micros(self, time: i64) -> i64 {
        match self {
            Unit::Seconds => time.saturating_mul(1_000_000),
            Unit::Millis => time.saturating_mul(1_000),
            Unit::Micros => time,
            Unit::Nanos => time.div_euclid(1_000),
        }
    }
}

/// All values of a column of `rows` rows; none may be missing.
fn values<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    rows: usize,
    name: &str,
) -> Result<Vec<T::T>, String> {
    let mut values = Vec::new();
    let mut levels = Vec::new();
    let mut read = 0;
    while read < rows {
        levels.clear();
        let batch = reader.read_records(BATCH, Some(&mut levels), None, &mut values);
        let (records, ..) = batch.map_err(|error| error.to_string())?;
        if records == 0 {
            return Err(format!(
                "its column `{name}` ends after {read} of {rows} rows: the file is cut short"
            ));
        }
        read += records;
    }
    if values.len() < rows {
        return Err(format!(
            "its column `{name}` has no value in {} rows: leave these rows out",
            rows - values.len()
        ));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// Written by pyarrow: `make.py` beside it says how.
    fn written(name: &str) -> Result<Vec<PricePoint>, String> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/parquet");
        let shown = format!("{}/", folder.display());
        load(&folder.join(format!("{name}.parquet"))).map_err(|error| error.to_string().replace(&shown, ""))
    }

    #[test]
    fn files_of_any_unit_packing_and_number_of_row_groups_are_read() {
        let points = [(60, 1.0), (120, 2.5), (180, 3.0), (360, 4.25)];
        for name in ["BTC-snappy-nanos", "ETH-zstd-millis", "SOL-plain-seconds"] {
            let read = written(name).unwrap();
            let read: Vec<_> = read.iter().map(|point| (point.at.timestamp(), point.price.value())).collect();
            assert_eq!(read, points, "{name}");
        }
    }

    #[test]
    fn a_file_that_does_not_do_is_refused_with_what_is_wrong() {
        assert_eq!(
            written("XAU-without-a-price").unwrap_err(),
            "XAU-without-a-price.parquet: its column `price` has no value in 1 rows: leave these rows out"
        );
        assert!(written("XRP-dates").unwrap_err().contains("its column `timestamp` holds no timestamps"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("BTC-x.parquet");
        std::fs::write(&path, "timestamp,price\n60,1\n").unwrap();
        assert!(matches!(load(&path), Err(FeedError::BadParquet { .. })));
    }

    #[test]
    fn rows_have_to_be_in_the_order_of_time_and_hold_prices() {
        let first = point(60_000_000, 1.0, None).unwrap();
        assert!(matches!(
            point(60_000_000, 1.0, Some(&first)),
            Err(LineFault::Order { now: 60, before: 60 })
        ));
        assert!(matches!(point(0, -1.0, None), Err(LineFault::Price(_))));
        let beyond = Unit::Seconds.micros(i64::MAX);
        assert!(matches!(point(beyond, 1.0, None), Err(LineFault::Time(_))));
    }
}
