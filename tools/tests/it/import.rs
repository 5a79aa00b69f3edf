use super::{Bench, entries, real_data};
use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};

const LOG: &str = "\
2004-11-15T12:18\t#ubuntu\tbob\thello\tlog1
2004-11-15T12:18\t#ubuntu\tann\thi bob\tlog1
2004-11-15T12:19:30\t#rust\tann\tanyone?\tlog2
2004-11-15T12:20\t#ubuntu\tbob\tbye\tlog1
";

#[test]
fn an_irc_log_becomes_one_timeline_a_channel() {
    let bench = Bench::new();
    bench.write("log.tsv", LOG.as_bytes());
    let summary = bench.json("import a.tide log.tsv --format irc-tsv --json");
    assert_eq!((&summary[0]["rows"], &summary[0]["deliveries"]), (&4.into(), &0.into()));
    let found = bench.json("scan a.tide --table message --timeline #ubuntu --json");
    let expected = [(1, "bob\thello"), (2, "ann\thi bob"), (3, "bob\tbye")];
    assert_eq!(entries(&found), expected.map(|(seq, text)| (seq, text.to_owned())));
    assert_eq!(found[0]["event_ms"], 1_100_521_080_000_i64);
    let found = bench.json("scan a.tide --table message --timeline #rust --json");
    assert_eq!(found[0]["event_ms"], 1_100_521_170_000_i64);
}

#[test]
fn fan_out_reaches_everyone_who_has_spoken() {
    let bench = Bench::new();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(LOG.as_bytes()).unwrap();
    bench.write("log.tsv.gz", &encoder.finish().unwrap());
    let summary = bench.json("import a.tide log.tsv.gz --format irc-tsv --fan-out --json");
    assert_eq!((&summary[0]["rows"], &summary[0]["deliveries"]), (&4.into(), &6.into()));
    let inbox = bench.json("scan a.tide --table sync --timeline ann --json");
    let expected = [(1, "ann\thi bob"), (2, "ann\tanyone?"), (3, "bob\tbye")];
    assert_eq!(entries(&inbox), expected.map(|(seq, text)| (seq, text.to_owned())));
    assert_eq!(inbox[2]["origin"]["timeline"], "#ubuntu");
    assert_eq!(
        (&inbox[2]["origin"]["table"], &inbox[2]["origin"]["seq"]),
        (&"message".into(), &3.into())
    );
    bench.good("verify a.tide");
}

#[test]
fn a_table_that_has_entries_is_left_alone() {
    let bench = Bench::new();
    bench.write("log.tsv", LOG.as_bytes());
    bench.good("import a.tide log.tsv --format irc-tsv");
    let complaint = bench.bad("import a.tide log.tsv --format irc-tsv", 2);
    assert!(complaint.contains("--append"), "{complaint}");
    bench.good("import a.tide log.tsv --format irc-tsv --append");
    assert_eq!(bench.json("scan a.tide --table message --timeline #ubuntu --json").len(), 6);
}

#[test]
fn a_malformed_line_is_named_and_what_came_before_is_kept() {
    let bench = Bench::new();
    bench.write("log.tsv", format!("{LOG}nonsense\n{LOG}").as_bytes());
    let complaint = bench.bad("import a.tide log.tsv --format irc-tsv", 2);
    assert!(complaint.contains("log.tsv:5"), "{complaint}");
    assert!(complaint.contains("the 4 rows before it are stored"), "{complaint}");
    assert_eq!(bench.json("scan a.tide --table message --timeline #ubuntu --json").len(), 3);
    bench.bad("import b.tide missing.tsv --format irc-tsv", 3);
    assert!(!bench.path("b.tide").exists());
}

#[test]
fn json_lines_may_give_times_and_ids() {
    let bench = Bench::new();
    let lines = concat!(
        r#"{"timeline":"t:group,i:1","time_ms":7,"payload":"a"}"#,
        "\n",
        r#"{"timeline":"t:group,i:1","payload_base64":"/w=="}"#,
        "\n"
    );
    bench.write("lines", lines.as_bytes());
    bench.good("import a.tide lines --format jsonl");
    let found = bench.json("scan a.tide --table message --timeline t:group,i:1 --json");
    assert_eq!((&found[0]["event_ms"], &found[1]["payload_base64"]), (&7.into(), &"/w==".into()));

    let given = concat!(
        r#"{"timeline":"a","id":10,"payload":"x"}"#,
        "\n",
        r#"{"timeline":"a","id":20,"payload":"y"}"#,
        "\n"
    );
    bench.write("given", given.as_bytes());
    bench.good("import a.tide given --format jsonl --table given");
    let found = entries(&bench.json("scan a.tide --table given --timeline a --json"));
    assert_eq!(found, [(10, "x".to_owned()), (20, "y".to_owned())]);
    let complaint = bench.bad("import a.tide given --format jsonl --table given --append", 2);
    assert!(complaint.contains("precondition") || complaint.contains("seq"), "{complaint}");
    bench.write("mixed", format!("{given}{lines}").as_bytes());
    assert!(bench.bad("import b.tide mixed --format jsonl", 2).contains("mixed:3"));
}

/// The first rows of the real log; what is delivered is reckoned here in another way.
#[test]
fn real_chats_are_delivered_whole() {
    const ROWS: usize = 20_000;
    let Some(data) = real_data() else {
        println!("SKIPPED: set TIDELOG_DATA to the folder of real chats");
        return;
    };
    let file = std::fs::File::open(data.join("chat-irc/irc.tsv.gz")).unwrap();
    let lines = BufReader::new(MultiGzDecoder::new(BufReader::new(file))).lines();
    let bench = Bench::new();
    let mut source = String::new();
    let mut spoken: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut inboxes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines.take(ROWS) {
        let line = line.unwrap();
        let columns: Vec<&str> = line.split('\t').collect();
        let heard = spoken.entry(columns[4].to_owned()).or_default();
        heard.insert(columns[2].to_owned());
        for nick in heard.iter() {
            let text = format!("{}\t{}", columns[2], columns[3]);
            inboxes.entry(nick.clone()).or_default().push(text);
        }
        source.push_str(&line);
        source.push('\n');
    }
    bench.write("irc.tsv", source.as_bytes());
    let summary = bench.json("import a.tide irc.tsv --format irc-tsv --fan-out --json");
    assert_eq!(summary[0]["rows"], ROWS);
    assert_eq!(summary[0]["deliveries"], inboxes.values().map(Vec::len).sum::<usize>());
    let listed = bench.json("timelines a.tide --table sync --json");
    assert_eq!(listed.len(), inboxes.len());
    let mut liveliest: Vec<_> = inboxes.iter().collect();
    liveliest.sort_by_key(|(_, texts)| std::cmp::Reverse(texts.len()));
    for (nick, texts) in liveliest.iter().take(20) {
        let prefix = if nick.contains(':') { "s:" } else { "" };
        let scan = format!("scan a.tide --table sync --timeline {prefix}{nick} --json");
        let found = entries(&bench.json(&scan));
        let expected: Vec<(u64, String)> = (1..).zip(texts.iter().cloned()).collect();
        assert!(found == expected, "the inbox of {nick} is not what was said");
    }
    bench.good("verify a.tide");
}
