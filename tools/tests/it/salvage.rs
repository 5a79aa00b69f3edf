use super::{Bench, entries};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};

/// A store with something in SSTables, closed in order.
fn store() -> Bench {
    let bench = Bench::new();
    let lines: String = (0..3000).map(|number| format!("line {number}\n")).collect();
    for timeline in ["alice", "bob", "carol"] {
        let arguments =
            format!("append a.tide --table t --timeline {timeline} --durability buffered");
        bench.good_with(&arguments, lines.as_bytes());
    }
    bench
}

fn shown(bench: &Bench, file: &str, timeline: &str) -> Vec<(u64, String)> {
    let scan = format!("scan {file} --table t --timeline {timeline} --json --limit 10000");
    entries(&bench.json(&scan))
}

#[test]
fn a_sound_store_is_copied_and_nothing_is_lost() {
    let bench = store();
    let before = std::fs::read(bench.path("a.tide")).unwrap();
    assert!(bench.good("salvage a.tide b.tide").ends_with("nothing was lost\n"));
    assert!(before == std::fs::read(bench.path("a.tide")).unwrap());
    assert!(bench.good("verify b.tide").ends_with("good\n"));
    for timeline in ["alice", "bob", "carol"] {
        assert_eq!(shown(&bench, "a.tide", timeline), shown(&bench, "b.tide", timeline));
    }
    let complaint = bench.bad("salvage a.tide b.tide", 2);
    assert!(complaint.contains("is there already"), "{complaint}");
    bench.bad("salvage absent.tide c.tide", 2);
    assert!(!bench.path("c.tide").exists());
}

#[test]
fn a_damaged_block_costs_its_entries_and_they_are_named() {
    let bench = store();
    let whole = shown(&bench, "a.tide", "alice");
    let blocks = bench.json("dump a.tide table t --json");
    let data = |block: &&Value| {
        block.get("block").and_then(Value::as_str).is_some_and(|kind| kind.contains("timeline"))
    };
    let block = blocks.iter().find(data).unwrap_or_else(|| panic!("{blocks:?}"));
    bench.flip(block["offset"].as_u64().unwrap() + 60);
    let run = bench.run("salvage a.tide b.tide --json");
    assert_eq!(run.code, Some(1), "{run:?}");
    let said: Vec<Value> =
        run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lost: Vec<&Value> = said.iter().filter(|line| line["lost"] == "entries").collect();
    assert!(!lost.is_empty(), "{said:?}");
    assert!(bench.good("verify b.tide").ends_with("good\n"));
    let mut all = 0;
    for timeline in ["alice", "bob", "carol"] {
        let left = shown(&bench, "b.tide", timeline);
        for (seq, text) in &whole {
            let named = lost.iter().any(|loss| {
                let at = |field: &str| loss[field].as_u64().unwrap();
                loss["timeline"] == timeline && (at("from")..=at("to")).contains(seq)
            });
            let is_left = left.contains(&(*seq, text.clone()));
            assert!(is_left != named, "{timeline} {seq}");
        }
        all += left.len();
    }
    assert!(all > 3000, "{all}");
    bench.good_with("append b.tide --table t --timeline alice", b"more\n");
    assert!(shown(&bench, "b.tide", "alice").last().unwrap().0 > 3000);
}

/// A store that was killed, and whose last commit is damaged: it was promised, and looks like one
/// that was never finished.
#[test]
fn a_torn_end_is_no_known_loss_and_the_last_line_says_so() {
    let bench = Bench::new();
    let mut child = bench.live_append("append a.tide --table t --timeline alice");
    let mut input = child.stdin.take().unwrap();
    let mut acknowledged = BufReader::new(child.stdout.take().unwrap());
    for number in 1..=5 {
        writeln!(input, "line {number}").unwrap();
        acknowledged.read_line(&mut String::new()).unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let bytes = std::fs::read(bench.path("a.tide")).unwrap();
    let lsn = |at: &usize| u64::from_le_bytes(*bytes[at + 24..].first_chunk().unwrap());
    let ring = (65_536..65_536 + 262_144_usize).step_by(512);
    let groups = ring.filter(|at| bytes[at + 8..at + 12] == *b"TWAL");
    bench.flip(groups.max_by_key(lsn).unwrap() as u64 + 100);
    let told = bench.good("salvage a.tide b.tide");
    let last = "nothing is known to be lost; the unfinished end may have held commits from ";
    assert!(told.contains("WAL: an unfinished end") && told.contains(last), "{told}");
    assert!(!told.contains("nothing was lost"), "{told}");
    assert_eq!(shown(&bench, "b.tide", "alice").len(), 4);
    let said = bench.json("salvage a.tide c.tide --json");
    let summary = said.last().unwrap();
    assert!(summary["losses"] == 0 && summary["torn_from_commit"].is_u64(), "{summary}");
}

/// An empty target was left, and stood in the way of the next try.
#[test]
fn what_is_no_store_leaves_no_target() {
    let bench = Bench::new();
    bench.write("a.tide", &[7; 100_000]);
    let run = bench.run("salvage a.tide b.tide");
    assert!(run.code != Some(0) && !bench.path("b.tide").exists(), "{run:?}");
}
