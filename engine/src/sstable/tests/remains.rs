//! What is found of an SSTable of which any byte was changed: all blocks but those that hold it.

use crate::options::{Compression, ReadMode};
use crate::sstable::testing::{Fixture, options};
use crate::sstable::{EntryRef, Remains};
use crate::version::TableKind;

fn fixture(compression: Compression) -> Fixture {
    Fixture::build(options(TableKind::Timeline, compression), 700, |builder| {
        let mut random = crate::runtime::Random::new(7);
        let words = ["timeline", "inbox", "message", "window", "expired", "cold", "segment"];
        for key in [&b"alice"[..], b"bob", b"carol"] {
            for seq in 1..120 {
                let text: Vec<&str> = (0..8).map(|_| words[random.index(7)]).collect();
                builder.append(
                    key,
                    &EntryRef {
                        seq,
                        commit: seq,
                        time_ms: 100 + seq,
                        ttl_ms: None,
                        event_ms: None,
                        origin: None,
                        payload: text.join(" ").as_bytes(),
                        shared: None,
                        erased: false,
                    },
                )?;
            }
        }
        Ok(())
    })
    .unwrap()
}

/// Key, seq and payload of everything that is left, in order.
fn entries(remains: &Remains) -> Vec<(Vec<u8>, u64, Vec<u8>)> {
    let mut found = Vec::new();
    for index in 0..remains.block_count() {
        for fragment in remains.fragments(index).into_iter().flatten() {
            let view = fragment.view();
            for k in 0..view.count() {
                let entry = view.entry(k).unwrap();
                found.push((view.key().to_vec(), entry.seq, entry.payload.to_vec()));
            }
        }
    }
    found
}

#[test]
fn a_changed_byte_costs_its_block_and_nothing_else() {
    let zstd = if cfg!(feature = "zstd") { Some(Compression::Zstd { level: 3 }) } else { None };
    for compression in [Some(Compression::None), Some(Compression::Lz4), zstd].into_iter().flatten()
    {
        let fixture = fixture(compression);
        let whole = fixture.open(ReadMode::Read).remains().unwrap();
        let all = entries(&whole);
        assert_eq!(all.len(), 3 * 119);
        assert!(whole.damaged().is_empty(), "{:?}", whole.damaged());
        let blocks: Vec<_> = (0..whole.block_count()).map(|index| whole.place(index)).collect();
        assert!(blocks.len() > 8);
        let end = usize::try_from(fixture.meta.bytes).unwrap();
        for place in (0..end).step_by(7) {
            fixture.change(|bytes| bytes[place] ^= 4);
            let left = fixture.open(ReadMode::Read).remains().unwrap();
            let hit = blocks.iter().any(|block| block.contains(&(place as u64)));
            assert_eq!(left.block_count(), blocks.len() - usize::from(hit), "byte {place}");
            let found = entries(&left);
            assert!(found.iter().all(|entry| all.contains(entry)), "byte {place}");
            let stretch = left.damaged().iter().any(|stretch| stretch.contains(&(place as u64)));
            assert!(stretch, "byte {place}: {:?}", left.damaged());
            fixture.change(|bytes| bytes[place] ^= 4);
        }
    }
}

#[test]
fn the_directory_is_found_without_the_footer() {
    let fixture = fixture(Compression::None);
    let end = usize::try_from(fixture.meta.bytes).unwrap();
    fixture.change(|bytes| bytes[end - 4096..].fill(0));
    let mut left = fixture.open(ReadMode::Read).remains().unwrap();
    assert_eq!(entries(&left).len(), 3 * 119);
    let runs = left.take_runs();
    assert_eq!(runs.len(), 3);
    assert!(runs.values().all(|run| (run.first_seq, run.last_seq, run.count) == (1, 119, 119)));
}

/// A header that names this place may say any length: nothing is allocated for what does not fit.
#[test]
fn a_hostile_length_is_no_block() {
    let fixture = fixture(Compression::None);
    for length in [u32::MAX, 1 << 30, 17 << 20] {
        fixture.change(|bytes| bytes[8..12].copy_from_slice(&length.to_le_bytes()));
        let left = fixture.open(ReadMode::Read).remains().unwrap();
        assert!(left.damaged()[0].start == 0 && left.block_count() > 8);
    }
}

/// The last data block may lie in the page that zeros fill up.
#[test]
fn a_last_data_block_of_zeros_is_no_padding() {
    for compression in [Compression::None, Compression::Lz4] {
        let fixture = fixture(compression);
        let whole = fixture.open(ReadMode::Read).remains().unwrap();
        let last = whole.place(whole.block_count() - 1);
        let place = |at: u64| usize::try_from(at).unwrap();
        fixture.change(|bytes| bytes[place(last.start)..place(last.end)].fill(0));
        let left = fixture.open(ReadMode::Read).remains().unwrap();
        assert_eq!(left.block_count(), whole.block_count() - 1);
        let [stretch] = left.damaged() else { panic!("{:?}", left.damaged()) };
        assert!(stretch.start == last.start && stretch.end >= last.end, "{stretch:?}");
    }
}

#[test]
fn a_length_that_no_file_has_takes_no_time() {
    // Story: the manifest may give an SSTable any length, checksums and all, and a salvage asked
    // each of so many bytes whether a block begins there.
    let mut fixture = fixture(Compression::Lz4);
    let all = entries(&fixture.open(ReadMode::Read).remains().unwrap());
    let bytes = fixture.meta.bytes;
    fixture.meta.bytes = 1 << 60;
    fixture.meta.extent.length = 1 << 60;
    let remains = fixture.open(ReadMode::Read).remains().unwrap();
    assert_eq!(entries(&remains), all);
    let behind_the_file = bytes..1 << 60;
    assert_eq!(remains.damaged(), std::slice::from_ref(&behind_the_file));
}
