//! What `/metrics` shows: counters, gauges and histograms, and their text.
//!
//! A registry is a value and none is global, so that a process may run a worker twice, as tests do, and neither counts for the
//! other. Labels have names and values that the code or the configuration knows, never what participants or clients send: how
//! many series there are is bounded, and no value has a character that the text would have to escape.

use std::fmt::Debug;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use domain::Timestamp;
use prometheus_client::encoding::{EncodeMetric, text};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry as Metrics;

/// The media type of [`Registry::text`]: OpenMetrics, which Prometheus asks for first.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counts what happens.
pub type Counter = prometheus_client::metrics::counter::Counter;

/// What goes up and down.
pub type Gauge = prometheus_client::metrics::gauge::Gauge<f64, AtomicU64>;

/// What can be in a registry.
pub trait Instrument: EncodeMetric + TypedMetric + Clone + Debug + Send + Sync + 'static {}

impl<T: EncodeMetric + TypedMetric + Clone + Debug + Send + Sync + 'static> Instrument for T {}

type Labels<const N: usize> = [(&'static str, String); N];

/// One instrument for each combination of labels.
#[derive(Debug, Clone)]
pub struct Labelled<T, const N: usize> {
    names: [&'static str; N],
    family: Family<Labels<N>, T, fn() -> T>,
}

impl<T: Instrument, const N: usize> Labelled<T, N> {
    /// With labels of these names, and instruments made by `make`.
    pub fn new(names: [&'static str; N], make: fn() -> T) -> Self {
        Labelled { names, family: Family::new_with_constructor(make) }
    }

    /// The one with these values, in the order of the names. It is made when there is none; to be kept where much happens.
    pub fn with(&self, values: [&str; N]) -> T {
        let mut values = values.into_iter();
        let labels = self.names.map(|name| (name, values.next().unwrap_or_default().to_owned()));
        self.family.get_or_create(&labels).clone()
    }

    /// Forgets every one of them.
    pub fn clear(&self) {
        self.family.clear();
    }
}

/// What is known of a metric without looking at its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// As its samples are called.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The names of its labels.
    pub labels: Vec<&'static str>,
    /// What it says, as a sentence without a full stop.
    pub help: &'static str,
}

/// The metrics of one process.
#[derive(Debug, Default)]
pub struct Registry {
    metrics: Metrics,
    descriptions: Vec<Description>,
}

impl Registry {
    /// One that says which program runs, and since when.
    pub fn of_process(version: &str, started_at: Timestamp) -> Self {
        let mut registry = Registry::default();
        let build = Labelled::<Gauge, 1>::new(["version"], Gauge::default);
        build.with([version]).set(1.0);
        registry.add_labelled("condor_build_info", "1, with the version of the program", &build);
        let started = Gauge::default();
        started.set(started_at.timestamp_micros() as f64 / 1e6);
        registry.add(
            "condor_process_start_time_seconds",
            "When the process was started, in seconds since 1970",
            &started,
        );
        registry
    }

    /// Shows `metric` under a name, to which that of a counter gets `_total` appended.
    pub fn add<T: Instrument>(&mut self, name: &'static str, help: &'static str, metric: &T) {
        self.describe::<T>(name, help, &[]);
        self.metrics.register(name, help, metric.clone());
    }

    /// The same for one with labels.
    pub fn add_labelled<T: Instrument, const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        metric: &Labelled<T, N>,
    ) {
        self.describe::<T>(name, help, &metric.names);
        self.metrics.register(name, help, metric.family.clone());
    }

    /// All metrics as [`CONTENT_TYPE`].
    pub fn text(&self) -> String {
        let mut text = String::new();
        // A string takes whatever is written to it.
        let _ = text::encode(&mut text, &self.metrics);
        text
    }

    /// What there is, in the order of [`Registry::add`].
    pub fn descriptions(&self) -> &[Description] {
        &self.descriptions
    }

    fn describe<T: Instrument>(&mut self, name: &str, help: &'static str, labels: &[&'static str]) {
        let kind = T::TYPE.as_str();
        let suffix = if kind == "counter" { "_total" } else { "" };
        let (name, labels) = (format!("{name}{suffix}"), labels.to_vec());
        self.descriptions.push(Description { name, kind, labels, help });
    }
}

/// A histogram of times from a millisecond to a minute.
pub fn times() -> Histogram {
    Histogram::new([0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
}

/// A histogram of times from a tenth of a millisecond to ten seconds.
pub fn short_times() -> Histogram {
    Histogram::new([0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 10.0])
}

/// A span of time as metrics have it: in seconds.
pub fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_shows_what_was_counted_in_the_form_that_prometheus_asks_for() {
        let mut registry =
            Registry::of_process("1.2.3", Timestamp::from_timestamp_micros(1_500_000).unwrap());
        let rounds = Labelled::<Counter, 2>::new(["state", "why"], Counter::default);
        registry.add_labelled("rounds", "Rounds", &rounds);
        let took = Histogram::new([0.5, 1.0]);
        registry.add("took_seconds", "How long it took", &took);
        rounds.with(["void", "no prices"]).inc_by(2);
        rounds.with(["void", "no prices"]).inc();
        took.observe(0.75);
        let text = registry.text();
        for line in [
            "# TYPE condor_build_info gauge",
            "condor_build_info{version=\"1.2.3\"} 1.0",
            "condor_process_start_time_seconds 1.5",
            "# TYPE rounds counter",
            "rounds_total{state=\"void\",why=\"no prices\"} 3",
            "took_seconds_bucket{le=\"0.5\"} 0",
            "took_seconds_bucket{le=\"1.0\"} 1",
            "took_seconds_count 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
        rounds.clear();
        assert!(!registry.text().contains("no prices"));
    }

    #[test]
    fn what_there_is_can_be_told_before_anything_is_counted() {
        let mut registry = Registry::default();
        registry.add_labelled("rounds", "Rounds", &Labelled::<Counter, 1>::new(["state"], Counter::default));
        let expected = Description {
            name: "rounds_total".into(),
            kind: "counter",
            labels: vec!["state"],
            help: "Rounds",
        };
        assert_eq!(registry.descriptions(), [expected]);
    }
}
