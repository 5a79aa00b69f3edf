//! The only printing of the tools: lines of text or of JSON on standard output, progress and
//! complaints on standard error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use std::fmt::Display;
use std::io::{self, BufWriter, Write};

/// Where a command's results go.
pub(crate) struct Output {
    out: Box<dyn Write>,
    json: bool,
}

impl Output {
    /// Standard output; `json` asks for one object a line.
    pub(crate) fn standard(json: bool) -> Output {
        Output { out: Box::new(BufWriter::new(io::stdout())), json }
    }

    /// Whether the user wants JSON.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// A line of text, for people.
    pub(crate) fn line(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// One JSON object on one line.
    pub(crate) fn object(&mut self, value: &Value) -> io::Result<()> {
        writeln!(self.out, "{value}")
    }

    /// The object where JSON is asked for, the text otherwise.
    pub(crate) fn either(&mut self, value: &Value, text: impl Display) -> io::Result<()> {
        if self.json { self.object(value) } else { self.line(text) }
    }

    /// A table for people: the first row is the heading, columns are as wide as they need to be.
    pub(crate) fn table(&mut self, rows: &[Vec<String>]) -> io::Result<()> {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// Makes everything so far visible.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A word to the user beside the results.
pub(crate) fn note(text: impl Display) {
    // Standard error may be closed; then nobody is there to be told.
    let _ = writeln!(io::stderr(), "{text}");
}

/// A progress bar on standard error; hidden when that is not a terminal.
pub(crate) fn progress(total: u64, unit: Unit) -> ProgressBar {
    let template = match unit {
        Unit::Bytes => "{bar:40} {bytes}/{total_bytes} {eta} left {msg}",
        Unit::Items => "{bar:40} {human_pos}/{human_len} {eta} left {msg}",
    };
    let style = ProgressStyle::with_template(template).expect("the templates are well-formed");
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(5));
    bar.with_style(style)
}

/// What a progress bar counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Items,
}
