//! Runs that go in piece by piece give the bytes that they give entry by entry.

use crate::options::Compression;
use crate::sstable::testing::options;
use crate::sstable::{Builder, BuilderOptions, EntryRef, PlainEntry};
use crate::testing::Random;
use crate::version::TableKind;

type Timeline = (Vec<u8>, Vec<(u64, u64, u64, Vec<u8>)>);

/// Timelines of one entry and of hundreds, with seqs left out, equal times, empty payloads, and
/// some that no block holds.
fn timelines(random: &mut Random) -> Vec<Timeline> {
    let (mut commit, mut time_ms) = (1, 1_000);
    let timelines = (0..60u32).map(|key| {
        let count = if random.below(6) == 0 { 300 } else { 1 + random.below(9) };
        let even = random.below(3) == 0;
        let mut seq = random.below(1 << 20);
        let entries = (0..count).map(|_| {
            seq += 1 + random.below(40) / 39;
            commit += random.below(3);
            time_ms += random.below(2) * random.below(300);
            let length = match random.below(100) {
                0 => random.below(20_000),
                _ if even => 100,
                _ => random.below(200),
            };
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            random.fill(&mut payload);
            (seq, commit, time_ms, payload)
        });
        (format!("timeline {key:03}").into_bytes(), entries.collect())
    });
    timelines.collect()
}

#[test]
fn pieces_of_runs_become_what_their_entries_become() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let block_bytes = [512, 4096, 16 * 1024][usize::try_from(seed).unwrap() % 3];
        let timelines = timelines(&mut random);
        let options = options(TableKind::Timeline, Compression::None);
        let options = BuilderOptions { block_bytes, ..options };
        let mut single = Builder::new(Vec::new(), options);
        let mut pieces = Builder::new(Vec::new(), options);
        for (key, entries) in &timelines {
            let plain: Vec<PlainEntry<'_>> = entries
                .iter()
                .map(|(seq, commit, time_ms, payload)| PlainEntry {
                    seq: *seq,
                    commit: *commit,
                    time_ms: *time_ms,
                    payload,
                })
                .collect();
            for entry in &plain {
                single.append(key, &reference(entry)).unwrap();
            }
            let mut rest = &plain[..];
            while !rest.is_empty() {
                let count = rest.len().min(1 + random.index(100));
                let (piece, behind) = rest.split_at(count);
                pieces.append_plain(key, piece, behind.is_empty()).unwrap();
                rest = behind;
            }
        }
        let (single, pieces) = (single.finish().unwrap(), pieces.finish().unwrap());
        assert_eq!(single.1, pieces.1, "seed {seed}");
        assert!(single.0 == pieces.0, "seed {seed}");
    }
}

#[test]
fn a_piece_out_of_order_is_refused() {
    let entry = |seq, commit, time_ms| PlainEntry { seq, commit, time_ms, payload: b"text" };
    let refused = |entries: &[PlainEntry<'_>]| {
        let options = options(TableKind::Timeline, Compression::None);
        let mut builder = Builder::new(Vec::new(), options);
        builder.append_plain(b"key", &[entry(5, 5, 5)], false).unwrap();
        let result = builder.append_plain(b"key", entries, true);
        assert_eq!(builder.entries(), if result.is_ok() { 3 } else { 1 });
        result.is_err()
    };
    assert!(!refused(&[entry(6, 5, 5), entry(7, 5, 6)]));
    assert!(refused(&[entry(5, 6, 6), entry(7, 6, 6)]));
    assert!(refused(&[entry(7, 6, 6), entry(7, 6, 6)]));
    assert!(refused(&[entry(6, 7, 6), entry(7, 6, 6)]));
    assert!(refused(&[entry(6, 6, 7), entry(7, 6, 6)]));
    assert!(refused(&[entry(6, 6, 6), entry(u64::MAX, 6, 6)]));
}

fn reference<'a>(entry: &PlainEntry<'a>) -> EntryRef<'a> {
    EntryRef {
        seq: entry.seq,
        commit: entry.commit,
        time_ms: entry.time_ms,
        event_ms: None,
        ttl_ms: None,
        origin: None,
        payload: entry.payload,
        shared: None,
        erased: false,
    }
}
