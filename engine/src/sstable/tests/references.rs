//! Entries whose payload lies in a segment: read, copied, damaged.

use crate::cache::{BlockCache, Source};
use crate::entry::{Direction, Entry, OriginRef, TableId};
use crate::error::Error;
use crate::file::{Extent, ExtentWriter, Pacer};
use crate::options::{Compression, ReadMode};
use crate::segment::{RecordRef, Reference, Segment, SegmentWriter, Segments};
use crate::sstable::testing::{FILE, Fixture, options};
use crate::sstable::{Builder, Depth, EntryRef, Shared, Sstable};
use crate::testing::{SimClock, SimDisk, SimOptions, SimScheduler};
use crate::version::{SegmentMeta, TableKind};
use std::sync::Arc;

const ORIGIN: OriginRef<'static> = OriginRef { table: TableId(17), key: b"room", seq: 8 };

fn payload(number: u64) -> Vec<u8> {
    format!("payload {number} ").repeat(20).into_bytes()
}

/// Two segments, numbers 5 and 6, of 20 records each.
fn segments() -> (SimDisk, Vec<SegmentMeta>, Vec<Reference>) {
    let disk = SimDisk::from_bytes(SimOptions::default(), &vec![0; 1 << 18]);
    let clock = SimClock::new(1);
    let scheduler = SimScheduler::new(1, clock.clone());
    let pacer = Arc::new(Pacer::new(Arc::new(clock), Arc::new(scheduler), 0));
    let (mut metas, mut references) = (Vec::new(), Vec::new());
    for number in [5, 6] {
        let extent = Extent { offset: number * 16384, length: 16384 };
        let output = ExtentWriter::new(Arc::new(disk.clone()), extent, Arc::clone(&pacer));
        let mut writer = SegmentWriter::new(output, FILE, number, TableId(16));
        for _ in 0..20 {
            let payload = payload(references.len() as u64);
            let record = RecordRef { event_ms: Some(4), origin: Some(ORIGIN), payload: &payload };
            references.push(writer.append(&record).unwrap());
        }
        metas.push(writer.finish(extent).unwrap());
    }
    (disk, metas, references)
}

fn open_segments(disk: &SimDisk, metas: &[SegmentMeta], mode: ReadMode) -> Segments {
    Segments::new(metas.iter().map(|meta| {
        let cache = Arc::new(BlockCache::new(1 << 16));
        let source = Source {
            disk: Arc::new(disk.clone()),
            file: FILE,
            mode,
            cache,
            around: Arc::default(),
            unpacking: Arc::default(),
        };
        Arc::new(Segment::new(meta.clone(), source, None))
    }))
}

/// Entry `number` of `key`: every third inline, the first of a key is the origin.
fn append(builder: &mut Builder<Vec<u8>>, references: &[Reference], key: &[u8]) {
    for (number, reference) in (0u64..).zip(references) {
        let own = payload(number);
        let shared = Shared { reference: *reference, is_origin: number == 0 };
        let entry = EntryRef {
            seq: number + 1,
            commit: number + 10,
            time_ms: number + 100,
            ttl_ms: None,
            event_ms: (number % 3 == 2).then_some(9),
            origin: None,
            payload: if number % 3 == 1 { &own } else { &[] },
            shared: (number % 3 != 1).then_some(shared),
            erased: false,
        };
        builder.append(key, &entry).unwrap();
    }
}

fn check(entry: &Entry) {
    let number = entry.seq - 1;
    assert_eq!(*entry.payload, payload(number)[..]);
    let event = [Some(4), None, Some(9)][usize::try_from(number % 3).unwrap()];
    assert_eq!(entry.event_ms, event, "its own, or that of the record");
    let origin = (number % 3 != 1 && number > 0).then(|| ORIGIN.to_origin());
    assert_eq!(entry.origin, origin, "entry {number}");
}

