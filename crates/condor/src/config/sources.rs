//! `[[prices.sources]]`: where prices come from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use domain::{Asset, Span, Timestamp};
use feeds::{CrunchdaoBounds, Stamp, addresses};
use serde::{Deserialize, Serialize};

use super::{ConfigError, PricesConfig, invalid};

/// Sources are asked for three seconds at most; with this much time another one's close still reaches its slot.
const LEAST_GRACE: Span = Span::seconds(4);

/// `[[prices.sources]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "snake_case")]
pub enum PriceSource {
    /// Recorded prices: `ASSET-….csv`, `.csv.gz` or `.parquet` in a folder.
    Files {
        /// The folder.
        dir: PathBuf,
        /// Moved forward by this much; whole weeks keep the days of the week.
        #[serde(default)]
        shift: Span,
    },
    /// A market made up from a seed.
    Simulated {
        /// The same seed gives the same prices.
        seed: u64,
        /// When the market opened.
        origin: Timestamp,
    },
    /// The CrunchDAO price database.
    Crunchdao(ServiceConfig),
    /// Pyth's history.
    Pyth(ServiceConfig),
    /// Pyth's Hermes, a stream.
    Hermes(ServiceConfig),
    /// Binance, asked for.
    Binance(ServiceConfig),
    /// Binance, a stream.
    BinanceStream(ServiceConfig),
    /// Coinbase Exchange.
    Coinbase(ServiceConfig),
}

/// A source that is a service on the network.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceConfig {
    /// What the ledger calls it; the kind unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it is; the service's public address unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The key that the service gave out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// The environment variable that holds the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_variable: Option<String>,
    /// What the service calls each asset.
    pub symbols: BTreeMap<Asset, String>,
    /// Of `pyth`: how often its prices are made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Of `crunchdao`: how the bounds of a question are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bounds: Option<CrunchdaoBounds>,
    /// Of `crunchdao`: which instant of a candle its timestamp is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stamp: Option<Stamp>,
}

/// A text that is shown nowhere but in the file that it is from.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl PriceSource {
    /// What it has of a service, if it is one.
    pub fn service(&self) -> Option<&ServiceConfig> {
        match self {
            PriceSource::Files { .. } | PriceSource::Simulated { .. } => None,
            PriceSource::Crunchdao(service)
            | PriceSource::Pyth(service)
            | PriceSource::Hermes(service)
            | PriceSource::Binance(service)
            | PriceSource::BinanceStream(service)
            | PriceSource::Coinbase(service) => Some(service),
        }
    }

    fn service_mut(&mut self) -> Option<&mut ServiceConfig> {
        match self {
            PriceSource::Files { .. } | PriceSource::Simulated { .. } => None,
            PriceSource::Crunchdao(service)
            | PriceSource::Pyth(service)
            | PriceSource::Hermes(service)
            | PriceSource::Binance(service)
            | PriceSource::BinanceStream(service)
            | PriceSource::Coinbase(service) => Some(service),
        }
    }

    /// What the ledger calls it.
    pub fn name(&self) -> &str {
        self.service().and_then(|service| service.name.as_deref()).unwrap_or_else(|| self.kind())
    }

    /// Its kind, and where it is unless something else is named.
    fn traits(&self) -> (&'static str, &'static str) {
        match self {
            PriceSource::Files { .. } => ("recorded", ""),
            PriceSource::Simulated { .. } => ("simulated", ""),
            PriceSource::Crunchdao(_) => ("crunchdao", addresses::CRUNCHDAO),
            PriceSource::Pyth(_) => ("pyth", addresses::PYTH),
            PriceSource::Hermes(_) => ("hermes", addresses::HERMES),
            PriceSource::Binance(_) => ("binance", addresses::BINANCE),
            PriceSource::BinanceStream(_) => ("binance_stream", addresses::BINANCE_STREAM),
            PriceSource::Coinbase(_) => ("coinbase", addresses::COINBASE),
        }
    }

    fn kind(&self) -> &'static str {
        self.traits().0
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        self.service().and_then(|service| service.address.as_deref()).unwrap_or(self.traits().1)
    }

    /// Whether it has prices of an asset; files are looked into when they are opened.
    pub fn prices(&self, asset: &Asset) -> bool {
        self.service().is_none_or(|service| service.symbols.contains_key(asset))
    }

    /// Without its key, for people to read.
    pub fn masked(mut self) -> Self {
        if let Some(service) = self.service_mut() {
            service.key = service.key.as_ref().map(|_| Secret("***".into()));
            service.address = service.address.as_deref().map(storage::without_secrets);
        }
        self
    }

    fn check(&self) -> Result<(), String> {
        let name = self.name();
        let Some(service) = self.service() else { return Ok(()) };
        let fault = |fault: String| Err(format!("{name}: {fault}"));
        if name.is_empty() {
            return Err("a name is empty: write one, or leave it out".into());
        }
        if service.symbols.is_empty() {
            return fault(
                "it has no symbols: write what it calls each asset, such as { BTC = \"…\" }".into(),
            );
        }
        if let Some((asset, _)) = service.symbols.iter().find(|(_, symbol)| symbol.trim().is_empty()) {
            return fault(format!("the symbol of {asset} is empty: write what it calls {asset}"));
        }
        if service.key.is_some() && service.key_variable.is_some() {
            return fault("it has key and key_variable: write one of them".into());
        }
        if service.key.as_ref().is_some_and(|key| key.0.is_empty()) {
            return fault("the key is empty: write it, or leave it out".into());
        }
        if let PriceSource::Hermes(_) = self {
            for symbol in service.symbols.values() {
                feeds::hermes_id(symbol).map(drop).or_else(fault)?;
            }
        }
        if service.channel.is_some() && !matches!(self, PriceSource::Pyth(_)) {
            return fault("it has a channel, which only pyth has: take it out".into());
        }
        if (service.bounds.is_some() || service.stamp.is_some()) && !matches!(self, PriceSource::Crunchdao(_))
        {
            return fault("it has bounds or stamp, which only crunchdao has: take them out".into());
        }
        feeds::check_address(self.address(), self.schemes(), service.has_key()).or_else(fault)
    }

    fn schemes(&self) -> &'static [&'static str] {
        if matches!(self, PriceSource::BinanceStream(_)) { &feeds::WEB_SOCKET } else { &feeds::HTTP }
    }
}

