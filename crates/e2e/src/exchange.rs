//! Local servers that answer as those of Binance and Coinbase do by their documentation (the pages are named in
//! `feeds/tests/services/rest.rs`): built, not recorded. All agree on one made-up price.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use domain::{Clock, SystemClock, Timestamp};

/// What a question says below its path, decoded.
pub type Query = BTreeMap<String, String>;

/// The close of the minute that begins so, in unix seconds.
pub fn close(begin: i64) -> f64 {
    60_000.0 + (begin / 60 % 100) as f64
}

/// A server that answers each question by its query, until the test ends; its address.
pub fn serve(answer: fn(&Query) -> String) -> String {
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

/// Klines of any symbol.
pub fn binance(query: &Query) -> String {
    let bound = |name: &str| query[name].parse::<i64>().unwrap() / 1000;
    let kline = |begin: i64| {
        let (open, close) = (begin * 1000, close(begin));
        format!(r#"[{open},"1","1","1","{close}","1",{open},"1",1,"1","1","0"]"#)
    };
    let klines: Vec<String> = begins(bound("startTime"), bound("endTime")).map(kline).collect();
    format!("[{}]", klines.join(","))
}

/// Candles of any product, their prices times `factor`.
pub fn coinbase_times(query: &Query, factor: f64) -> String {
    let bound = |name: &str| query[name].parse::<Timestamp>().unwrap().timestamp();
    let candle = |begin: i64| format!("[{begin},1,1,1,{},1]", close(begin) * factor);
    let candles: Vec<String> = begins(bound("start"), bound("end")).map(candle).collect();
    format!("[{}]", candles.join(","))
}
