//! Charts as SVG and HTML. What they are given as names is markup already.

use std::fmt::Write as _;

use domain::{Timestamp, TimestampExt};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 360.0;
/// Room for the numbers beside and below a chart.
const LEFT: f64 = 50.0;
const BELOW: f64 = 25.0;

/// How many lines divide an axis.
const DIVISIONS: u32 = 5;

/// A curve.
pub struct Line {
    /// Whose.
    pub name: String,
    /// In the order of time.
    pub points: Vec<(Timestamp, f64)>,
}

/// A part of a whole.
pub struct Share {
    /// Its class in the style sheet.
    pub class: &'static str,
    /// What it is.
    pub name: &'static str,
    /// How large.
    pub count: u64,
}

/// Curves over time with a legend.
pub fn lines(lines: &[Line], span: (Timestamp, Timestamp)) -> String {
    let values = || lines.iter().flat_map(|line| line.points.iter().map(|point| point.1));
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    if low > high {
        return "<p>There is nothing to show: nothing was scored.</p>".to_owned();
    }
    // A flat curve lies in the middle.
    let (low, high) = if low < high { (low, high) } else { (low - 0.5, high + 0.5) };
    let y = |value: f64| (HEIGHT - BELOW) * (1.0 - (value - low) / (high - low)) + 5.0;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\">", HEIGHT + 10.0);
    for division in 0..=DIVISIONS {
        let share = f64::from(division) / f64::from(DIVISIONS);
        let value = low + (high - low) * share;
        let (line, text) = (y(value), y(value) + 4.0);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{line:.1}\" y2=\"{line:.1}\"/>\
             <text x=\"{}\" y=\"{text:.1}\" text-anchor=\"end\">{value:.2}</text>",
            LEFT - 6.0
        );
    }
    svg.push_str(&dates(span, HEIGHT));
    for (index, line) in lines.iter().enumerate() {
        let points: Vec<String> =
            line.points.iter().map(|(at, value)| format!("{:.1},{:.1}", x(*at, span), y(*value))).collect();
        let (points, color) = (points.join(" "), color(index));
        let name = &line.name;
        let _ = write!(
            svg,
            "<polyline class=\"curve\" stroke=\"{color}\" points=\"{points}\"><title>{name}</title></polyline>"
        );
    }
    svg.push_str("</svg>");
    svg + &legend(lines)
}

/// The parts of a whole side by side.
pub fn shares(shares: &[Share]) -> String {
    let mut html = String::from("<div class=\"shares\">");
    for Share { class, name, count } in shares.iter().filter(|share| share.count > 0) {
        let _ =
            write!(html, "<div class=\"{class}\" style=\"flex:{count}\" title=\"{name}: {count}\"></div>");
    }
    html + "</div>"
}

/// Stretches of time on an axis of their own.
pub fn timeline(name: &str, stretches: &[(Timestamp, Timestamp)], span: (Timestamp, Timestamp)) -> String {
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} 44\" role=\"img\"><text x=\"0\" y=\"18\">{name}</text>\
         <rect class=\"span\" x=\"{LEFT}\" y=\"6\" width=\"{}\" height=\"16\"/>",
        WIDTH - LEFT
    );
    for (from, to) in stretches {
        // What is too short to be seen is a hair wide.
        let width = (x(*to, span) - x(*from, span)).max(0.5);
        let _ = write!(
            svg,
            "<rect class=\"gap\" x=\"{:.1}\" y=\"6\" width=\"{width:.1}\" height=\"16\"><title>{} to {}</title></rect>",
            x(*from, span),
            from.to_utc_string(),
            to.to_utc_string()
        );
    }
    svg + &dates(span, 36.0) + "</svg>"
}

fn legend(lines: &[Line]) -> String {
    let mut html = String::from("<ul class=\"legend\">");
    for (index, line) in lines.iter().enumerate() {
        let _ = write!(html, "<li><span style=\"background:{}\"></span>{}</li>", color(index), line.name);
    }
    html + "</ul>"
}

fn dates(span: (Timestamp, Timestamp), y: f64) -> String {
    let mut svg = String::new();
    for division in 0..DIVISIONS {
        let at = span.0 + (span.1 - span.0) * division as i32 / DIVISIONS as i32;
        let _ = write!(svg, "<text x=\"{:.1}\" y=\"{y}\">{}</text>", x(at, span), at.format("%Y-%m-%d"));
    }
    svg
}

fn x(at: Timestamp, (from, to): (Timestamp, Timestamp)) -> f64 {
    let share = at.since(from).as_secs_f64() / to.since(from).as_secs_f64().max(1.0);
    LEFT + (WIDTH - LEFT) * share
}

/// Neighbours are far apart on the colour wheel.
fn color(index: usize) -> String {
    format!("hsl({:.0} 65% 50%)", (index as f64 * 137.508) % 360.0)
}
