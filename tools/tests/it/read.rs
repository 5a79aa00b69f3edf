use super::{Bench, entries};
use std::io::{BufRead, BufReader, Write};
use std::time::Duration;
use tidelog_engine::{Durability, Engine, Options, TableOptions, WriteBatch};

fn seqs(bench: &Bench, arguments: &str) -> Vec<u64> {
    let scan = format!("scan a.tide --table t --timeline a --json {arguments}");
    entries(&bench.json(&scan)).into_iter().map(|(seq, _)| seq).collect()
}

#[test]
fn bounds_are_inclusive_and_reverse_only_turns_the_order() {
    let bench = Bench::new();
    bench.good_with("append a.tide --table t --timeline a", b"1\n2\n3\n4\n5\n");
    assert_eq!(seqs(&bench, ""), [1, 2, 3, 4, 5]);
    assert_eq!(seqs(&bench, "--from 2 --to 4"), [2, 3, 4]);
    assert_eq!(seqs(&bench, "--from 2 --to 4 --reverse"), [4, 3, 2]);
    assert_eq!(seqs(&bench, "--reverse --limit 2"), [5, 4]);
    assert_eq!(seqs(&bench, "--from 5 --limit 2"), [5]);
    assert_eq!(seqs(&bench, "--from 6"), [0; 0]);
    bench.bad("scan a.tide --table t --timeline a --from 4 --to 2", 2);
}

#[test]
fn a_timeline_never_written_is_empty_and_a_table_never_made_is_wrong_use() {
    let bench = Bench::new();
    bench.good_with("append a.tide --table t --timeline a", b"1\n");
    assert_eq!(bench.good("scan a.tide --table t --timeline b"), "");
    assert!(bench.bad("scan a.tide --table u --timeline a", 2).contains("there are: t"));
    for command in ["scan b.tide --table t --timeline a", "info b.tide", "verify b.tide"] {
        let run = bench.run(command);
        assert!(matches!(run.code, Some(2 | 3)), "{command}: {run:?}");
    }
    assert!(!bench.path("b.tide").exists(), "reading must not create");
}

#[test]
fn timelines_are_listed_in_the_order_of_their_ids() {
    let bench = Bench::new();
    for id in ["i:42", "i:-7", "zoe", "t:group,i:1", "ann"] {
        bench.good_with(&format!("append a.tide --table t --timeline {id}"), b"x\ny\n");
    }
    let listed = bench.json("timelines a.tide --table t --json");
    let names: Vec<&str> = listed.iter().map(|it| it["timeline"].as_str().unwrap()).collect();
    assert_eq!(names, ["ann", "t:group,i:1", "zoe", "i:-7", "i:42"]);
    assert!(listed.iter().all(|it| it["next_seq"] == 3));
}

#[test]
fn readers_work_beside_a_live_writer_and_write_nothing() {
    let bench = Bench::new();
    let mut child = bench.live_append("append a.tide --table t --timeline a");
    let mut input = child.stdin.take().unwrap();
    let mut acknowledged = BufReader::new(child.stdout.take().unwrap());
    for number in 1..=3_u64 {
        writeln!(input, "line {number}").unwrap();
        acknowledged.read_line(&mut String::new()).unwrap();
        let before = std::fs::read(bench.path("a.tide")).unwrap();
        assert_eq!(seqs(&bench, ""), (1..=number).collect::<Vec<_>>());
        bench.good("timelines a.tide --table t");
        bench.good("info a.tide");
        bench.good("verify a.tide");
        bench.good("dump a.tide wal");
        let after = std::fs::read(bench.path("a.tide")).unwrap();
        assert!(before == after, "a reading command has written");
    }
    drop(input);
    assert!(child.wait().unwrap().success());
    let names: Vec<_> = std::fs::read_dir(bench.path("")).unwrap().collect();
    assert_eq!(names.len(), 1, "a store is one file");
}

