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

/// A number of bytes, whole or with a unit: `1048576`, `64KiB`, `16MiB`, `1GiB`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)];
    let bytes = UNITS.into_iter().find_map(|(unit, factor)| {
        let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        number.checked_mul(factor)
    });
    bytes.ok_or_else(|| format!("{text:?} is not a number of bytes, as in 4194304 or 4MiB"))
}

/// A timeline in the notation of the command line.
pub(super) fn timeline(text: &str) -> Result<TimelineId, String> {
    text.parse().map_err(|error: tidelog::Error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units() {
        let good =
            [("0", 0), ("1024", 1024), ("64KiB", 65_536), ("3 MiB", 3 << 20), ("2GiB", 2 << 30)];
        for (text, expected) in good {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for bad in ["", "KiB", "-1", "1.5MiB", "1KB", "1kib", "18446744073709551615GiB", "1TiB"] {
            assert!(bytes(bad).unwrap_err().contains("bytes"), "{bad}");
        }
    }

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
