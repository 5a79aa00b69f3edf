use super::format::{self, RECORD_UNIT};
use super::*;
use crate::cache::{BlockCache, Source};
use crate::entry::{OriginRef, TableId};
use crate::error::{Corruption, Error};
use crate::file::{Allocator, Disk, Extent, ExtentGuard, ExtentWriter, FileId, Pacer};
use crate::limits::BLOCK_SIZE;
use crate::options::ReadMode;
use crate::testing::{Random, SimClock, SimDisk, SimOptions, SimScheduler};
use crate::version::SegmentMeta;
use std::sync::Arc;

pub(super) const FILE: FileId = FileId([7; 16]);
pub(super) const OFFSET: u64 = 3 * BLOCK_SIZE;

/// A record as a test keeps it.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) event_ms: Option<i64>,
    pub(super) origin: Option<(Vec<u8>, u64)>,
    pub(super) payload: Vec<u8>,
}

impl Item {
    pub(super) fn record(&self) -> RecordRef<'_> {
        let origin =
            self.origin.as_ref().map(|(key, seq)| OriginRef { table: TableId(18), key, seq: *seq });
        RecordRef { event_ms: self.event_ms, origin, payload: &self.payload }
    }

    pub(super) fn assert_is(&self, record: &Record) {
        let (event_ms, origin) = record.shared().unwrap();
        assert_eq!((event_ms, origin), (self.event_ms, self.record().origin));
        assert!(*record.payload() == self.payload[..]);
    }
}

pub(super) fn items(count: usize) -> Vec<Item> {
    let mut random = Random::new(4);
    (0..count)
        .map(|number| {
            let length = if number % 50 == 9 { 20_000 } else { random.index(300) };
            let mut payload = vec![0; length];
            random.fill(&mut payload);
            let key = vec![b'k'; 1 + random.index(40)];
            Item {
                event_ms: random.chance(1, 2).then_some(-3),
                origin: random.chance(1, 2).then_some((key, number as u64)),
                payload,
            }
        })
        .collect()
}

/// A segment on a disk of `0xee`, and the references of its records.
pub(super) fn write(items: &[Item]) -> (SimDisk, SegmentMeta, Vec<Reference>) {
    let disk = SimDisk::from_bytes(SimOptions::default(), &vec![0xee; 1 << 20]);
    let size: usize = items.iter().map(|item| record_size(&item.record())).sum();
    let length = (size + FOOTER_SIZE).next_multiple_of(4096) as u64;
    let extent = Extent { offset: OFFSET, length };
    let clock = SimClock::new(1);
    let scheduler = SimScheduler::new(1, clock.clone());
    let pacer = Pacer::new(Arc::new(clock), Arc::new(scheduler), 0);
    let output = ExtentWriter::new(Arc::new(disk.clone()), extent, Arc::new(pacer));
    let mut writer = SegmentWriter::new(output, FILE, 9, TableId(16));
    let references = items.iter().map(|item| writer.append(&item.record()).unwrap()).collect();
    let meta = writer.finish(extent).unwrap();
    assert_eq!(meta.bytes, (size + FOOTER_SIZE) as u64);
    (disk, meta, references)
}

pub(super) fn open(disk: &SimDisk, meta: &SegmentMeta, mode: ReadMode) -> Segment {
    let cache = Arc::new(BlockCache::new(1 << 20));
    let source = Source {
        disk: Arc::new(disk.clone()),
        file: FILE,
        mode,
        cache,
        around: Arc::default(),
        unpacking: Arc::default(),
    };
    Segment::new(meta.clone(), source, None)
}

