//! Axes: where a value lies, which values have ticks, and how they are written.

/// How values lie along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from 0.
    Linear,
    /// Each decade as long as any other.
    Log,
    /// The same, with a tick at every value: steps of what grows.
    Steps,
    /// Quantiles: each nine as long as any other, and the greatest value behind the last of them.
    Nines,
}

/// Place of the greatest value: behind the fourth nine.
const GREATEST: f64 = 4.6;
/// Quantiles with a tick.
const QUANTILES: [(f64, &str); 7] = [
    (0.0, "min"),
    (0.5, "50%"),
    (0.9, "90%"),
    (0.99, "99%"),
    (0.999, "99.9%"),
    (0.999_9, "99.99%"),
    (1.0, "max"),
];

/// One axis of a plot.
pub struct Axis {
    /// What it shows, and the unit.
    pub label: &'static str,
    pub scale: Scale,
    /// The places of its ends.
    pub ends: (f64, f64),
    /// Ticks: their places and what is written there.
    pub ticks: Vec<(f64, String)>,
}

impl Scale {
    /// Where a value lies; none where the axis has no place for it.
    pub fn place(self, value: f64) -> Option<f64> {
        match self {
            Scale::Linear => Some(value),
            Scale::Log | Scale::Steps => (value > 0.0).then(|| value.log10()),
            Scale::Nines if value < 1.0 => Some(-(1.0 - value).log10()),
            Scale::Nines => Some(GREATEST),
        }
    }
}

impl Axis {
    /// An axis that has room for these values.
    pub fn around(label: &'static str, scale: Scale, values: impl Iterator<Item = f64>) -> Axis {
        let places = values.filter_map(|value| scale.place(value));
        let mut places: Vec<f64> = places.collect();
        places.sort_unstable_by(f64::total_cmp);
        places.dedup();
        let (least, most) = match (places.first(), places.last()) {
            (Some(least), Some(most)) => (*least, *most),
            _ => (0.0, 1.0),
        };
        let (ends, ticks) = match scale {
            Scale::Linear => linear(most),
            Scale::Log => log(least, most),
            Scale::Steps => {
                let tick = |place: &f64| (*place, short(10_f64.powf(*place)));
                (log(least, most).0, places.iter().map(tick).collect())
            }
            Scale::Nines => {
                let tick = |(value, text): (f64, &str)| Some((scale.place(value)?, text.into()));
                ((0.0, GREATEST), QUANTILES.into_iter().filter_map(tick).collect())
            }
        };
        Axis { label, scale, ends, ticks }
    }

    /// What is written at a place.
    pub fn text(&self, place: f64) -> String {
        let tick = self.ticks.iter().find(|tick| (tick.0 - place).abs() < 1e-9);
        tick.map(|tick| tick.1.clone()).unwrap_or_default()
    }
}

/// From 0 to a round number above the greatest value, in four to ten steps.
fn linear(most: f64) -> ((f64, f64), Vec<(f64, String)>) {
    let most = if most > 0.0 { most } else { 1.0 };
    let decade = 10_f64.powf((most / 4.0).log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * decade);
    let step = steps.into_iter().find(|step| most / step <= 8.0).unwrap_or(steps[4]);
    let mut ticks = vec![0.0];
    while ticks.last().is_some_and(|last| *last < most) {
        ticks.push(step * ticks.len() as f64);
    }
    let end = ticks.last().copied().unwrap_or(most);
    ((0.0, end), ticks.into_iter().map(|value| (value, short(value))).collect())
}

/// A little more than the values, with ticks at the decades, and between them where they are few.
fn log(least: f64, most: f64) -> ((f64, f64), Vec<(f64, String)>) {
    let margin = ((most - least) * 0.05).max(0.05);
    let ends = (least - margin, most + margin);
    let between: &[f64] = match ends.1 - ends.0 {
        span if span < 1.6 => &[1.0, 2.0, 5.0],
        span if span < 3.0 => &[1.0, 3.0],
        _ => &[1.0],
    };
    let mut ticks = Vec::new();
    let mut decade = ends.0.floor();
    while decade <= ends.1 {
        for part in between {
            let place = decade + part.log10();
            if (ends.0..=ends.1).contains(&place) {
                ticks.push((place, short(part * 10_f64.powf(decade))));
            }
        }
        decade += 1.0;
    }
    (ends, ticks)
}

/// A number as it stands at a tick.
fn short(value: f64) -> String {
    for (unit, letter) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if value >= unit * 0.999_999 {
            return format!("{}{letter}", rounded(value / unit));
        }
    }
    rounded(value)
}

fn rounded(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.1.as_str()).collect()
    }

    #[test]
    fn a_linear_axis_goes_from_0_to_a_round_number() {
        let axis = Axis::around("", Scale::Linear, [3.0, 734_000.0].into_iter());
        assert_eq!(
            texts(&axis),
            ["0", "100k", "200k", "300k", "400k", "500k", "600k", "700k", "800k"]
        );
        assert_eq!(axis.ends, (0.0, 800_000.0));
    }

    #[test]
    fn a_log_axis_has_its_decades() {
        let axis = Axis::around("", Scale::Log, [1.5, 0.0, 90_000.0].into_iter());
        assert_eq!(texts(&axis), ["1", "10", "100", "1k", "10k", "100k"]);
        let narrow = Axis::around("", Scale::Log, [1.0, 16.0].into_iter());
        assert_eq!(texts(&narrow), ["1", "2", "5", "10"]);
        assert_eq!(narrow.text(1.0), "10");
        let steps = Axis::around("", Scale::Steps, [16.0, 1.0, 4.0, 4.0].into_iter());
        assert_eq!(texts(&steps), ["1", "4", "16"]);
    }

    #[test]
    fn every_nine_is_as_long_as_another() {
        let place = |value| Scale::Nines.place(value).expect("it has a place");
        assert!((place(0.99) - 2.0 * place(0.9)).abs() < 1e-9);
        assert!(place(1.0) > place(0.999_9));
    }
}
