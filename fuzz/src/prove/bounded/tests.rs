//! Every number is a workload, every operation alone is survived, and what is lost is seen.

use super::*;
use crate::prove::registry::find;
use std::collections::HashSet;
use tidelog_engine::testing::CrashPolicy;

#[test]
fn each_number_is_a_workload_of_its_own() {
    let all: Vec<Vec<Operation>> = (0..workloads::count()).map_while(workloads::get).collect();
    assert_eq!(all.len(), 1 + 13 + 13 * 13 + 13 * 13 * 13);
    assert!(all.is_sorted_by_key(Vec::len));
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    assert_eq!(OPERATIONS.iter().collect::<HashSet<_>>().len(), OPERATIONS.len());
    assert_eq!(workloads::get(workloads::count()), None);
}

#[test]
fn shards_have_each_case_once_and_many_kinds() {
    let mut cases: Vec<u64> =
        (0..SHARDS).flat_map(|shard| strided(shard, workloads::count(), SHARDS)).collect();
    cases.sort_unstable();
    assert!(cases.into_iter().eq(0..workloads::count()));
    let first = strided(0, workloads::count(), SHARDS).map_while(workloads::get);
    let kinds: HashSet<Operation> = first.flatten().collect();
    assert!(kinds.len() > 10, "the first shard has {kinds:?}");
    assert!(find("bounded").is_some_and(|subject| subject.short_shards == 1));
}

#[test]
fn policies_are_all_there_and_differ() {
    let policies = images::policies(2);
    assert_eq!(policies.len(), 3 + 3 + 2 * 4);
    let differ = |one: &CrashPolicy| policies.iter().filter(|other| *other == one).count() == 1;
    assert!(policies.iter().all(differ));
    assert_eq!(images::policies(0).len(), 4);
}

#[test]
fn power_is_lost_at_every_point_of_every_operation_alone() {
    for seed in [1, 2] {
        let bounded = Bounded { base: Base::new(seed) };
        let mut counts = Counts::default();
        for case in 0..=OPERATIONS.len() as u64 {
            let of_case = bounded.one(case).unwrap_or_else(|failure| panic!("{}", failure.what));
            counts.merge(&of_case);
        }
        let states = counts.get("disk_states");
        assert!(states < counts.get("images"), "some read the same: {counts:?}");
        for (what, least) in
            [("workloads", 14), ("crash_points", 50), ("disk_states", 200), ("double_crashes", 5)]
        {
            assert!(counts.get(what) >= least, "seed {seed}, {what}: {counts:?}");
        }
    }
}

/// The store is right, and the reference is told that it promised more.
#[test]
fn an_entry_that_was_to_be_durable_and_is_lost_is_seen() {
    let mut run = Base::new(1).run(&[Operation::AppendBuffered], NEVER);
    let reference = run.reached.reference.as_mut().expect("there is a store");
    reference.all_durable();
    let failure = caught(7, || {
        let mut counts = Counts::default();
        images::look(&run, 0, "a lie", &mut counts);
        counts
    });
    let Failure { case, what } = failure.expect_err("the entry is in no image without a sync");
    assert_eq!(case, 7);
    assert!(what.contains("a lie") && what.contains("the newest batch is"), "{what}");
}
