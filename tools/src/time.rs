//! Times as people write them, and how long things take.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};
use std::time::{Duration, Instant};

/// Milliseconds since 1970 of `YYYY-MM-DDTHH:MM` or `YYYY-MM-DDTHH:MM:SS`, in UTC.
pub(crate) fn parse_minute_or_second(text: &str) -> Option<i64> {
    let digits = |place: usize| text.as_bytes().get(place).is_some_and(u8::is_ascii_digit);
    let shape = "0000-00-00T00:00:00".get(..text.len())?;
    let fits = shape.char_indices().all(|(place, character)| match character {
        '0' => digits(place),
        other => text[place..].starts_with(other),
    });
    if !fits || !(text.len() == 16 || text.len() == 19) {
        return None;
    }
    let time: DateTime = text.parse().ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

/// `2004-11-15T12:18:00.000Z`, or the bare number where no calendar reaches.
pub(crate) fn format_ms(time_ms: i64) -> String {
    match Timestamp::from_millisecond(time_ms) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => format!("{time_ms} ms"),
    }
}

/// As [`format_ms`], for the engine's own times.
pub(crate) fn format_commit_ms(time_ms: u64) -> String {
    i64::try_from(time_ms).map_or_else(|_| format!("{time_ms} ms"), format_ms)
}

/// Measures how long a command works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch {
    started: Instant,
}

impl Stopwatch {
    /// Begins now.
    #[expect(clippy::disallowed_methods, reason = "a tool may look at the clock to report seconds")]
    pub(crate) fn start() -> Stopwatch {
        Stopwatch { started: Instant::now() }
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Seconds since the start, never zero, so that a rate can be had of them.
    pub(crate) fn seconds(&self) -> f64 {
        self.elapsed().as_secs_f64().max(1e-9)
    }
}

/// Start of the UTC day that a demonstration plays.
pub(crate) fn day_start_ms(day: &str) -> Option<i64> {
    let timestamp: Timestamp = format!("{day}T00:00:00Z").parse().ok()?;
    timestamp.round(Unit::Millisecond).ok().map(|time| time.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_are_read_strictly() {
        assert_eq!(parse_minute_or_second("1970-01-01T00:01"), Some(60_000));
        assert_eq!(parse_minute_or_second("2004-11-15T12:18:30"), Some(1_100_521_110_000));
        for bad in ["", "2004-11-15", "2004-11-15T12:1", "2004-13-15T12:18", "2004-11-15 12:18"] {
            assert_eq!(parse_minute_or_second(bad), None, "{bad}");
        }
        for bad in ["2004-11-15T12:18:3é", "2004-11-15T12:18Z00", "2004-11-15T24:18"] {
            assert_eq!(parse_minute_or_second(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(format_ms(1_100_521_110_007), "2004-11-15T12:18:30.007Z");
        assert_eq!(format_ms(i64::MAX), format!("{} ms", i64::MAX));
        assert_eq!(format_commit_ms(0), "1970-01-01T00:00:00.000Z");
    }
}