#[test]
fn info_says_what_there_is() {
    let bench = Bench::new();
    bench.good_with("append a.tide --table t --timeline a", b"1\n2\n");
    let info = bench.json("info a.tide --json");
    let length = std::fs::metadata(bench.path("a.tide")).unwrap().len();
    let bytes = info[0]["bytes"].as_object().unwrap();
    assert_eq!(bytes.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), length);
    assert_eq!(info[0]["clean"], true);
    assert_eq!((&info[1]["table"], &info[1]["timelines"]), (&"t".into(), &1.into()));
    assert!(bench.good("info a.tide").contains("closed"));
    // Closed: all of it lies in one window without an end, and nothing waits.
    let windows = info[1]["windows"].as_array().unwrap();
    assert_eq!(windows.len(), 1);
    let window = &windows[0];
    assert_eq!((&window["tier"], &window["from_ms"]), (&"hot".into(), &0.into()));
    assert_eq!(window["width_ms"], 0);
    let levels = window["levels"].as_array().unwrap();
    let sum = |what: &str| levels.iter().map(|level| level[what].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("sstables"), &info[1]["sstables"]), (1, &1.into()));
    assert_eq!(info[1]["sstable_bytes"], sum("bytes"));
    let pending = info[0]["pending"].as_object().unwrap();
    assert_eq!(pending.len(), 6);
    assert!(pending.values().all(|count| *count == 0), "{pending:?}");
    let text = bench.good("info a.tide");
    assert!(text.contains("the beginning") && text.contains("no end"), "{text}");
}

#[test]
fn info_tells_tiers_windows_and_what_waits() {
    let bench = Bench::new();
    let ttl = Duration::from_secs(2_000);
    let options = TableOptions::timeline().ttl(ttl).cold_after(Duration::from_millis(1));
    let store = Options { ring_bytes: 262_144, ..Options::default() };
    let engine = Engine::open(bench.path("a.tide"), store).unwrap();
    let table = engine.create_table("message", options).unwrap();
    let append = |text: &[u8]| {
        let mut batch = WriteBatch::new();
        batch.append(table, b"a", text, None).unwrap();
        engine.commit(batch, Durability::Sync).unwrap().time_ms
    };
    let cold_ms = append(b"becomes cold");
    engine.flush().unwrap();
    while engine.stats().cold_sstables == 0 {
        engine.compact().unwrap();
    }
    // Too young to be moved, until the tool asks.
    let hot = TableOptions::timeline().ttl(ttl).cold_after(Duration::from_secs(1_000));
    engine.alter_table(table, hot).unwrap();
    append(b"stays hot");
    engine.close().unwrap();
    let info = bench.json("info a.tide --json");
    let windows = info[1]["windows"].as_array().unwrap();
    let tiers: Vec<&str> = windows.iter().map(|w| w["tier"].as_str().unwrap()).collect();
    assert_eq!(tiers, ["hot", "cold"]);
    assert_eq!(
        (&windows[0]["width_ms"], &windows[1]["width_ms"]),
        (&50_000.into(), &100_000.into())
    );
    assert_eq!(windows[1]["from_ms"], cold_ms / 100_000 * 100_000);
    let levels = windows[1]["levels"].as_array().unwrap().iter();
    let cold_bytes: u64 = levels.map(|level| level["bytes"].as_u64().unwrap()).sum();
    assert_eq!(info[1]["cold_bytes"], cold_bytes);
    let text = bench.good("info a.tide");
    assert!(text.contains("100000 ms") && text.contains("0 moves of"), "{text}");
}

#[test]
fn a_file_that_is_no_store_is_named_as_such() {
    let bench = Bench::new();
    bench.write("a.tide", &b"not a store at all ".repeat(8192));
    for command in ["info a.tide", "verify a.tide", "scan a.tide --table t --timeline a"] {
        let run = bench.run(command);
        assert_eq!(run.code, Some(1), "{command}: {run:?}");
    }
    let run = bench.run_with("append a.tide --table t --timeline a", b"x\n");
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(std::fs::read(bench.path("a.tide")).unwrap().starts_with(b"not a store"));
}
