//! The report: machine, limits, goals, and a table of medians for each workload. No cell is left
//! out for being lost.

mod goals;
mod machine;
mod number;
mod tables;

use crate::Result;
use crate::record::Record;
use crate::results::Content;
pub use number::median;
use std::path::Path;

/// Prints the report of a file of results, at the scale of its last record. Returns whether every
/// answer in it was right.
pub fn of_file(path: &Path) -> Result<bool> {
    let content = Content::read(path)?;
    let last = content.records.last().ok_or("the file has no records")?;
    println!("{}", markdown(&content, last.scale));
    Ok(content.records.iter().all(|record| record.wrong_answers == 0))
}

/// The report in Markdown, of the records of one scale.
pub fn markdown(content: &Content, scale: f64) -> String {
    let records = content.records.iter();
    let records: Vec<&Record> =
        records.filter(|record| record.scale.total_cmp(&scale).is_eq()).collect();
    let mut text = String::new();
    write_all(&mut text, content, &records, scale).expect("a string takes everything");
    text
}

fn write_all(
    text: &mut String,
    content: &Content,
    records: &[&Record],
    scale: f64,
) -> std::fmt::Result {
    use std::fmt::Write;
    if scale < 1.0 {
        writeln!(text, "\nScale {scale}: these are no figures, they only show that it works.")?;
    }
    if let Some(machine) = &content.machine {
        machine::write_machine(text, machine)?;
    }
    if let Some(limits) = &content.limits {
        machine::write_limits(text, limits)?;
    }
    tables::write_engines(text, records)?;
    goals::write_goals(text, records, content.limits.as_ref())?;
    tables::write_tables(text, records)?;
    if !content.failures.is_empty() {
        writeln!(text, "\n## Runs that failed\n")?;
    }
    content.failures.iter().try_for_each(|what| writeln!(text, "- {what}"))
}
