use crate::amendment::amendment_key;
use crate::batch::KeyedOperation;
use crate::compaction::{AmendmentFences, AmendmentKeeper};
use crate::entry::{KeyedVersion, Payload, TableId};
use crate::limits::REVISIONS_KEPT_MAX;
use crate::version::TableKind;
use crate::version::tests::timeline_meta;

const TABLE: TableId = TableId(16);

fn amendment(commit: u64, time_ms: u64, bytes: usize) -> KeyedVersion {
    KeyedVersion {
        key: amendment_key(TABLE, b"room", 7).into(),
        commit,
        index: 0,
        time_ms,
        operation: KeyedOperation::Put,
        value: Payload::from_vec(vec![1; bytes]),
    }
}

fn fences(alive_from_ms: u64, oldest_origin: u64) -> AmendmentFences {
    let alive_from_ms = [(TABLE, alive_from_ms)].into();
    AmendmentFences { alive_from_ms, oldest_origin, ..AmendmentFences::default() }
}

/// The commits that survive of those given.
fn kept(commits: &[u64], snapshots: &[u64], fences: &AmendmentFences) -> Vec<u64> {
    let mut keeper = AmendmentKeeper::new(snapshots, fences);
    commits.iter().for_each(|commit| keeper.push(amendment(*commit, commit * 10, 1)));
    keeper.finish().iter().map(|version| version.commit).collect()
}

#[test]
fn all_versions_are_kept_while_the_entry_lives() {
    assert_eq!(kept(&[9, 5, 3], &[], &fences(0, u64::MAX)), [9, 5, 3]);
    assert_eq!(kept(&[9, 5, 3], &[4], &fences(30, u64::MAX)), [9, 5, 3]);
}

#[test]
fn an_amendment_goes_when_its_entry_and_all_older_entries_with_origins_are_gone() {
    // Its entry may live: the oldest that does is as old as the amendment.
    assert!(fences(50, u64::MAX).is_needed(&amendment(5, 50, 1)));
    // Its entry is gone, and there is no other.
    assert!(!fences(51, u64::MAX).is_needed(&amendment(5, 50, 1)));
    // Its entry is gone, an inbox may still hold a copy that is as old as the amendment.
    assert!(fences(51, 5).is_needed(&amendment(5, 50, 1)));
    assert!(fences(51, 4).is_needed(&amendment(5, 50, 1)));
    assert!(!fences(51, 6).is_needed(&amendment(5, 50, 1)));
    // Its table was dropped.
    let dropped = AmendmentFences { oldest_origin: 6, ..AmendmentFences::default() };
    assert!(!dropped.is_needed(&amendment(5, 50, 1)));
    assert!(dropped.is_needed(&amendment(6, 50, 1)));
}

#[test]
fn an_sstable_goes_when_nothing_in_it_can_be_met() {
    let key = |table| amendment_key(TableId(table), b"room", 7);
    let meta = |first, last| {
        let mut meta = timeline_meta(1, ("-", 1), ("-", 1));
        meta.kind = TableKind::Keyed;
        meta.first = (key(first).into(), 0);
        meta.last = (key(last).into(), 0);
        (meta.commits, meta.times_ms) = ((3, 5), (30, 50));
        meta
    };
    assert!(!fences(51, 6).needs_any_of(&meta(16, 16)));
    assert!(fences(50, 6).needs_any_of(&meta(16, 16)));
    assert!(fences(51, 5).needs_any_of(&meta(16, 16)));
    // Of tables between its ends, too.
    assert!(fences(50, 6).needs_any_of(&meta(15, 17)));
    assert!(!fences(50, 6).needs_any_of(&meta(17, 20)));
    let mut odd = meta(16, 16);
    odd.last.0 = b"short"[..].into();
    assert!(fences(51, 6).needs_any_of(&odd));
}

#[test]
fn what_is_no_amendment_is_not_hidden() {
    let mut odd = amendment(1, 1, 1);
    odd.key = b"short"[..].into();
    assert!(fences(100, u64::MAX).is_needed(&odd));
}

#[test]
fn of_very_many_amendments_the_newest_stay_and_those_that_snapshots_see() {
    let count = REVISIONS_KEPT_MAX as u64 + 500;
    let commits: Vec<u64> = (1..=count).rev().collect();
    let left = kept(&commits, &[100, 101, 300], &fences(0, u64::MAX));
    let newest = &commits[..REVISIONS_KEPT_MAX];
    assert_eq!(left, [newest, &[300, 101, 100]].concat());
}

#[test]
fn very_long_amendments_stay_as_far_as_memory_allows() {
    let fences = fences(0, u64::MAX);
    let mut keeper = AmendmentKeeper::new(&[2], &fences);
    (1..=20).rev().for_each(|commit| keeper.push(amendment(commit, 1, 8 << 20)));
    let commits: Vec<u64> = keeper.finish().iter().map(|version| version.commit).collect();
    assert_eq!(commits, [20, 19, 18, 17, 16, 15, 14, 13, 2]);
}

#[test]
fn a_retraction_stays_until_what_it_took_back_has_been_erased() {
    let retraction = |commit| {
        let value = Payload::from_vec(vec![crate::amendment::TAG_RETRACTED]);
        KeyedVersion { value, ..amendment(commit, 1, 1) }
    };
    // The entry and all copies are gone; commit 5 has been erased.
    let fences =
        AmendmentFences { erased_through: [(TABLE, 5)].into(), ..fences(u64::MAX, u64::MAX) };
    let mut keeper = AmendmentKeeper::new(&[], &fences);
    [retraction(9), amendment(8, 80, 1), retraction(5)].into_iter().for_each(|v| keeper.push(v));
    let survivors: Vec<u64> = keeper.finish().iter().map(|version| version.commit).collect();
    assert_eq!(survivors, [9]);
    // However many came later.
    let mut keeper = AmendmentKeeper::new(&[], &fences);
    let many = REVISIONS_KEPT_MAX as u64;
    let needed = AmendmentFences { oldest_origin: 0, ..fences.clone() };
    let mut full = AmendmentKeeper::new(&[], &needed);
    (10..10 + many).rev().for_each(|commit| full.push(amendment(commit, commit, 1)));
    full.push(retraction(9));
    full.push(amendment(8, 8, 1));
    assert_eq!(full.finish().last().map(|version| version.commit), Some(9));
    keeper.push(retraction(9));
    let meta = |commits| {
        let key = amendment_key(TABLE, b"room", 7);
        let meta = timeline_meta(1, ("-", 1), ("-", 1));
        let (first, last) = ((key.clone().into(), 0), (key.into(), 0));
        crate::version::SstableMeta { kind: TableKind::Keyed, first, last, commits, ..meta }
    };
    assert!(fences.needs_any_of(&meta((1, 6))) && !fences.needs_any_of(&meta((1, 5))));
}