impl ServiceConfig {
    fn has_key(&self) -> bool {
        self.key.is_some() || self.key_variable.is_some()
    }

    /// The key, if it has one. An environment variable is read now.
    pub fn read_key(&self, name: &str) -> Result<Option<feeds::Key>, ConfigError> {
        let Some(variable) = &self.key_variable else {
            return Ok(self.key.as_ref().map(|key| feeds::Key::new(key.0.as_str())));
        };
        match std::env::var(variable) {
            Ok(key) if !key.trim().is_empty() => Ok(Some(feeds::Key::new(key.trim()))),
            _ => invalid(
                "prices.sources",
                format!("{name}: its key is to be in the environment variable {variable}: set it"),
            ),
        }
    }
}

impl PricesConfig {
    /// `assets` are those that are asked about.
    pub(super) fn check_sources(&self, assets: &[Asset]) -> Result<(), ConfigError> {
        const KEY: &str = "prices.sources";
        let sources = &self.sources;
        if sources.is_empty() {
            return invalid(KEY, "there are none: name one [[prices.sources]] at least");
        }
        if sources.len() > 1 && sources.iter().any(|source| matches!(source, PriceSource::Simulated { .. })) {
            return invalid(
                KEY,
                "a simulated market agrees with no other source: take it out, or the others",
            );
        }
        for (i, source) in sources.iter().enumerate() {
            source.check().or_else(|fault| invalid(KEY, fault))?;
            if sources[..i].iter().any(|other| other.name() == source.name()) {
                let fault = format!("two are called {}: give one of them another name", source.name());
                return invalid(KEY, fault);
            }
        }
        if let Some(asset) = assets.iter().find(|asset| !sources.iter().any(|source| source.prices(asset))) {
            return invalid(KEY, format!("none prices {asset}: add what a source calls it to its symbols"));
        }
        self.check_services()
    }

