//! Questions to services over HTTP: bounded in time, size and number.

mod limiter;
mod server_time;
mod tls;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::{Asset, Clock, Timestamp};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url, redirect};

pub(crate) use limiter::{Limiter, Pace};
pub(crate) use server_time::ClockWatch;
pub(crate) use tls::client_config;

use crate::{Fault, FeedError, SourceName};

/// Thousand candles take about 150 KiB.
const MAX_BODY_MIB: usize = 8;
const MAX_BODY_BYTES: usize = MAX_BODY_MIB << 20;
/// What of an answer that is no answer is shown.
const SHOWN_CHARS: usize = 120;
const SHOWN_BYTES: usize = 4096;

/// Without a word about it, one that wants fewer requests is left alone for so long.
const USUAL_PAUSE: Duration = Duration::from_secs(60);
/// Bans last up to three days.
const LONGEST_PAUSE: Duration = Duration::from_secs(3 * 24 * 3600);

/// A secret: it is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// Takes a key as the service gave it out.
    pub fn new(key: impl Into<String>) -> Self {
        Key(key.into())
    }

    fn header(&self, prefix: &str) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("{prefix}{}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a service is, and what is asked there.
#[derive(Debug, Clone)]
pub struct Service {
    /// What the ledger calls it.
    pub name: SourceName,
    /// `http`, `https`, `ws` or `wss`; paths of questions are added to its own.
    pub address: String,
    /// Who asks, where the service wants to know.
    pub key: Option<Key>,
    /// What the service calls each asset.
    pub symbols: BTreeMap<Asset, String>,
}

impl Service {
    pub(crate) fn symbol(&self, asset: &Asset) -> Result<&str, FeedError> {
        self.symbols.get(asset).map(String::as_str).ok_or_else(|| FeedError::UnknownAsset {
            asset: asset.clone(),
            feed: self.name.to_string(),
            known: self.symbols.keys().cloned().collect(),
        })
    }

    pub(crate) fn failed(&self, asset: &Asset, fault: Fault) -> FeedError {
        FeedError::Service { feed: self.name.to_string(), asset: asset.clone(), fault }
    }

    pub(crate) fn unusable(&self, fault: impl Into<String>) -> FeedError {
        FeedError::Setup { feed: self.name.to_string(), fault: fault.into() }
    }

    /// The address, which has to have one of these schemes.
    pub(crate) fn url(&self, schemes: &[&str]) -> Result<Url, FeedError> {
        check_address(&self.address, schemes, self.key.is_some()).map_err(|fault| self.unusable(fault))?;
        Url::parse(&self.address).map_err(|error| self.unusable(error.to_string()))
    }
}

/// The schemes of services that are asked; the one to use first.
pub const HTTP: [&str; 2] = ["https", "http"];
/// The schemes of services that tell over a WebSocket; the one to use first.
pub const WEB_SOCKET: [&str; 2] = ["wss", "ws"];

/// Whether a service may be asked at an address. `schemes` are those it may have, the one to use first.
///
/// # Errors
/// What is wrong with it and what to write.
pub fn check_address(address: &str, schemes: &[&str], has_key: bool) -> Result<(), String> {
    let secure = schemes.first().copied().unwrap_or_default();
    let Some(url) =
        Url::parse(address).ok().filter(|url| url.host_str().is_some_and(|host| !host.is_empty()))
    else {
        return Err(format!("`{address}` is no address: write {secure}://HOST"));
    };
    if !schemes.contains(&url.scheme()) {
        return Err(format!("its address begins with {}: write {secure}://HOST", url.scheme()));
    }
    if has_key && url.scheme() != secure && !is_loopback(&url) {
        return Err(format!("its address would send the key in clear: write {secure}://HOST"));
    }
    Ok(())
}

/// What every feed takes from the process that it is part of.
#[derive(Clone)]
pub struct Surroundings {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What pauses by chance are drawn from.
    pub seed: u64,
    /// How long things are waited for.
    pub timing: Timing,
}

/// How long services are waited for, in real time.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// From a question to the end of its answer.
    pub answer: Duration,
    /// Between two words of a stream.
    pub silence: Duration,
    /// How long one call for closes goes on asking for further parts of a long span.
    pub paging: Duration,
    /// Of several sources, from a question to the last that is waited for.
    pub source: Duration,
    /// The first pause after a failure.
    pub first_pause: Duration,
    /// The longest pause after many failures.
    pub longest_pause: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            answer: Duration::from_millis(2500),
            silence: Duration::from_secs(60),
            paging: Duration::from_millis(1500),
            source: Duration::from_secs(3),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
        }
    }
}