#[test]
fn golden_bytes() {
    let items = [
        Item { event_ms: None, origin: None, payload: b"hello".to_vec() },
        Item { event_ms: Some(-2), origin: Some((b"room".to_vec(), 5)), payload: b"hi".to_vec() },
    ];
    let (disk, _, references) = write(&items);
    assert_eq!(references.iter().map(|r| r.bits()).collect::<Vec<_>>(), [9 << 24, (9 << 24) | 2]);
    let start = usize::try_from(OFFSET).unwrap();
    let bytes = &disk.bytes()[start..start + 144];
    let words: Vec<String> = bytes
        .chunks(8)
        .map(|chunk| chunk.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    assert_eq!(words.join(" "), GOLDEN);
}

const GOLDEN: &str = "47c11d2905000000 0000000068656c6c 6f00000000000000 0000000000000000 \
    9d5cc2e402000000 03000400feffffff ffffffff12000000 0500000000000000 \
    726f6f6d68690000 0000000000000000 533a71d108000000 0900000000000000 \
    5000000000000000 0200000000000000 0700000000000000 1000000092a1ae2b \
    0000000000000000 0000000000000000";

#[test]
fn every_record_is_found_in_both_modes() {
    let items = items(300);
    let (disk, meta, references) = write(&items);
    for mode in [ReadMode::Map, ReadMode::Read] {
        let segment = open(&disk, &meta, mode);
        // Twice: from the disk, and from the cache or the map that was verified.
        for _ in 0..2 {
            for (item, reference) in items.iter().zip(&references) {
                item.assert_is(&segment.record(*reference).unwrap());
            }
        }
        let (damage, places) = segment.verify_all();
        assert!(damage.is_empty() && places.whole, "{damage:?}");
        assert!(references.iter().all(|reference| places.contains(*reference)));
        let between = Reference::new(9, references[2].offset() - RECORD_UNIT as u64);
        assert_eq!(places.contains(between), between == references[1]);
    }
}

/// Story: a page was read at first, however short the record. Where the disk failed to read what
/// lies behind a short one that was an error; and the end of a salvage, which knew that the record
/// itself can be read.
#[test]
fn what_cannot_be_read_behind_a_record_harms_nobody_else() {
    let items = items(8);
    let (disk, meta, references) = write(&items);
    disk.make_unreadable(OFFSET + references[5].offset(), 1);
    let segment = open(&disk, &meta, ReadMode::Read);
    for (index, (item, reference)) in items.iter().zip(&references).enumerate() {
        match segment.record(*reference) {
            Ok(record) => item.assert_is(&record),
            Err(Error::Io { .. }) => assert_eq!(index, 5),
            Err(error) => panic!("{index}: {error}"),
        }
    }
    assert!(segment.record(references[5]).is_err());
    let needed = references.iter().map(|reference| reference.offset());
    let needed = needed.filter(|offset| *offset != references[5].offset()).collect();
    let segment = open(&disk, &meta, ReadMode::Read);
    segment.write_remains(&needed, &mut |_| Ok(())).unwrap();
}

/// Each bit of a small segment is flipped: the record that holds it is refused with its place, the
/// others are read; verification names the damage.
#[test]
fn a_flipped_bit_harms_one_record_alone() {
    let items = items(6);
    let (disk, meta, references) = write(&items);
    let data_length = meta.bytes - FOOTER_SIZE as u64;
    for at in 0..meta.bytes {
        disk.flip_bit(OFFSET + at, u32::try_from(at % 8).unwrap());
        for mode in [ReadMode::Map, ReadMode::Read] {
            let segment = open(&disk, &meta, mode);
            for (index, (item, reference)) in items.iter().zip(&references).enumerate() {
                let start = reference.offset();
                let end = start + item_bytes(item);
                match segment.record(*reference) {
                    Ok(record) => {
                        assert!(!(start..end).contains(&at), "byte {at} of record {index}");
                        item.assert_is(&record);
                    }
                    Err(Error::Corruption(Corruption { offset, .. })) => {
                        assert!((start..end).contains(&at), "byte {at} harms record {index}");
                        assert_eq!(offset, OFFSET + start);
                    }
                    Err(error) => panic!("byte {at}: {error}"),
                }
            }
            let (damage, _) = segment.verify_all();
            assert!(!damage.is_empty(), "byte {at} of {data_length} is not noticed");
        }
        disk.flip_bit(OFFSET + at, u32::try_from(at % 8).unwrap());
    }
}

/// Bytes of a record without its padding, which no reader looks at.
fn item_bytes(item: &Item) -> u64 {
    let mut out = Vec::new();
    format::encode_record(FILE, 9, 0, &item.record(), &mut out);
    let padding = record_padding(&out);
    (out.len() - padding) as u64
}

fn record_padding(padded: &[u8]) -> usize {
    let head = format::RecordHead::decode(padded).unwrap();
    padded.len() - head.length()
}

#[test]
fn hostile_references_are_refused() {
    let items = items(20);
    let (disk, meta, references) = write(&items);
    for mode in [ReadMode::Map, ReadMode::Read] {
        let segment = open(&disk, &meta, mode);
        for unit in 0..1 << 12 {
            let reference = Reference::new(9, unit * RECORD_UNIT as u64);
            let found = segment.record(reference);
            match references.iter().position(|known| *known == reference) {
                Some(index) => items[index].assert_is(&found.unwrap()),
                None => assert!(matches!(found, Err(Error::Corruption(_))), "unit {unit}"),
            }
        }
        let last = Reference::new(9, crate::limits::SEGMENT_BYTES_MAX - RECORD_UNIT as u64);
        assert!(matches!(segment.record(last), Err(Error::Corruption(_))));
    }
    // Right bytes under another number, or of another file, are not believed.
    let stranger = SegmentMeta { number: 10, ..meta.clone() };
    let reference = Reference::new(10, references[3].offset());
    for mode in [ReadMode::Map, ReadMode::Read] {
        assert!(matches!(
            open(&disk, &stranger, mode).record(reference),
            Err(Error::Corruption(_))
        ));
    }
    // A segment that the manifest places behind the end of the file.
    let extent = Extent { offset: (1 << 20) - BLOCK_SIZE, length: 1 << 20 };
    let outside = SegmentMeta { extent, bytes: 1 << 19, ..meta };
    for mode in [ReadMode::Map, ReadMode::Read] {
        let found = open(&disk, &outside, mode).record(Reference::new(9, 1 << 18));
        assert!(matches!(found, Err(Error::Corruption(_) | Error::Io { .. })));
    }
}

#[test]
fn references_carry_number_and_place() {
    for (number, offset) in [(1, 0), (77, 16), ((1 << 40) - 1, (1 << 28) - 16)] {
        let reference = Reference::new(number, offset);
        assert_eq!((reference.number(), reference.offset()), (number, offset));
        assert_eq!(Reference::from_bits(reference.bits()), Some(reference));
    }
    assert_eq!(Reference::from_bits((1 << 24) - 1), None);
}

/// The extent of a segment that the manifest has dropped is kept while anybody holds the segment,
/// an SSTable that lists it, or a payload in its map.
#[test]
fn a_payload_keeps_the_extent_of_its_segment() {
    let items = items(3);
    let (disk, meta, references) = write(&items);
    let shared: Arc<dyn Disk> = Arc::new(disk);
    let allocator =
        Arc::new(Allocator::new(Arc::clone(&shared), 0, 1 << 20, &[meta.extent]).unwrap());
    let guard = Arc::new(ExtentGuard::new(meta.extent, Arc::clone(&allocator)));
    let cache = Arc::new(BlockCache::new(0));
    let source = Source {
        disk: shared,
        file: FILE,
        mode: ReadMode::Map,
        cache,
        around: Arc::default(),
        unpacking: Arc::default(),
    };
    let segment = Arc::new(Segment::new(meta.clone(), source, Some(guard)));
    let set = Segments::new([Arc::clone(&segment), Arc::clone(&segment)]);
    assert_eq!(set.iter().count(), 1);
    assert_eq!(set.select(&[9, 10]).err(), Some(10));
    for (from, found) in [(0, true), (9, true), (10, false)] {
        assert_eq!(set.first_from(from).is_some(), found, "{from}");
    }
    let payload = segment.record(references[1]).unwrap().payload();
    segment.mark_obsolete(1);
    allocator.durable(3);
    let free = allocator.free_bytes();
    drop(segment);
    drop(set);
    assert_eq!(allocator.free_bytes(), free);
    assert!(*payload == items[1].payload[..]);
    drop(payload);
    assert_eq!(allocator.free_bytes(), free + meta.extent.length);
}

/// The walk ended at the first damaged record: rot behind it was found only once that was mended.
#[test]
fn verification_goes_on_behind_damaged_records() {
    let items = items(300);
    let (disk, meta, references) = write(&items);
    let at = |index: usize| OFFSET + references[index].offset();
    // A payload, a length that leaves the segment, two neighbours as one stretch, and the last.
    let damaged = [at(9) + 5_000, at(50) + 5, at(120) + 12, at(121) + 12, at(299) + 13];
    for place in damaged {
        disk.flip_bit(place, 6);
    }
    let (damage, places) = open(&disk, &meta, ReadMode::Read).verify_all();
    let offsets: Vec<u64> = damage.iter().map(|damage| damage.offset).collect();
    assert_eq!(offsets, [at(9), at(50), at(120), at(299)]);
    assert!(!places.whole);
    let found: Vec<u64> = places.offsets().collect();
    let lost = [9, 50, 120, 121, 299];
    let sound =
        (0..300).filter(|index| !lost.contains(index)).map(|index| references[index].offset());
    assert_eq!(found, sound.collect::<Vec<_>>());
}

/// Story: at every other record a head says a length that can be. The segment was read once for
/// each of them, which is the square of its length.
#[test]
fn lengths_that_can_be_one_by_one_cost_little_more_than_the_segment() {
    let plain = |payload: Vec<u8>| Item { event_ms: None, origin: None, payload };
    let mut items: Vec<Item> = (0..1200).map(|_| plain(vec![7; 4])).collect();
    items.push(plain(vec![0xff; 512 * 1024]));
    let (disk, meta, references) = write(&items);
    for reference in references[..1200].iter().step_by(2) {
        disk.set_bytes(OFFSET + reference.offset() + 4, &400_000_u32.to_le_bytes());
    }
    let before = disk.counts().read_bytes;
    let (damage, places) = open(&disk, &meta, ReadMode::Read).verify_all();
    let read = disk.counts().read_bytes - before;
    assert!(damage.len() > 2 && !places.whole, "{} places", damage.len());
    assert!(read < 8 << 20, "{read} bytes were read");
}

/// A segment of damage has a thousand places at most that are named.
#[test]
fn damage_at_every_other_record_is_named_a_thousand_times() {
    let plain = |byte| Item { event_ms: None, origin: None, payload: vec![byte; 4] };
    let items: Vec<Item> = (0..3000).map(|_| plain(7)).collect();
    let (disk, meta, references) = write(&items);
    references.iter().step_by(2).for_each(|it| disk.flip_bit(OFFSET + it.offset() + 13, 2));
    let (damage, _) = open(&disk, &meta, ReadMode::Read).verify_all();
    assert_eq!(damage.len(), 1001);
    assert!(damage[1000].detail.contains("nothing is looked at"), "{:?}", damage[1000]);
}

#[test]
fn what_is_left_is_told_with_its_end_and_its_cost() {
    let items = items(20);
    let (disk, meta, references) = write(&items);
    disk.flip_bit(OFFSET + references[9].offset() + 5_000, 3);
    let segment = open(&disk, &meta, ReadMode::Read);
    let end = |index: usize| references[index + 1].offset();
    let bytes = |index: usize| end(index) - references[index].offset();
    let asked = |index: usize, most| segment.remaining_record(references[index].offset(), most);
    assert_eq!(asked(3, 1 << 20), (Some(end(3)), bytes(3)));
    assert_eq!(asked(3, bytes(3) - 1), (None, 12));
    assert_eq!(asked(9, 1 << 20), (None, bytes(9)));
    assert_eq!(segment.remaining_record(1 << 20, 1 << 20), (None, 0));
}
