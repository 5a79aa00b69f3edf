//! Figures as they stand in tables.

use crate::record::Record;

/// The median of what the runs have; of two in the middle their mean.
pub fn median(runs: &[&Record], value: impl Fn(&Record) -> Option<f64>) -> Option<f64> {
    let mut values: Vec<f64> = runs.iter().filter_map(|run| value(run)).collect();
    values.sort_unstable_by(f64::total_cmp);
    let upper = values.len() / 2;
    let lower = values.len().checked_sub(1)? / 2;
    Some((values[lower] + values[upper]) / 2.0)
}

/// Three significant digits, thousands set off.
pub fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 100.0 {
        let digits = match value.abs() {
            small if small < 1.0 => 3,
            small if small < 10.0 => 2,
            _ => 1,
        };
        return format!("{value:.digits$}");
    }
    let whole = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The same; a figure that was not measured is a hyphen.
pub fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}

/// Bytes in MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(number(0.0), "0");
        assert_eq!(number(0.0712), "0.071");
        assert_eq!(number(3.268), "3.27");
        assert_eq!(number(82.61), "82.6");
        assert_eq!(number(443_069.4), "443,069");
        assert_eq!(number(1_000.0), "1,000");
    }

    #[test]
    fn medians_leave_out_what_is_missing() {
        assert_eq!(median(&[], |_| Some(1.0)), None);
        let rates = [3.0, 1.0, 2.0, 9.0].map(|rate| Record { rate, ..Record::default() });
        let runs: Vec<&Record> = rates.iter().collect();
        assert_eq!(median(&runs[..3], |run| Some(run.rate)), Some(2.0));
        assert_eq!(median(&runs, |run| Some(run.rate)), Some(2.5));
        assert_eq!(median(&runs, |run| (run.rate > 5.0).then_some(run.rate)), Some(9.0));
    }
}
