//! Values of arguments.

use std::time::Duration;
use tidelog::TimelineId;
use tidelog_engine::Durability;

/// `sync`, `interval:MS` or `buffered`.
pub(super) fn durability(text: &str) -> Result<Durability, String> {
    match text.split_once(':') {
        None if text == "sync" => Ok(Durability::Sync),
        None if text == "buffered" => Ok(Durability::Buffered),
        Some(("interval", ms)) => {
            let ms: u64 =
                ms.parse().map_err(|_| format!("{ms:?} is not a number of milliseconds"))?;
            Ok(Durability::Interval(Duration::from_millis(ms)))
        }
        _ => Err(format!("{text:?} is not sync, interval:MS or buffered")),
    }
}

/// The name of a durability, as [`durability`] reads it.
pub(super) fn durability_name(durability: Durability) -> String {
    match durability {
        Durability::Sync => "sync".to_owned(),
        Durability::Interval(time) => format!("interval:{}", time.as_millis()),
        Durability::Buffered => "buffered".to_owned(),
    }
}

/// A timeline in the notation of the command line.
pub(super) fn timeline(text: &str) -> Result<TimelineId, String> {
    text.parse().map_err(|error: tidelog::Error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durabilities_are_read_and_named() {
        for text in ["sync", "interval:250", "buffered"] {
            assert_eq!(durability_name(durability(text).unwrap()), text);
        }
        for bad in ["", "fast", "interval", "interval:", "interval:-1", "sync:1"] {
            assert!(durability(bad).is_err(), "{bad}");
        }
    }
}
