use super::{Bench, entries};
use std::io::{BufRead, BufReader, Write};

#[test]
fn each_line_gets_the_next_sequence_id() {
    let bench = Bench::new();
    let append = "append a.tide --table message --timeline t:group,i:42";
    assert_eq!(bench.good_with(append, b"one\n\nthree"), "1\n2\n3\n");
    assert_eq!(bench.good_with(append, b"four\n"), "4\n");
    let found = bench.json("scan a.tide --table message --timeline t:group,i:42 --json");
    let expected: Vec<(u64, String)> =
        (1..).zip(["one", "", "three", "four"].map(str::to_owned)).collect();
    assert_eq!(entries(&found), expected);
}

#[test]
fn bytes_that_are_no_text_are_kept() {
    let bench = Bench::new();
    bench.good_with("append a.tide --table t --timeline x:0AFF", b"\xFF\x00\n");
    let found = bench.json("scan a.tide --table t --timeline x:0AFF --json");
    assert_eq!(found[0]["payload_base64"], "/wA=");
    assert_eq!(found[0]["timeline"], "x:0AFF");
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    for durability in ["sync", "interval:50", "buffered"] {
        let bench = Bench::new();
        let append = format!("append a.tide --table t --timeline a --durability {durability}");
        let mut child = bench.live_append(&append);
        let mut input = child.stdin.take().unwrap();
        let mut acknowledged = BufReader::new(child.stdout.take().unwrap());
        for number in 1..=20 {
            writeln!(input, "line {number}").unwrap();
            let mut seq = String::new();
            acknowledged.read_line(&mut seq).unwrap();
            assert_eq!(seq.trim(), number.to_string());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let found = entries(&bench.json("scan a.tide --table t --timeline a --json"));
        let expected: Vec<_> = (1..=20).map(|number| (number, format!("line {number}"))).collect();
        assert_eq!(found, expected, "{durability}");
        assert_eq!(bench.good_with(&append, b"more\n"), "21\n", "{durability}");
        bench.good("verify a.tide");
    }
}

#[test]
fn a_second_writer_is_refused() {
    let bench = Bench::new();
    let mut child = bench.live_append("append a.tide --table t --timeline a");
    let mut input = child.stdin.take().unwrap();
    let mut acknowledged = BufReader::new(child.stdout.take().unwrap());
    writeln!(input, "first").unwrap();
    acknowledged.read_line(&mut String::new()).unwrap();
    let complaint = bench.bad("append a.tide --table t --timeline a", 3);
    assert!(complaint.contains("locked"), "{complaint}");
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn wrong_use_is_said_and_ends_with_2() {
    let bench = Bench::new();
    bench.bad("append a.tide --table t", 2);
    bench.bad("append a.tide --table t --timeline i:x", 2);
    bench.bad("append a.tide --table t --timeline a --durability fast", 2);
    assert!(!bench.path("a.tide").exists());
}
