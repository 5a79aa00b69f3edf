//! The real chats: rows of IRC channels, as `data/chat-irc/irc.tsv.gz` has them.

use crate::Result;
use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The messages of all channels.
pub(crate) struct Chats {
    /// Channel by channel: the payloads of its messages, nick and text.
    pub(crate) channels: BTreeMap<String, Vec<String>>,
    /// The payloads in the order of the file, a line each: what a text file would hold.
    pub(crate) text: String,
}

/// The folder of real data, if it is there: the given one, else `../shared/data` beside the
/// repository.
pub(crate) fn folder(given: Option<&Path>) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = given.map_or(beside, Path::to_owned);
    folder.join("chat-irc/irc.tsv.gz").is_file().then_some(folder)
}

impl Chats {
    /// Reads at most so many messages.
    pub(crate) fn read(folder: &Path, messages_max: usize) -> Result<Chats> {
        let file = File::open(folder.join("chat-irc/irc.tsv.gz"))?;
        let mut table = String::new();
        GzDecoder::new(file).read_to_string(&mut table)?;
        Chats::parse(&table, messages_max)
    }

    fn parse(table: &str, messages_max: usize) -> Result<Chats> {
        let mut chats = Chats { channels: BTreeMap::new(), text: String::new() };
        for line in table.lines().take(messages_max) {
            let columns: Vec<&str> = line.split('\t').collect();
            let [_, channel, nick, text, _] = columns[..] else {
                return Err(format!("a row of {} columns, not 5: {line}", columns.len()).into());
            };
            let payload = format!("{nick}\t{text}");
            chats.text.push_str(&payload);
            chats.text.push('\n');
            chats.channels.entry(channel.to_owned()).or_default().push(payload);
        }
        Ok(chats)
    }

    /// Messages of all channels.
    pub(crate) fn count(&self) -> u64 {
        self.channels.values().map(|messages| messages.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_the_messages_of_their_channels() {
        let table = "2004\t#a\tbob\thi\tlog\n2004\t#b\teve\t\tlog\n2005\t#a\teve\tyo  u\tlog\n";
        let chats = Chats::parse(table, 10).unwrap();
        assert_eq!(chats.channels["#a"], ["bob\thi", "eve\tyo  u"]);
        assert_eq!(chats.channels["#b"], ["eve\t"]);
        assert_eq!(chats.text, "bob\thi\neve\t\neve\tyo  u\n");
        assert_eq!((chats.count(), Chats::parse(table, 2).unwrap().count()), (3, 2));
        assert!(Chats::parse("2004\t#a\tbob\n", 1).is_err());
    }
}
