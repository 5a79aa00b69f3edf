//! Another process cuts the file off under a scan.

use super::helper::Helper;
use std::os::unix::process::ExitStatusExt;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::testing::Random;
use tidelog_engine::{Engine, ErrorKind, ReadMode};
use tidelog_fuzz::processes::helper::small;

const SIGBUS: i32 = 7;
const PAGE: u64 = 4096;

/// How the scanner ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Signal,
    Error,
    /// What it looked at was not cut off, or its scans were over.
    Unnoticed,
}

/// Cuts the file off at `length(random)` while a process scans it; how that one ended, and
/// that whoever comes later is told what is the matter.
fn cut(mode: &str, seed: u64, length: impl Fn(&mut Random) -> u64) -> End {
    let context = format!("{mode}, seed {seed}");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.tide");
    let scanner = Helper::start(mode, &path);
    scanner.expect("ready");
    std::thread::park_timeout(std::time::Duration::from_micros(random.below(5000)));
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let bytes = file.metadata().unwrap().len();
    let cut_to = length(&mut random);
    assert!(cut_to < bytes, "{context}: the file has {bytes} bytes");
    file.set_len(cut_to).unwrap();
    let said = scanner.line();
    if let Some(said) = said.as_ref().filter(|said| *said != "over") {
        let typed = said.starts_with("error Io") || said.starts_with("error Corruption");
        assert!(typed, "{context}, {cut_to} of {bytes}: {said}");
    }
    let status = scanner.end();
    assert!(status.success() || status.signal() == Some(SIGBUS), "{context}: {status}, {said:?}");
    assert_eq!(status.success(), said.is_some(), "{context}: {status}");
    for read_mode in [ReadMode::Map, ReadMode::Read] {
        let error = Engine::open(&path, small(read_mode)).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption, "{context}: {error}");
    }
    // Damage is what an inspector is for: it tells of it.
    let report = Inspector::open(&path).and_then(|inspector| inspector.verify());
    assert!(report.is_err() || !report.unwrap().faults.is_empty(), "{context}");
    match said.as_deref() {
        None => End::Signal,
        Some("over") => End::Unnoticed,
        Some(_) => End::Error,
    }
}

/// Behind the ring, in the first of some 900 KiB of SSTables.
fn inside(random: &mut Random) -> u64 {
    64 * 1024 + 256 * 1024 + random.below(200 * 1024)
}

#[test]
fn a_scan_by_reads_meets_a_typed_error() {
    let ends: Vec<_> = (0..6).map(|seed| cut("scan-read", seed, inside)).collect();
    assert!(ends.contains(&End::Error) && !ends.contains(&End::Signal), "{ends:?}");
}

#[test]
fn a_scan_over_maps_meets_a_typed_error_or_ends_its_process() {
    let pages = |random: &mut Random| inside(random) / PAGE * PAGE;
    let ends: Vec<_> = (0..6).map(|seed| cut("scan-map", seed, pages)).collect();
    // Which of the two it is depends on whether a map or a footer was touched first.
    assert!(ends.iter().any(|end| *end != End::Unnoticed), "no scan met the end: {ends:?}");
}