/// An answer, and when the server sent it by its own clock.
pub(crate) struct Answer {
    pub body: Vec<u8>,
    pub server_time: Option<Timestamp>,
}

/// Asks one service.
pub(crate) struct Http {
    client: Client,
    host: String,
    timing: Timing,
    limiter: Limiter,
    clocks: ClockWatch,
}

/// How a service wants its key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum KeyHeader {
    Bearer,
    Named(&'static str),
}

impl Http {
    pub(crate) fn new(
        service: &Service,
        address: &Url,
        key_header: KeyHeader,
        pace: Pace,
        surroundings: &Surroundings,
    ) -> Result<Self, FeedError> {
        let unusable = |error: &dyn fmt::Display| service.unusable(error.to_string());
        let tls = client_config().map_err(|error| unusable(&error))?;
        let timing = surroundings.timing;
        let mut builder = Client::builder()
            .tls_backend_preconfigured(rustls::ClientConfig::clone(&tls))
            .user_agent(concat!("condor/", env!("CARGO_PKG_VERSION")))
            .default_headers(key_headers(service, key_header)?)
            .redirect(redirect::Policy::none())
            .connect_timeout(timing.answer);
        if is_loopback(address) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| unusable(&root_cause(&error)))?;
        let clocks = ClockWatch::new(Arc::clone(&service.name), Arc::clone(&surroundings.clock));
        Ok(Http { client, host: host_of(address), timing, limiter: Limiter::new(pace), clocks })
    }

    /// Where questions go, for messages.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Asks for `url`, on behalf of `symbol`.
    pub(crate) async fn get(&self, url: Url, symbol: &str) -> Result<Answer, Fault> {
        self.admit().await?;
        let within = self.timing.answer;
        let asking = async {
            let response = self.send(url, symbol).await?;
            let server_time = self.clocks.note(response.headers());
            Ok(Answer { server_time, body: self.body(response).await? })
        };
        tokio::time::timeout(within, asking).await.unwrap_or_else(|_| Err(self.timed_out(within)))
    }

    /// Begins to read what `url` sends without end.
    pub(crate) async fn open(&self, url: Url, symbol: &str) -> Result<Response, Fault> {
        self.admit().await?;
        let within = self.timing.answer;
        let answer = tokio::time::timeout(within, self.send(url, symbol)).await;
        answer.unwrap_or_else(|_| Err(self.timed_out(within)))
    }

    /// The next piece of what is being read; `None` at its end.
    pub(crate) async fn next_chunk(&self, response: &mut Response) -> Result<Option<Vec<u8>>, Fault> {
        let within = self.timing.silence;
        match tokio::time::timeout(within, response.chunk()).await {
            Ok(chunk) => Ok(chunk.map_err(|error| self.cut(&error))?.map(|bytes| bytes.to_vec())),
            Err(_) => Err(self.timed_out(within)),
        }
    }

    /// What is wrong with an answer.
    pub(crate) fn unreadable(&self, why: impl Into<String>) -> Fault {
        Fault::Unreadable { host: self.host.clone(), why: why.into() }
    }

    async fn admit(&self) -> Result<(), Fault> {
        let limited = |pause| Fault::Limited { host: self.host.clone(), status: 429, pause };
        self.limiter.admit().await.map_err(limited)
    }

    async fn send(&self, url: Url, symbol: &str) -> Result<Response, Fault> {
        let sent = self.client.get(url).send().await;
        let response = sent.map_err(|error| self.not_sent(&error))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response, symbol).await) }
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.cut(&error))? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(Fault::TooLarge { host: self.host.clone(), limit_mib: MAX_BODY_MIB });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// What an answer says that is none. A service that wants a pause gets it.
    async fn refusal(&self, response: Response, symbol: &str) -> Fault {
        let (status, host) = (response.status(), self.host.clone());
        let pause = pause_wanted(status, response.headers());
        if let Some(pause) = pause {
            self.limiter.close_for(pause);
        }
        let code = status.as_u16();
        let said = beginning(response).await;
        match (code, pause) {
            (418 | 429, Some(pause)) => Fault::Limited { host, status: code, pause },
            (401 | 403 | 407 | 451, _) => Fault::Refused { host, status: code, said },
            (500.., _) => Fault::Broken { host, status: code, said },
            _ => Fault::NotUnderstood { host, symbol: symbol.to_owned(), said: format!("{code}: {said}") },
        }
    }

    fn not_sent(&self, error: &reqwest::Error) -> Fault {
        let host = self.host.clone();
        if error.is_timeout() {
            return self.timed_out(self.timing.answer);
        }
        let why = root_cause(error);
        if error.is_connect() { Fault::Unreachable { host, why } } else { Fault::Cut { host, why } }
    }

    fn cut(&self, error: &reqwest::Error) -> Fault {
        Fault::Cut { host: self.host.clone(), why: root_cause(error) }
    }

    fn timed_out(&self, within: Duration) -> Fault {
        Fault::TimedOut { host: self.host.clone(), within }
    }
}

