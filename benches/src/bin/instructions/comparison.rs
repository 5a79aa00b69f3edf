//! What rose and what fell. Pure, so that a planted rise can be tested.

use std::collections::BTreeMap;

/// Instructions an element, by the names of the cases.
pub(crate) type Counts = BTreeMap<String, f64>;

/// More than this part of the baseline is a rise or a fall.
const TOLERANCE: f64 = 0.05;

/// A case, before and now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    /// The case.
    pub(crate) name: String,
    recorded: Option<f64>,
    counted: Option<f64>,
}

/// Every case of either side.
pub(crate) fn changes(recorded: &Counts, counted: &Counts) -> Vec<Change> {
    let mut names: Vec<&String> = recorded.keys().chain(counted.keys()).collect();
    names.sort();
    names.dedup();
    let change = |name: &String| Change {
        name: name.clone(),
        recorded: recorded.get(name).copied(),
        counted: counted.get(name).copied(),
    };
    names.into_iter().map(change).collect()
}

impl Change {
    /// What it is now, in relation to the baseline.
    fn ratio(&self) -> Option<f64> {
        Some(self.counted? / self.recorded?)
    }

    /// More instructions than the tolerance allows.
    pub(crate) fn is_rise(&self) -> bool {
        self.ratio().is_some_and(|ratio| ratio > 1.0 + TOLERANCE)
    }

    /// A rise, or a case that only one side has.
    pub(crate) fn is_failure(&self) -> bool {
        self.ratio().is_none() || self.is_rise()
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = &self.name;
        match (self.recorded, self.counted) {
            (Some(recorded), Some(counted)) => {
                let percent = (counted / recorded - 1.0) * 100.0;
                let note = match percent / 100.0 {
                    change if change > TOLERANCE => "  ROSE",
                    change if change < -TOLERANCE => "  fell: record it",
                    _ => "",
                };
                write!(f, "{name:45} {recorded:10.1} -> {counted:10.1}  {percent:+6.1}%{note}")
            }
            (None, Some(counted)) => write!(f, "{name:45} {counted:10.1}  NOT RECORDED"),
            (_, None) => write!(f, "{name:45} THERE IS NO SUCH CASE ANY MORE"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(recorded: f64, counted: f64) -> Change {
        let of = |count| Counts::from([("block/decode".to_owned(), count)]);
        changes(&of(recorded), &of(counted)).remove(0)
    }

    #[test]
    fn a_planted_rise_fails_and_names_the_case_and_both_counts() {
        let risen = one(200.0, 210.2);
        assert!(risen.is_failure() && risen.is_rise());
        let text = risen.to_string();
        for part in ["block/decode", "200.0", "210.2", "+5.1%", "ROSE"] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }

    #[test]
    fn what_is_within_the_tolerance_is_good_and_a_fall_is_told() {
        assert!(!one(200.0, 209.8).is_failure());
        assert!(!one(200.0, 191.0).to_string().contains("fell"));
        let fallen = one(200.0, 180.0);
        assert!(!fallen.is_failure());
        assert!(fallen.to_string().contains("fell: record it"));
    }

    #[test]
    fn a_case_that_only_one_side_has_fails() {
        let counts = Counts::from([("new".to_owned(), 1.0)]);
        assert!(changes(&Counts::new(), &counts)[0].is_failure());
        assert!(changes(&counts, &Counts::new())[0].is_failure());
        assert!(!changes(&Counts::new(), &counts)[0].is_rise(), "a new case needs no reason");
    }
}
