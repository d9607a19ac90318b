//! `condor feeds check`, against local exchanges.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::net::TcpListener;
use std::path::Path;

use e2e::condor;
use e2e::exchange::{Query, binance, coinbase_times, serve};
use serde_json::Value;

fn coinbase(query: &Query) -> String {
    coinbase_times(query, 1.001)
}

fn coinbase_wrong(query: &Query) -> String {
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
