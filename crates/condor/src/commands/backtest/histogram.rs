//! The histogram of PIT values on a terminal.

use std::fmt::Write;

use scoring::PIT_BINS;

/// What one row of the plot stands for, in shares of all values; a uniform histogram is four rows high.
const ROW: f64 = 0.0125;
const LEAST_ROWS: usize = 6;
/// A taller column is cut off: its arrow says so.
const MOST_ROWS: usize = 16;
/// From empty to full by eighths.
const BLOCKS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// The columns of `shares`, with the uniform share marked at the side.
pub fn plot(shares: &[f64; PIT_BINS]) -> String {
    let highest = shares.iter().copied().fold(0.0, f64::max);
    let rows = ((highest / ROW).ceil() as usize).clamp(LEAST_ROWS, MOST_ROWS);
    let mut text = String::new();
    for row in (0..rows).rev() {
        let upper = (row + 1) as f64 * ROW * 100.0;
        let label = if row % 2 == 1 { format!("{upper:>5.1} %") } else { " ".repeat(7) };
        let mark = if row == 3 { "┤" } else { "│" };
        let _ = write!(text, "{label} {mark}");
        for &share in shares {
            let is_cut = row + 1 == rows && share > rows as f64 * ROW;
            let cell = if is_cut { "↑" } else { BLOCKS[eighths(share, row)] };
            let _ = write!(text, "{cell}{cell} ");
        }
        text.truncate(text.trim_end().len());
        text.push_str(if row == 3 { "  ← 5 % each is right\n" } else { "\n" });
    }
    let width = PIT_BINS * 3;
    let _ = writeln!(text, "        └{}", "─".repeat(width));
    let _ = writeln!(
        text,
        "         0{:^inner$}1",
        "probability given to a move of at most what happened",
        inner = width - 3
    );
    text
}

/// How full the cell of a column is in a row, from 0 to 8.
fn eighths(share: f64, row: usize) -> usize {
    let filled = (share / ROW - row as f64).clamp(0.0, 1.0);
    (filled * 8.0).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_high_as_their_shares() {
        let mut shares = [0.05; PIT_BINS];
        shares[0] = 0.5;
        shares[1] = 0.0;
        let text = plot(&shares);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), MOST_ROWS + 2, "{text}");
        assert!(lines[0].contains("↑↑"), "what is cut off says so:\n{text}");
        let uniform = lines.iter().find(|line| line.starts_with("  5.0 %")).unwrap();
        assert!(uniform.contains("┤██    ██"), "{text}");
        let above = lines[lines.iter().position(|line| line == uniform).unwrap() - 1];
        assert_eq!(above.matches("██").count(), 1, "only the first column is higher:\n{text}");
        assert_eq!(plot(&[0.05; PIT_BINS]).lines().count(), LEAST_ROWS + 2);
    }
}
