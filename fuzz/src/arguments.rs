//! The command line: `NAME [--seed N] [--events N]`, `list`, `smoke [--seed N]`.

/// What the user asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The names.
    List,
    /// All fuzzers, briefly.
    Smoke {
        /// Where the seeds begin.
        seed: Option<u64>,
    },
    /// One fuzzer.
    Run {
        /// Its name.
        name: String,
        /// Where the seeds begin.
        seed: Option<u64>,
        /// How many events.
        events: Option<u64>,
    },
}

/// How the program is used.
pub const USAGE: &str = "usage: tidelog-fuzz NAME [--seed N] [--events N]
       tidelog-fuzz list
       tidelog-fuzz smoke [--seed N]";

/// Reads the arguments behind the program's name.
///
/// # Errors
/// What cannot be understood.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Request, String> {
    let mut arguments = arguments.into_iter();
    let name = arguments.next().ok_or("a name is missing")?;
    let (mut seed, mut events) = (None, None);
    while let Some(option) = arguments.next() {
        let value = match option.as_str() {
            "--seed" => &mut seed,
            "--events" => &mut events,
            _ => return Err(format!("unknown option {option}")),
        };
        let text = arguments.next().ok_or(format!("{option} needs a number"))?;
        let number = text.parse().map_err(|_| format!("{option} needs a number, not {text}"))?;
        *value = Some(number);
    }
    match name.as_str() {
        "list" if seed.or(events).is_none() => Ok(Request::List),
        "smoke" if events.is_none() => Ok(Request::Smoke { seed }),
        "list" | "smoke" => Err(format!("{name} does not take these options")),
        _ => Ok(Request::Run { name, seed, events }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn requests_are_read() {
        assert_eq!(parsed("list"), Ok(Request::List));
        assert_eq!(parsed("smoke --seed 4"), Ok(Request::Smoke { seed: Some(4) }));
        let name = "wal".to_owned();
        assert_eq!(
            parsed("wal --events 3 --seed 9"),
            Ok(Request::Run { name, seed: Some(9), events: Some(3) })
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["", "wal --seed", "wal --seed x", "wal 5", "smoke --events 3", "list --seed 1"]
        {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
