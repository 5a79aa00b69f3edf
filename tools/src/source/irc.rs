//! IRC logs as tab-separated text: time, channel, nick, text, source log file.
//!
//! One timeline a channel, named by the channel's text; the payload is nick, tab, text; the
//! event time is the row's time, taken as UTC.

use super::Row;
use crate::time::parse_minute_or_second;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use tidelog::TimelineId;

/// A row of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IrcLine<'a> {
    pub(crate) event_ms: i64,
    pub(crate) channel: &'a str,
    pub(crate) nick: &'a str,
    pub(crate) text: &'a str,
    pub(crate) log: &'a str,
}

/// Takes a line apart. The error says what is wrong with it.
pub(crate) fn parse(line: &[u8]) -> Result<IrcLine<'_>, String> {
    let line = std::str::from_utf8(line).map_err(|error| format!("not UTF-8: {error}"))?;
    let columns: Vec<&str> = line.split('\t').collect();
    let [time, channel, nick, text, log] = columns[..] else {
        return Err(format!("{} columns separated by tabs, not 5", columns.len()));
    };
    let event_ms = parse_minute_or_second(time)
        .ok_or_else(|| format!("the time {time:?} is not YYYY-MM-DDTHH:MM[:SS]"))?;
    for (name, value) in [("channel", channel), ("nick", nick), ("log", log)] {
        if value.is_empty() {
            return Err(format!("the {name} is empty"));
        }
    }
    Ok(IrcLine { event_ms, channel, nick, text, log })
}

impl IrcLine<'_> {
    /// The entry of the channel's timeline.
    pub(crate) fn row(&self) -> Result<Row, String> {
        Ok(Row {
            timeline: encoded(self.channel)?.to_vec(),
            seq: None,
            event_ms: Some(self.event_ms),
            payload: format!("{}\t{}", self.nick, self.text).into_bytes(),
        })
    }
}

fn encoded(name: &str) -> Result<Rc<[u8]>, String> {
    let id = TimelineId::new(name).map_err(|error| format!("{name:?}: {error}"))?;
    Ok(Rc::from(id.as_bytes()))
}

/// Who has spoken so far in each log: those who get a message of that log into their inboxes.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    nicks: BTreeMap<String, Rc<[u8]>>,
    logs: BTreeMap<String, Log>,
}

#[derive(Debug, Default)]
struct Log {
    spoken: BTreeSet<Rc<[u8]>>,
    /// In the order of their first words.
    inboxes: Vec<Rc<[u8]>>,
}

impl Audience {
    /// The inboxes that the message is delivered to, the speaker's included.
    pub(crate) fn hear(&mut self, line: &IrcLine<'_>) -> Result<&[Rc<[u8]>], String> {
        let inbox = match self.nicks.get(line.nick) {
            Some(inbox) => Rc::clone(inbox),
            None => {
                let inbox = encoded(line.nick)?;
                self.nicks.insert(line.nick.to_owned(), Rc::clone(&inbox));
                inbox
            }
        };
        if !self.logs.contains_key(line.log) {
            self.logs.insert(line.log.to_owned(), Log::default());
        }
        let log = self.logs.get_mut(line.log).expect("it was put there just now");
        if log.spoken.insert(Rc::clone(&inbox)) {
            log.inboxes.push(inbox);
        }
        Ok(&log.inboxes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_five_columns() {
        let line = parse(b"2004-11-15T12:18\t#ubuntu\tbob\thi  :)\tlog1").unwrap();
        assert_eq!((line.channel, line.nick, line.log), ("#ubuntu", "bob", "log1"));
        let row = line.row().unwrap();
        assert_eq!(row.payload, b"bob\thi  :)");
        assert_eq!(TimelineId::from_encoded(&row.timeline).unwrap().to_string(), "#ubuntu");
        assert!(parse(b"2004-11-15T12:18\t#ubuntu\tbob\t\tlog1").is_ok(), "a text may be empty");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |line: &[u8], expected: &str| {
            let error = parse(line).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(b"", "1 columns");
        check(b"2004-11-15T12:18\t#u\tbob\ta\tb\tlog1", "6 columns");
        check(b"yesterday\t#u\tbob\thi\tlog1", "yesterday");
        check(b"2004-11-15T12:18\t#u\t\thi\tlog1", "nick is empty");
        check(b"2004-11-15T12:18\t#u\tb\xFF\thi\tlog1", "not UTF-8");
    }

    #[test]
    fn a_message_reaches_everyone_who_spoke_before_in_its_log() {
        let mut audience = Audience::default();
        let mut hear = |nick: &str, log: &str| {
            let text = format!("2004-11-15T12:18\t#u\t{nick}\thi\t{log}");
            audience.hear(&parse(text.as_bytes()).unwrap()).unwrap().len()
        };
        assert_eq!([hear("a", "1"), hear("b", "1"), hear("a", "1")], [1, 2, 2]);
        assert_eq!([hear("a", "2"), hear("c", "2"), hear("c", "1")], [1, 2, 3]);
    }
}
