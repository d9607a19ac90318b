//! Tables as CSV (RFC 4180), for people who work with spreadsheets and scripts.
//!
//! Free texts of participants are left out: spreadsheets take some of them for formulas.

use std::fmt::{Display, Write};

use axum::http::{HeaderValue, header};
use axum::response::Response;
use chrono::SecondsFormat;
use domain::Timestamp;
use serde::Deserialize;

use crate::ask::Ask;
use crate::body::Body;
use crate::problem::Problem;

/// In which form a table is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    #[default]
    Json,
    Csv,
}

/// A table that is being written.
pub(crate) struct Table {
    text: String,
    is_at_start: bool,
}

impl Table {
    /// A table with these columns and no rows yet.
    pub(crate) fn new(columns: &[&str]) -> Self {
        let mut table = Table { text: String::new(), is_at_start: true };
        columns.iter().for_each(|column| table.cell(column));
        table.end_row();
        table
    }

    /// Adds a cell to the row.
    pub(crate) fn cell(&mut self, value: impl Display) {
        if !std::mem::replace(&mut self.is_at_start, false) {
            self.text.push(',');
        }
        let start = self.text.len();
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{value}");
        if self.text[start..].contains(['"', ',', '\r', '\n']) {
            let quoted = format!("\"{}\"", self.text[start..].replace('"', "\"\""));
            self.text.replace_range(start.., &quoted);
        }
    }

    /// Adds a cell that is empty where there is no value.
    pub(crate) fn optional(&mut self, value: Option<impl Display>) {
        match value {
            Some(value) => self.cell(value),
            None => self.cell(""),
        }
    }

    /// Begins the next row.
    pub(crate) fn end_row(&mut self) {
        self.text.push_str("\r\n");
        self.is_at_start = true;
    }

    /// The table as the content of an answer.
    pub(crate) fn into_body(self) -> Body {
        Body::new("text/csv; charset=utf-8; header=present", self.text)
    }
}

/// An instant as in JSON.
pub(crate) fn instant(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Answers with a part of a table; where it goes on is in the header `Link`.
pub(crate) async fn answer_part(ask: &Ask, table: Table, next: Option<&str>) -> Result<Response, Problem> {
    let mut response = ask.answer(&table.into_body()).await?;
    if let Some(link) = next.and_then(|cursor| link_to(ask.place(), cursor)) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// The same place with another cursor.
fn link_to(place: &str, cursor: &str) -> Option<HeaderValue> {
    let (path, query) = place.split_once('?').unwrap_or((place, ""));
    let kept = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
    let cursor = format!("cursor={cursor}");
    let query: Vec<&str> = kept.chain([cursor.as_str()]).collect();
    HeaderValue::try_from(format!("<{path}?{}>; rel=\"next\"", query.join("&"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let mut table = Table::new(&["a", "b", "c"]);
        table.cell(0.1 + 0.2);
        table.cell("it says \"no\", twice\n");
        table.optional(None::<f64>);
        table.end_row();
        assert_eq!(table.text, "a,b,c\r\n0.30000000000000004,\"it says \"\"no\"\", twice\n\",\r\n");
    }

    #[test]
    fn the_link_to_the_next_part_keeps_what_was_asked_for() {
        let link = |place: &str| link_to(place, "abc").unwrap().to_str().unwrap().to_owned();
        assert_eq!(link("/a"), "</a?cursor=abc>; rel=\"next\"");
        assert_eq!(link("/a?x=1&cursor=old&format=csv"), "</a?x=1&format=csv&cursor=abc>; rel=\"next\"");
    }
}
