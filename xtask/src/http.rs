//! As much of an HTTP client as is needed here.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};

/// A server on this machine.
pub struct Address {
    pub port: u16,
}

/// An answer.
pub struct Answer {
    head: String,
    /// As sent: compressed where it was asked for.
    pub body: Vec<u8>,
    /// What it took on the wire.
    pub bytes: usize,
}

impl Answer {
    /// The value of a header, by its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

impl Address {
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A connection that has sent a request.
    pub fn ask(&self, path: &str, headers: &[&str]) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let more: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{more}\r\n", self.port)?;
        Ok(stream)
    }

    /// Asks for `path`, which has to be there.
    pub fn get(&self, path: &str, headers: &[&str]) -> Result<Answer> {
        let mut all = Vec::new();
        self.ask(path, &[headers, &["Connection: close"]].concat())?.read_to_end(&mut all)?;
        let end = all.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("the answer has no head")?;
        let head = String::from_utf8(all[..end].to_vec())?;
        ensure!(head.starts_with("HTTP/1.1 200"), "{path} was answered with {:?}", head.lines().next());
        Ok(Answer { head, bytes: all.len(), body: all.split_off(end + 4) })
    }
}

/// The files of the same host that a page names: scripts, styles, pictures.
pub fn files_named_in(page: &str) -> Vec<String> {
    let named = |attribute: &str| -> Vec<String> {
        let parts = page.split(attribute).skip(1);
        let values = parts.filter_map(|part| part.split_once('"').map(|(value, _)| value));
        values.filter(|value| value.starts_with("/assets/")).map(str::to_owned).collect()
    };
    let mut files = [named("src=\""), named("href=\"")].concat();
    files.sort();
    files.dedup();
    files
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_page_names_its_files() {
        let page = r#"<link href="/assets/a.css"><a href="/docs"><script src="/assets/b.js"></script><img src="/assets/a.css">"#;
        assert_eq!(super::files_named_in(page), ["/assets/a.css", "/assets/b.js"]);
    }
}
