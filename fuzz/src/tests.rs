//! Every fuzzer runs, briefly; the canary fails.

use crate::registry::{FUZZERS, find};
use crate::runner;
use std::collections::HashSet;

#[test]
fn every_fuzzer_runs_a_few_events() {
    for fuzzer in FUZZERS.iter().filter(|fuzzer| !fuzzer.must_fail) {
        let events = (fuzzer.smoke_events / 100).max(2);
        runner::run(fuzzer, 1, events).unwrap_or_else(|what| panic!("{what}"));
    }
}

#[test]
fn the_canary_fails_and_its_command_repeats_it() {
    let canary = find("canary").unwrap();
    runner::smoke(canary, 3).unwrap();
    let what = runner::run(canary, 3, 1000).unwrap_err();
    assert!(what.ends_with(&runner::command("canary", 3, 1000)), "{what}");
    let alone = what.split("--seed ").nth(1).unwrap().split(' ').next().unwrap();
    let again = runner::run(canary, alone.parse().unwrap(), 1).unwrap_err();
    assert!(again.contains("the canary sang at 7"), "{again}");
}

#[test]
fn names_are_unique() {
    let names: HashSet<_> = FUZZERS.iter().map(|fuzzer| fuzzer.name).collect();
    assert_eq!(names.len(), FUZZERS.len());
    assert!(!names.contains("list") && !names.contains("smoke"));
    assert!(find("no such name").is_none());
}