    fn check_services(&self) -> Result<(), ConfigError> {
        let deviation = self.max_deviation;
        if !(deviation.is_finite() && deviation > 0.0 && deviation < 1.0) {
            let fault = format!("{deviation} is no share between 0 and 1: write for instance 0.02 for 2 %");
            return invalid("prices.max_deviation", fault);
        }
        if self.sources.iter().all(|source| source.service().is_none()) {
            return Ok(());
        }
        if !self.interval.is_multiple_of(Span::minutes(1)) {
            let fault = "services have prices of full minutes: write a multiple of \"1m\"";
            return invalid("prices.interval", fault);
        }
        if self.open_grace < LEAST_GRACE {
            let fault = format!("services need a moment after each minute: write at least \"{LEAST_GRACE}\"");
            return invalid("prices.open_grace", fault);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices(toml: &str) -> Result<PricesConfig, String> {
        let prices: PricesConfig = toml::from_str(toml).map_err(|error| error.to_string())?;
        let assets = ["BTC", "ETH"].map(|name| Asset::new(name).unwrap());
        prices.check_sources(&assets).map_err(|error| error.to_string())?;
        Ok(prices)
    }

    fn source(text: &str) -> String {
        format!("[[sources]]\n{text}\n")
    }

    const BINANCE: &str = "kind = \"binance\"\nsymbols = { BTC = \"BTCUSDT\", ETH = \"ETHUSDT\" }";

    #[test]
    fn services_are_read_with_names_addresses_and_symbols() {
        let crunchdao = "kind = \"crunchdao\"\nbounds = \"unix\"\nstamp = \"close\"\n\
                         name = \"db\"\naddress = \"http://127.0.0.1:9\"\nsymbols = { BTC = \"BTC\" }";
        let prices = prices(&(source(BINANCE) + &source(crunchdao))).unwrap();
        let [binance, crunchdao] = &prices.sources[..] else { panic!() };
        assert_eq!((binance.name(), binance.address()), ("binance", "https://data-api.binance.vision"));
        assert_eq!((crunchdao.name(), crunchdao.address()), ("db", "http://127.0.0.1:9"));
        let service = crunchdao.service().unwrap();
        assert_eq!((service.bounds, service.stamp), (Some(CrunchdaoBounds::Unix), Some(Stamp::Close)));
    }

    /// What the sample shows in comments, with the settings that it comments out once more.
    #[test]
    fn the_examples_in_the_sample_are_valid_and_show_the_defaults() {
        let sample =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../condor.toml")).unwrap();
        let (_, from) = sample.split_once("Or services.").unwrap();
        let (text, _) = from.split_once("\n[[prices.sources]]").unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("#   "));
        let toml: Vec<&str> = lines.map(|line| line.strip_prefix("# ").unwrap_or(line)).collect();
        let prices = prices(&toml.join("\n").replace("[[prices.sources]]", "[[sources]]")).unwrap();
        let kinds: Vec<&str> = prices.sources.iter().map(PriceSource::name).collect();
        assert_eq!(kinds, ["binance_stream", "binance", "coinbase", "crunchdao", "pyth", "hermes"]);
        for source in &prices.sources {
            assert_eq!(source.address(), source.traits().1);
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_source_and_the_cure() {
        let refused = |toml: String| prices(&toml).unwrap_err();
        let service = |kind: &str, rest: &str| {
            refused(source(&format!(
                "kind = \"{kind}\"\n{}",
                rest.replace(", ", "\n").replace("\nETH", ", ETH")
            )))
        };
        let symbols = "symbols = { BTC = \"B\", ETH = \"E\" }";
        assert!(refused("sources = []\n".into()).contains("name one [[prices.sources]]"));
        assert!(service("binance", "").contains("binance: it has no symbols"));
        assert!(service("binance", "symbols = { BTC = \" \" }").contains("the symbol of BTC is empty"));
        assert!(service("binance", "symbols = { BTC = \"B\" }").contains("none prices ETH"));
        assert!(service("binance", "simbols = {}").contains("simbols"));
        assert!(service("kraken", symbols).contains("coinbase"));
        assert!(
            service("coinbase", &format!("address = \"ftp://h\", {symbols}")).contains("write https://HOST")
        );
        assert!(
            service("binance_stream", &format!("address = \"https://h\", {symbols}")).contains("wss://HOST")
        );
        let in_clear = format!("address = \"http://example.org\", key_variable = \"K\", {symbols}");
        assert!(service("pyth", &in_clear).contains("key in clear"));
        assert!(service("pyth", &format!("key = \"\", {symbols}")).contains("the key is empty"));
        assert!(
            service("pyth", &format!("key = \"k\", key_variable = \"K\", {symbols}")).contains("one of them")
        );
        assert!(service("hermes", symbols).contains("64 hexadecimal digits"));
        assert!(service("binance", &format!("channel = \"real_time\", {symbols}")).contains("only pyth has"));
        assert!(service("pyth", &format!("stamp = \"close\", {symbols}")).contains("only crunchdao has"));
        assert!(refused(source(BINANCE) + &source(BINANCE)).contains("two are called binance"));
        let simulated = source("kind = \"simulated\"\nseed = 1\norigin = \"2026-01-01T00:00:00Z\"");
        assert!(refused(source(BINANCE) + &simulated).contains("agrees with no other"));
        assert!(refused(format!("interval = \"30s\"\n{}", source(BINANCE))).contains("multiple of \"1m\""));
        assert!(refused(format!("open_grace = \"2s\"\n{}", source(BINANCE))).contains("at least \"4s\""));
        assert!(refused(format!("max_deviation = 2.0\n{}", source(BINANCE))).contains("no share"));
    }

    #[test]
    fn keys_are_shown_nowhere_and_can_come_from_the_environment() {
        let pyth = "kind = \"pyth\"\nkey = \"very-secret\"\nsymbols = { BTC = \"B\", ETH = \"E\" }";
        let source = prices(&source(pyth)).unwrap().sources.remove(0);
        assert!(!format!("{source:?}").contains("very-secret"));
        let shown = toml::Value::try_from(source.clone().masked()).unwrap().to_string();
        assert!(shown.contains("***") && !shown.contains("very-secret"), "{shown}");
        // What is read again after a change still has it.
        assert!(toml::Value::try_from(source).unwrap().to_string().contains("very-secret"));
        let service =
            ServiceConfig { key_variable: Some("CARGO_PKG_NAME_".into()), ..ServiceConfig::default() };
        let fault = service.read_key("pyth").unwrap_err().to_string();
        assert!(fault.ends_with("environment variable CARGO_PKG_NAME_: set it"), "{fault}");
        let service = ServiceConfig { key_variable: Some("CARGO_PKG_NAME".into()), ..service };
        assert!(service.read_key("pyth").unwrap().is_some());
    }
}
