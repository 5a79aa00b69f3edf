//! Every workload, small: what criterion measures is run and checked at each `cargo test`.

use crate::commit::Commits;
use crate::fanout::FanOuts;
use crate::recovery::Recovery;
use crate::scan::{Placement, Scans};
use crate::{Parameters, Size};
use tidelog_engine::Durability;

fn small() -> Parameters {
    Parameters::new(Size::Small)
}

#[test]
fn commit() {
    let mut commits = Commits::new(small());
    for _ in 0..20 {
        commits.one(Durability::Sync);
        commits.batch(Durability::Buffered);
    }
    let committed = 20 * (1 + small().batch) + commits.threads();
    assert_eq!(commits.check(), committed);
}

#[test]
fn scan_of_the_memtable() {
    scan(Placement::Memtable);
}

#[test]
fn scan_of_sstables() {
    scan(Placement::Sstables);
}

fn scan(placement: Placement) {
    let mut scans = Scans::new(small(), placement);
    let read: u64 = (0..500).map(|_| scans.newest() + scans.forward()).sum();
    assert!(read > 500, "only {read} entries were read");
}

#[test]
fn fanout() {
    let mut fan_outs = FanOuts::new(small());
    let sent: usize = (0..60).map(|_| fan_outs.send(Durability::Buffered)).sum();
    assert_eq!(sent, 60 * 31);
    let from_memory = fan_outs.check_all();
    fan_outs.compact();
    assert_eq!(fan_outs.check_all(), from_memory);
    fan_outs.send(Durability::Sync);
    assert!((0..100).map(|_| fan_outs.newest()).sum::<usize>() > 0);
}

#[test]
fn recovery() {
    let recovery = Recovery::new(small());
    let crashed = recovery.crashed();
    let engine = recovery.open(&crashed);
    assert_eq!(recovery.check_all(&engine), small().messages);
    engine.close().expect("the store closes");
    drop(engine);
    let engine = recovery.open(&crashed);
    assert_eq!(recovery.check_all(&engine), small().messages);
}
