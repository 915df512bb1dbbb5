//! Tables for people: aligned columns, numbers to the right, and figures as people read them.

use std::io::{self, Write};

use mindweave_metering::NanoUsd;

/// Space between two columns.
const GAP: &str = "  ";

/// Which side of its column a cell leans to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table that is printed when all its rows are known.
pub(crate) struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
    total: Option<Vec<String>>,
}

impl Table {
    /// A table with these column titles.
    pub(crate) fn new<'a>(columns: impl IntoIterator<Item = (&'a str, Align)>) -> Self {
        let columns = columns.into_iter().map(|(title, align)| (title.to_owned(), align)).collect();
        Self { columns, rows: Vec::new(), total: None }
    }

    /// Adds a row; cells beyond the columns are not shown.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Sets the row below the line.
    pub(crate) fn total(&mut self, cells: Vec<String>) {
        self.total = Some(cells);
    }

    /// Prints titles, rows and total.
    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let widths: Vec<usize> = self.widths();
        let titles = self.columns.iter().map(|(title, _)| title.clone()).collect::<Vec<_>>();
        self.line(out, &titles, &widths)?;
        for row in &self.rows {
            self.line(out, row, &widths)?;
        }
        if let Some(total) = &self.total {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            self.line(out, &rules, &widths)?;
            self.line(out, total, &widths)?;
        }
        Ok(())
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|(title, _)| title.chars().count()).collect();
        for row in self.rows.iter().chain(&self.total) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths
    }

    fn line(&self, out: &mut impl Write, cells: &[String], widths: &[usize]) -> io::Result<()> {
        let padded = self
            .columns
            .iter()
            .zip(widths)
            .zip(cells)
            .map(|(((_, align), width), cell)| pad(cell, *width, *align));
        let line = padded.collect::<Vec<_>>().join(GAP);
        writeln!(out, "{}", line.trim_end())
    }
}

/// A cell filled up with spaces.
pub(crate) fn pad(cell: &str, width: usize, align: Align) -> String {
    match align {
        Align::Left => format!("{cell:<width$}"),
        Align::Right => format!("{cell:>width$}"),
    }
}

/// A cell that is cut to its width, with a sign that it was.
pub(crate) fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    let mut shown: String = cell.chars().take(width.saturating_sub(1)).collect();
    shown.push('\u{2026}');
    shown
}

/// A count with its thousands apart: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    thousands(&number.to_string())
}

/// Dollars with six places, or with all nine where six would hide an amount that is not zero.
pub(crate) fn dollars(amount: NanoUsd) -> String {
    let exact = amount.to_string();
    let (sign, exact) = exact.strip_prefix('-').map_or(("", exact.as_str()), |rest| ("-", rest));
    let (whole, places) = exact.split_once('.').unwrap_or((exact, ""));
    if amount.0.unsigned_abs() < NANO_PER_MICRO && amount.0 != 0 {
        return format!("{sign}${whole}.{places}");
    }
    let micro = amount.0.unsigned_abs().saturating_add(NANO_PER_MICRO / 2) / NANO_PER_MICRO; // half away from zero
    format!("{sign}${}.{:06}", thousands(&(micro / MICRO_PER_USD).to_string()), micro % MICRO_PER_USD)
}

const NANO_PER_MICRO: u64 = 1_000;
const MICRO_PER_USD: u64 = 1_000_000;

fn thousands(digits: &str) -> String {
    let length = digits.len();
    let mut text = String::with_capacity(length + length / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (length - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lean_right_texts_lean_left_and_lines_have_no_trailing_space() {
        let mut table = Table::new([("NAME", Align::Left), ("COST", Align::Right), ("NOTE", Align::Left)]);
        table.row(vec!["checkout".into(), "$1.5".into(), String::new()]);
        table.row(vec!["ü".into(), "$10.25".into(), "estimated".into()]);
        table.total(vec!["total".into(), "$11.75".into(), String::new()]);
        let mut out = Vec::new();
        table.print(&mut out).unwrap();
        let expected = "\
NAME        COST  NOTE
checkout    $1.5
ü         $10.25  estimated
--------  ------  ---------
total     $11.75
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn an_amount_that_is_not_zero_is_never_shown_as_zero() {
        for (nano, shown) in [
            (0, "$0.000000"),
            (1, "$0.000000001"),
            (-250, "-$0.000000250"),
            (999, "$0.000000999"),
            (1_000, "$0.000001"),
            (1_234_500, "$0.001235"),
            (1_234_499, "$0.001234"),
            (12_345_678_900_000, "$12,345.678900"),
            (-12_000_000_001, "-$12.000000"),
            (999_999_999_999, "$1,000.000000"),
        ] {
            assert_eq!(dollars(NanoUsd(nano)), shown);
        }
    }

    #[test]
    fn counts_have_their_thousands_apart() {
        for (number, shown) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), shown);
        }
    }

    #[test]
    fn a_cell_that_was_cut_says_so() {
        assert_eq!(cut("claude-opus-5", 13), "claude-opus-5");
        assert_eq!(cut("claude-opus-5", 8), "claude-\u{2026}");
    }
}
