//! What is found of an SSTable of which any byte was changed: all blocks but those that hold it.

use crate::codec::checksum_seeded;
use crate::options::{Compression, ReadMode};
use crate::sstable::format::{BlockHeader, BlockKind, Codec};
use crate::sstable::testing::{EXTENT_OFFSET, FILE, Fixture, options};
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

/// Makes an SSTable `bytes` long. Behind what it had headers name their place at these places, and
/// say that so many bytes come behind each.
fn add_headers(
    fixture: &mut Fixture,
    bytes: u64,
    places: impl Iterator<Item = usize>,
    stored: u32,
) {
    let begin = fixture.meta.bytes;
    let mut behind = vec![0u8; usize::try_from(bytes - begin).unwrap()];
    for at in places {
        let header = &mut behind[at..at + 40];
        header[4] = BlockKind::TimelineData as u8;
        header[8..12].copy_from_slice(&stored.to_le_bytes());
        header[24..32].copy_from_slice(&fixture.meta.number.to_le_bytes());
        header[32..40].copy_from_slice(&(begin + at as u64).to_le_bytes());
    }
    fixture.disk.set_bytes(EXTENT_OFFSET + begin, &behind);
    fixture.meta.bytes = bytes;
    fixture.meta.extent.length = bytes;
}

/// Story: a header at every few bytes that names its place and says a length that can be. The
/// SSTable was read once for each of them, which is the square of its length.
#[test]
fn lengths_that_can_be_one_by_one_cost_little_more_than_the_sstable() {
    let mut fixture = fixture(Compression::None);
    let all = entries(&fixture.open(ReadMode::Read).remains().unwrap());
    add_headers(&mut fixture, 4 << 20, (0..300).map(|number| number * 64), 1 << 20);
    let before = fixture.disk.counts().read_bytes;
    let remains = fixture.open(ReadMode::Read).remains().unwrap();
    let read = fixture.disk.counts().read_bytes - before;
    assert!(read < 40 << 20, "{read} bytes were read");
    assert_eq!(entries(&remains), all);
}

/// Each of these reads 40 bytes alone, and all of them no more than the SSTable has; but a read of
/// a few bytes is a read.
#[test]
fn short_lengths_one_by_one_cost_no_read_each() {
    let mut fixture = fixture(Compression::None);
    let all = entries(&fixture.open(ReadMode::Read).remains().unwrap());
    add_headers(&mut fixture, 4 << 20, (0..100_000).map(|number| number * 40), 0);
    let before = fixture.disk.counts().reads;
    let remains = fixture.open(ReadMode::Read).remains().unwrap();
    let reads = fixture.disk.counts().reads - before;
    assert!(reads < 70_000, "{reads} reads");
    assert_eq!(entries(&remains), all);
}

/// Story: each block that rot was in counted as a page, however short it was. So many short ones
/// used up what may be read in vain, and all behind them was lost with them.
#[test]
fn rot_in_many_short_blocks_costs_no_other() {
    let options = options(TableKind::Timeline, Compression::None);
    let fixture = Fixture::build(options, 100, |builder| {
        for seq in 1..=1000 {
            let entry = EntryRef {
                seq,
                commit: seq,
                time_ms: seq,
                ttl_ms: None,
                event_ms: None,
                origin: None,
                payload: &[7; 40],
                shared: None,
                erased: false,
            };
            builder.append(b"t", &entry)?;
        }
        Ok(())
    })
    .unwrap();
    let whole = fixture.open(ReadMode::Read).remains().unwrap();
    let all = entries(&whole);
    let blocks: Vec<_> = (0..whole.block_count()).map(|index| whole.place(index)).collect();
    let (rotten, sound) = blocks.split_at(blocks.len() * 7 / 10);
    let as_pages = rotten.len() as u64 * 4096;
    assert!(as_pages > 8 * fixture.meta.bytes, "{as_pages} of {}", fixture.meta.bytes);
    fixture.change(|bytes| {
        rotten.iter().for_each(|block| bytes[usize::try_from(block.end).unwrap() - 1] ^= 4);
    });
    let left = fixture.open(ReadMode::Read).remains().unwrap();
    assert_eq!(left.block_count(), sound.len());
    assert!(all.len() == 1000 && all.ends_with(&entries(&left)));
}

/// Each entry of a page can be read, and they lie over each other: their keys together were many
/// times the page.
#[test]
fn a_page_of_the_directory_names_no_more_than_it_can_hold() {
    const ITEMS: u16 = 396;
    let mut fixture = fixture(Compression::None);
    let (number, offset) = (fixture.meta.number, fixture.meta.bytes);
    let header = BlockHeader {
        kind: BlockKind::Directory,
        codec: Codec::None,
        flags: 0,
        stored_length: 4056,
        raw_length: 4056,
        items: u32::from(ITEMS),
        number,
        offset,
    };
    let mut page = Vec::new();
    header.encode(&mut page);
    page.resize(page.len() + 2 * usize::from(ITEMS), 0);
    (0..ITEMS).for_each(|slot| page.extend((4 * ITEMS + slot).to_le_bytes()));
    let mut random = crate::runtime::Random::new(8);
    page.resize_with(4096, || 2 * (1 + u8::try_from(random.index(50)).unwrap()));
    let checksum = checksum_seeded(FILE, number, offset, &page[4..]);
    page[..4].copy_from_slice(&checksum.to_le_bytes());
    fixture.disk.set_bytes(EXTENT_OFFSET + offset, &page);
    fixture.meta.bytes += 4096;
    fixture.meta.extent.length += 4096;
    let runs = fixture.open(ReadMode::Read).remains().unwrap().take_runs();
    assert!(runs.len() > 40, "{} runs", runs.len());
    let hostile = runs.keys().filter(|key| key.iter().all(|byte| *byte <= 100));
    let named: usize = hostile.map(|key| 12 + key.len()).sum();
    assert!(named <= 4056, "{named} bytes were named by a page");
}
