//! What is done is noted, gone on with, and added up.

use super::ledger::{Ledger, report};
use super::registry::{SUBJECTS, Subject, find};
use super::runner::{self, Amount, Part, Selection};
use super::{Cases, Counts, Failure};
use std::collections::HashSet;
use std::io::Write;

/// Three shards, the second of which fails for a seed of 2.
struct Three(u64);

impl Cases for Three {
    fn shards(&self) -> Option<u64> {
        (self.0 < 9).then_some(3)
    }

    fn shard(&self, shard: u64) -> Result<Counts, Failure> {
        self.one(shard * 10)
    }

    fn one(&self, case: u64) -> Result<Counts, Failure> {
        if (self.0, case) == (2, 10) {
            return Err(Failure { case, what: "it is the second".to_owned() });
        }
        let mut counts = Counts::default();
        counts.add("cases", case + 1);
        Ok(counts)
    }

    fn about(&self) -> String {
        "three".to_owned()
    }
}

const MUTANTS: &str = r#"{"caught_or_unviable":3,"missed":1,"timeout":0}"#;
const THREE: Subject = Subject {
    name: "three",
    about: "three shards",
    short_shards: 1,
    cases: |seed, _| Ok(Box::new(Three(seed))),
};

fn whole(seed: u64, amount: Amount) -> Selection {
    Selection { seed, amount, part: Part::WHOLE }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a file of reports, beside no store")]
fn a_run_goes_on_where_it_was_stopped_and_counts_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = 0;
    let mut run = |amount| {
        runner::run(&THREE, folder.path(), whole(1, amount), &mut |_| lines += 1).unwrap();
        Ledger::of(folder.path(), "three").done(1).unwrap().len()
    };
    assert_eq!(run(Amount::More(1)), 1);
    // It was killed while it wrote a line.
    let path = folder.path().join("three.jsonl");
    let mut file = std::fs::File::options().append(true).open(&path).unwrap();
    file.write_all(b"{\"at\":{\"seed\":1,\"sh").unwrap();
    assert_eq!(run(Amount::First(1)), 1, "done twice is done once");
    assert_eq!(run(Amount::More(1)), 2);
    assert_eq!(run(Amount::All), 3);
    assert_eq!(run(Amount::All), 3);
    assert_eq!(lines, 5 + 4, "a line at the start, and one a shard");
    let sums = report(folder.path()).unwrap();
    assert_eq!(sums.to_string(), r#"{"three":{"cases":33,"shards":3}}"#);
    let lists = folder.path().join("log/mutants.out");
    std::fs::create_dir_all(&lists).unwrap();
    std::fs::write(lists.join("caught.txt"), "a\nb\n").unwrap();
    std::fs::write(lists.join("previously_caught.txt"), "b\nc\n").unwrap();
    std::fs::write(lists.join("missed.txt"), "d\n").unwrap();
    let with_mutants = report(folder.path()).unwrap();
    assert_eq!(with_mutants["mutants-log"].to_string(), MUTANTS);
    let endless = runner::run(&THREE, folder.path(), whole(9, Amount::All), &mut |_| {});
    assert!(endless.unwrap_err().contains("--count"));
}

#[test]
fn parts_are_all_shards_and_each_once() {
    let folder = tempfile::tempdir().unwrap();
    let run = |part: &str| {
        let part = part.parse().unwrap();
        let selection = Selection { seed: 1, amount: Amount::All, part };
        let mut lines = Vec::new();
        runner::run(&THREE, folder.path(), selection, &mut |line| lines.push(line.to_owned()))
            .unwrap();
        lines.len() - 1
    };
    assert_eq!((run("1/2"), run("2/2"), run("1/1")), (2, 1, 0));
    for text in ["0/2", "3/2", "1/0", "1", "a/b", ""] {
        assert!(text.parse::<Part>().is_err(), "{text}");
    }
}

#[test]
fn a_failure_tells_the_command_that_repeats_it() {
    let folder = tempfile::tempdir().unwrap();
    let what = runner::run(&THREE, folder.path(), whole(2, Amount::All), &mut |_| {}).unwrap_err();
    assert!(what.ends_with(&runner::command("three", 2, 10)), "{what}");
    let again = runner::replay(&THREE, folder.path(), 2, 10);
    assert!(again.unwrap_err().contains("it is the second"));
    assert_eq!(Ledger::of(folder.path(), "three").done(2).unwrap().len(), 1);
}

#[test]
fn of_what_is_slowest_the_largest_is_kept() {
    let mut counts = Counts::default();
    for (kills, slowest) in [(2, 7), (3, 4)] {
        counts.add("kills", kills);
        counts.add("slowest_opening_ms", slowest);
    }
    assert_eq!((counts.get("kills"), counts.get("slowest_opening_ms")), (5, 7));
}

#[test]
fn subjects_have_names_of_their_own() {
    let names: HashSet<_> = SUBJECTS.iter().map(|subject| subject.name).collect();
    assert_eq!(names.len(), SUBJECTS.len());
    assert!(!names.iter().any(|name| ["list", "short", "report"].contains(name)));
    assert!(find("no such name").is_none());
}