fn read(sstable: &Arc<Sstable>, key: &[u8], direction: Direction) -> Vec<Result<Entry, Error>> {
    let run = sstable.find(key).unwrap().unwrap();
    let start = if direction == Direction::Forward { 0 } else { run.count - 1 };
    let mut entries = Vec::new();
    for step in 0..run.count {
        let index = if direction == Direction::Forward { start + step } else { start - step };
        let mut cursor = sstable.walk(key, &run, index, direction).unwrap();
        entries.push(cursor.next().map(|entry| entry.expect("it is inside the run")));
    }
    entries
}

#[test]
fn shared_payloads_are_read_both_ways_in_both_modes_and_after_copying() {
    let (disk, metas, references) = segments();
    for (compression, target) in [(Compression::None, 16 << 10), (Compression::Lz4, 300)] {
        let options = options(TableKind::Timeline, compression);
        let fixture = Fixture::build(options, target, |builder| {
            append(builder, &references, b"alice");
            append(builder, &references[..20], b"bob");
            Ok(())
        })
        .unwrap();
        assert_eq!(*fixture.meta.segments, [5, 6]);
        let inline: usize = (0..40).filter(|n| n % 3 == 1).map(|n| payload(n).len()).sum();
        assert!(fixture.meta.payload_bytes >= inline as u64, "shared bytes are the segment's");
        let source = fixture.open(ReadMode::Read);
        let copied = Fixture::build(options, target, |builder| {
            let mut fragments = source.fragments(None)?;
            while let Some(fragment) = fragments.next()? {
                if fragment.view().key() == b"bob" {
                    builder.append_fragment(&fragment.view())?;
                }
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(*copied.meta.segments, [5], "exactly what its entries need");
        for (fixture, key) in [(&fixture, &b"alice"[..]), (&fixture, b"bob"), (&copied, b"bob")] {
            for mode in [ReadMode::Map, ReadMode::Read] {
                let sstable = fixture.open_with(mode, open_segments(&disk, &metas, mode));
                assert_eq!(sstable.verify(), []);
                for direction in [Direction::Forward, Direction::Backward] {
                    read(&sstable, key, direction).into_iter().for_each(|e| check(&e.unwrap()));
                }
            }
        }
    }
}

#[test]
fn damage_of_a_segment_harms_only_who_needs_it() {
    let (disk, metas, references) = segments();
    let options = options(TableKind::Timeline, Compression::None);
    let fixture = Fixture::build(options, 16 << 10, |builder| {
        append(builder, &references, b"alice");
        Ok(())
    })
    .unwrap();
    let victim = references[21];
    disk.flip_bit(metas[1].extent.offset + victim.offset() + 40, 3);
    for mode in [ReadMode::Map, ReadMode::Read] {
        let sstable = fixture.open_with(mode, open_segments(&disk, &metas, mode));
        for (number, entry) in read(&sstable, b"alice", Direction::Forward).iter().enumerate() {
            match entry {
                Ok(entry) => check(entry),
                Err(Error::Corruption(corruption)) => {
                    assert_eq!(number, 21);
                    assert_eq!(corruption.offset, metas[1].extent.offset + victim.offset());
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(read(&sstable, b"alice", Direction::Forward)[21].is_err());
    }
    // A reference to a segment that the manifest does not list for the SSTable.
    let sstable = fixture.open_with(ReadMode::Read, Segments::default());
    let entries = read(&sstable, b"alice", Direction::Forward);
    assert!(matches!(entries[0], Err(Error::Corruption(_))));
    assert!(entries[1].is_ok());
}

/// The manifest's list is a set of segments, and it is compared with the entries.
#[test]
fn verification_compares_the_segments_of_the_manifest() {
    let (_, _, references) = segments();
    let options = options(TableKind::Timeline, Compression::None);
    let mut fixture = Fixture::build(options, 16 << 10, |builder| {
        append(builder, &references, b"alice");
        Ok(())
    })
    .unwrap();
    assert_eq!(fixture.open(ReadMode::Read).verify(), []);
    let refuse = |reference| (reference == references[6]).then(|| "gone".to_owned());
    let refused = fixture.open(ReadMode::Read).verify_with(Depth::Lookups, &refuse);
    assert_eq!(refused.len(), 1);
    fixture.meta.segments = [5, 6, 7].into();
    assert_eq!(fixture.open(ReadMode::Read).verify().len(), 1);
}
