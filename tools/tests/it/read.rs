use super::{Bench, entries};
use std::io::{BufRead, BufReader, Write};

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