fn key_headers(service: &Service, form: KeyHeader) -> Result<HeaderMap, FeedError> {
    let mut headers = HeaderMap::new();
    let Some(key) = &service.key else { return Ok(headers) };
    let (name, prefix) = match form {
        KeyHeader::Bearer => (reqwest::header::AUTHORIZATION, "Bearer "),
        KeyHeader::Named(name) => (HeaderName::from_static(name), ""),
    };
    let value = key.header(prefix);
    headers.insert(name, value.ok_or_else(|| service.unusable("the key has characters that no key has"))?);
    Ok(headers)
}

/// How long a service wants to be left alone; only those that say they are overrun.
fn pause_wanted(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let said = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let pause = said.and_then(|text| seconds_or_date(text, headers));
    let is_overrun = matches!(status.as_u16(), 418 | 429);
    let pause = if is_overrun { Some(pause.unwrap_or(USUAL_PAUSE)) } else { pause };
    pause.filter(|_| is_overrun || status.is_server_error()).map(|pause| pause.min(LONGEST_PAUSE))
}

/// `Retry-After` is a number of seconds or a date, which the server reckons by its own clock.
fn seconds_or_date(text: &str, headers: &HeaderMap) -> Option<Duration> {
    let seconds = || text.trim().parse().ok().map(Duration::from_secs);
    let date = || (server_time::parse(text)? - server_time::of(headers)?).to_std().ok();
    seconds().or_else(date)
}

/// The beginning of an answer that is shown; nothing when it cannot be read.
async fn beginning(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() >= SHOWN_BYTES {
            break;
        }
    }
    shorten(&String::from_utf8_lossy(&bytes))
}

/// One line of what somebody else wrote.
pub(crate) fn shorten(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown: String = words.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS).collect();
    if shown.is_empty() { "no words".into() } else { shown }
}

/// `url` with further parts of its path, each of them whole, and a query.
pub(crate) fn with_path(url: &Url, path: &[&str], query: &[(&str, &str)]) -> Url {
    let mut url = url.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

/// Host and port, without what may be secret: a path or a password.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// The innermost reason, which says most, and never the address, which may hold a secret.
fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    shorten(&cause.to_string())
}
