//! The whole real log, in and out again: every channel, every inbox, every entry.

use super::{Bench, real_data};
use flate2::read::MultiGzDecoder;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use tidelog::TimelineId;
use tidelog_engine::{Direction, Engine, Options, ReadMode, Snapshot, TableId};

/// What the source says: the texts of all rows, and which rows each timeline must hold.
#[derive(Default)]
struct Expected {
    texts: Vec<String>,
    times: Vec<String>,
    channels: BTreeMap<String, Vec<usize>>,
    inboxes: BTreeMap<String, Vec<usize>>,
}

impl Expected {
    fn read(source: impl BufRead) -> Expected {
        let mut expected = Expected::default();
        let mut spoken: HashMap<String, Vec<String>> = HashMap::new();
        for (row, line) in source.lines().enumerate() {
            let line = line.unwrap();
            let columns: Vec<&str> = line.split('\t').collect();
            let [time, channel, nick, text, log] = columns[..] else { panic!("row {row}") };
            expected.texts.push(format!("{nick}\t{text}"));
            expected.times.push(time.to_owned());
            expected.channels.entry(channel.to_owned()).or_default().push(row);
            let heard = spoken.entry(log.to_owned()).or_default();
            if !heard.iter().any(|other| other == nick) {
                heard.push(nick.to_owned());
            }
            for nick in heard.iter() {
                expected.inboxes.entry(nick.clone()).or_default().push(row);
            }
        }
        expected
    }

    /// Scans one timeline and compares every entry: dense seqs, order, text, and the origin.
    fn check(&self, snapshot: &Snapshot, table: TableId, name: &str, rows: &[usize], inbox: bool) {
        let id = TimelineId::new(name).unwrap();
        let scan = snapshot.scan(table, id.as_bytes(), 0, u64::MAX, Direction::Forward).unwrap();
        let mut count = 0;
        for entry in scan {
            let entry = entry.unwrap();
            let row = rows[count];
            count += 1;
            assert_eq!(entry.seq, count as u64, "{name}: the seqs are dense");
            assert_eq!(&entry.payload[..], self.texts[row].as_bytes(), "{name}: row {row}");
            assert_eq!(entry.origin.is_some(), inbox, "{name}: an inbox entry names its origin");
            assert!(entry.event_ms.is_some(), "{name}: the row's time {}", self.times[row]);
        }
        assert_eq!(count, rows.len(), "{name}: all rows are there");
        assert_eq!(snapshot.len(table, id.as_bytes()).unwrap(), rows.len() as u64);
    }
}

#[test]
fn the_whole_irc_log_comes_out_as_it_went_in() {
    let Some(data) = real_data() else {
        println!("SKIPPED: set TIDELOG_DATA to the folder of real chats");
        return;
    };
    let source = data.join("chat-irc/irc.tsv.gz");
    let file = BufReader::new(std::fs::File::open(&source).unwrap());
    let expected = Expected::read(BufReader::new(MultiGzDecoder::new(file)));
    assert_eq!(expected.texts.len(), 235_572);
    let deliveries: usize = expected.inboxes.values().map(Vec::len).sum();
    assert_eq!(deliveries, 17_205_176);
    let bench = Bench::new();
    let path = bench.path("irc.tide");
    // The usual ring: with a tiny one this much data would be flushed ten thousand times.
    let options = "--format irc-tsv --fan-out --json --ring-bytes 134217728";
    let import = format!("import irc.tide {} {options}", source.display());
    let summary = bench.json(&import);
    assert_eq!(summary[0]["rows"], 235_572);
    assert_eq!(summary[0]["deliveries"], 17_205_176);
    bench.good("verify irc.tide");
    for read_mode in [ReadMode::Map, ReadMode::Read] {
        let options = Options { read_only: true, create: false, read_mode, ..Options::default() };
        let engine = Engine::open(&path, options).unwrap();
        let [message, sync] = ["message", "sync"].map(|name| engine.table(name).unwrap().id);
        let snapshot = engine.snapshot();
        for (channel, rows) in &expected.channels {
            expected.check(&snapshot, message, channel, rows, false);
        }
        if read_mode == ReadMode::Read {
            for (nick, rows) in &expected.inboxes {
                expected.check(&snapshot, sync, nick, rows, true);
            }
        }
        let listed = snapshot.timelines(sync, b"", None).unwrap().count();
        assert_eq!(listed, expected.inboxes.len());
    }
}
