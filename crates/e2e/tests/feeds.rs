//! `condor feeds check`, against local servers that answer as those of Binance and Coinbase do by their documentation (the
//! pages are named in `feeds/tests/services/rest.rs`): built, not recorded.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;

use domain::{Clock, SystemClock, Timestamp};
use e2e::condor;
use serde_json::Value;

/// The close of the minute that begins so.
fn close(begin: i64) -> f64 {
    60_000.0 + (begin / 60 % 100) as f64
}

/// A server that answers each question by its query, until the test ends.
fn serve(answer: fn(&BTreeMap<String, String>) -> String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let target = lines.next().unwrap().unwrap();
            let _ = lines.take_while(|line| !line.as_ref().unwrap().is_empty()).count();
            let query = target.split(['?', ' ']).nth(2).unwrap();
            let decode = |text: &str| text.replace("%3A", ":");
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let body = answer(&pairs.map(|(key, value)| (key.to_owned(), decode(value))).collect());
            let date = SystemClock.now().format("%a, %d %b %Y %H:%M:%S GMT");
            let length = body.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ndate: {date}\r\ncontent-length: {length}");
            // Whoever asked may have hung up.
            let _ = write!(stream, "{head}\r\n\r\n{body}");
        }
    });
    address
}

/// The beginnings of all candles within bounds, the forming one included.
fn begins(from: i64, to: i64) -> impl Iterator<Item = i64> {
    let now = SystemClock.now().timestamp();
    (from.div_euclid(60) * 60..=to.min(now)).step_by(60)
}

fn binance(query: &BTreeMap<String, String>) -> String {
    let bound = |name: &str| query[name].parse::<i64>().unwrap() / 1000;
    let kline = |begin: i64| {
        let (open, close) = (begin * 1000, close(begin));
        format!(r#"[{open},"1","1","1","{close}","1",{open},"1",1,"1","1","0"]"#)
    };
    let klines: Vec<String> = begins(bound("startTime"), bound("endTime")).map(kline).collect();
    format!("[{}]", klines.join(","))
}

fn coinbase_times(query: &BTreeMap<String, String>, factor: f64) -> String {
    let bound = |name: &str| query[name].parse::<Timestamp>().unwrap().timestamp();
    let candle = |begin: i64| format!("[{begin},1,1,1,{},1]", close(begin) * factor);
    let candles: Vec<String> = begins(bound("start"), bound("end")).map(candle).collect();
    format!("[{}]", candles.join(","))
}

fn coinbase(query: &BTreeMap<String, String>) -> String {
    coinbase_times(query, 1.001)
}

fn coinbase_wrong(query: &BTreeMap<String, String>) -> String {
    coinbase_times(query, 1.03)
}

/// Checks a configuration of two sources for two assets, the second priced by Binance alone.
fn check(binance: &str, coinbase: &str) -> (Option<i32>, Vec<Value>, String) {
    let folder = tempfile::tempdir().unwrap();
    let schedule =
        "[[schedules]]\nassets = [\"BTC\", \"ETH\"]\nhorizon = \"1h\"\nsteps = [\"1m\"]\nevery = \"12m\"\n";
    let sources = format!(
        "[[prices.sources]]\nkind = \"coinbase\"\naddress = \"{coinbase}\"\nsymbols = {{ BTC = \"BTC-USD\" }}\n\
         [[prices.sources]]\nkind = \"binance\"\naddress = \"{binance}\"\nkey_variable = \"BINANCE_KEY\"\n\
         symbols = {{ BTC = \"BTCUSDT\", ETH = \"ETHUSDT\" }}\n"
    );
    std::fs::write(folder.path().join("condor.toml"), format!("{schedule}{sources}")).unwrap();
    run(folder.path())
}

fn run(folder: &Path) -> (Option<i32>, Vec<Value>, String) {
    let mut command = condor(["feeds", "check", "--json"]);
    let output = command.current_dir(folder).env("BINANCE_KEY", "open-sesame").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let objects = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code(), objects, String::from_utf8(output.stderr).unwrap())
}

fn find<'a>(objects: &'a [Value], source: &str, asset: &str) -> &'a Value {
    objects.iter().find(|it| it["source"] == source && it["asset"] == asset).unwrap()
}

fn verdict<'a>(objects: &'a [Value], asset: &str) -> &'a Value {
    objects.iter().find(|it| it["source"].is_null() && it["asset"] == asset).unwrap()
}

#[test]
fn sources_that_work_are_told_with_freshness_and_agreement() {
    let (status, objects, errors) = check(&serve(binance), &serve(coinbase));
    assert_eq!(status, Some(0), "{objects:?} {errors}");
    let finding = find(&objects, "coinbase", "BTC");
    assert!(
        finding["age_s"].as_u64().unwrap() < 180 && finding["closes"].as_u64().unwrap() >= 9,
        "{finding}"
    );
    assert_eq!(finding["differs"]["from"], "binance");
    let share = finding["differs"]["share"].as_f64().unwrap();
    assert!((share - 0.001).abs() < 1e-9, "{share}");
    assert_eq!(
        (&verdict(&objects, "BTC")["taken_from"], &verdict(&objects, "ETH")["taken_from"]),
        (&"coinbase".into(), &"binance".into())
    );
    assert!(
        !objects.iter().any(|it| it["source"] == "coinbase" && it["asset"] == "ETH"),
        "it has nothing to do with ETH"
    );
}

#[test]
fn an_asset_without_a_usable_source_is_named_and_ends_with_1() {
    // Two that differ by 3 %, and nobody knows which is right.
    let (status, objects, errors) = check(&serve(binance), &serve(coinbase_wrong));
    assert_eq!(status, Some(1), "{objects:?}");
    assert!(errors.contains("no usable source of BTC") && errors.contains("NO PRICE IS TAKEN"), "{errors}");
    assert_eq!(
        (&verdict(&objects, "BTC")["usable"], &verdict(&objects, "ETH")["usable"]),
        (&false.into(), &true.into())
    );
    // One that cannot be reached: the other serves where it can.
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (status, objects, errors) = check(&format!("http://{nowhere}"), &serve(coinbase));
    assert_eq!(status, Some(1), "{objects:?}");
    assert!(errors.contains("no usable source of ETH"), "{errors}");
    assert_eq!(verdict(&objects, "BTC")["taken_from"], "coinbase");
    let fault = find(&objects, "binance", "ETH")["error"].as_str().unwrap();
    assert!(fault.contains("cannot be reached") && !fault.contains("open-sesame"), "{fault}");
}
