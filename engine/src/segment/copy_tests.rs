use super::format::{self, FOOTER_SIZE, RECORD_UNIT, RecordHead};
use super::tests::{FILE, Item, OFFSET, items, open, write};
use super::*;
use crate::error::{Corruption, Error, Result};
use crate::file::{Disk, Extent, ExtentWriter};
use crate::limits::{BLOCK_SIZE, OUTPUT_PIECE_BYTES};
use crate::options::ReadMode;
use crate::testing::SimDisk;
use crate::version::SegmentMeta;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A copy behind all that is on the disk; the number of its steps too.
fn copy(disk: &SimDisk, meta: &SegmentMeta, erase: &[u64]) -> Result<(SegmentMeta, usize)> {
    let from = Arc::new(open(disk, meta, ReadMode::Read));
    let offset = disk.length().unwrap().next_multiple_of(BLOCK_SIZE);
    let extent = Extent { offset, length: meta.extent.length };
    let output = ExtentWriter::unpaced(Arc::new(disk.clone()), extent);
    let mut copy = SegmentCopy::new(from, output, erase.iter().copied().collect::<BTreeSet<_>>());
    let mut steps = 1;
    while !copy.step()? {
        steps += 1;
    }
    Ok((copy.finish(extent)?, steps))
}

fn bytes_of(disk: &SimDisk, meta: &SegmentMeta) -> Vec<u8> {
    let start = usize::try_from(meta.extent.offset).unwrap();
    disk.bytes()[start..start + usize::try_from(meta.bytes).unwrap()].to_vec()
}

fn check(disk: &SimDisk, meta: &SegmentMeta, items: &[Item], erased: &[usize]) {
    let cache_name = 77;
    for mode in [ReadMode::Map, ReadMode::Read] {
        let segment = open(disk, meta, mode).replacement(meta.clone(), cache_name, None);
        let (damage, places) = segment.verify_all();
        assert!(damage.is_empty() && places.whole, "{damage:?}");
        assert_eq!(places.erased, erased.len() as u64);
        for _ in 0..2 {
            for (index, (item, offset)) in items.iter().zip(places.offsets()).enumerate() {
                let record = segment.record(Reference::new(9, offset)).unwrap();
                assert_eq!(record.is_erased(), erased.contains(&index));
                if !record.is_erased() {
                    item.assert_is(&record);
                    continue;
                }
                assert_eq!(record.payload().len(), 0);
                let shared = (item.event_ms, item.record().origin);
                assert_eq!(record.shared().unwrap(), shared);
            }
        }
    }
}

#[test]
fn a_copy_is_the_same_bytes_in_another_place() {
    let mut items = items(200);
    items[3].payload = vec![5; 3 * OUTPUT_PIECE_BYTES + 7];
    let (disk, meta, _) = write(&items);
    let (copied, steps) = copy(&disk, &meta, &[]).unwrap();
    assert!(steps >= 2, "{steps} steps");
    assert!(bytes_of(&disk, &copied) == bytes_of(&disk, &meta));
    assert_eq!(copied, SegmentMeta { extent: copied.extent, ..meta });
    check(&disk, &copied, &items, &[]);
}

#[test]
fn erased_records_keep_their_room_and_all_others_their_bytes() {
    let items = items(60);
    let (disk, meta, references) = write(&items);
    // A long one, the last, and two neighbours.
    let erased = [9, 20, 21, 59];
    let erase: Vec<u64> = erased.iter().map(|index| references[*index].offset()).collect();
    let (first, _) = copy(&disk, &meta, &erase[..2]).unwrap();
    check(&disk, &first, &items, &erased[..2]);
    assert_ne!(first.footer_checksum, meta.footer_checksum);
    // A copy of the copy: one of them is erased already.
    let (second, _) = copy(&disk, &first, &erase[1..]).unwrap();
    check(&disk, &second, &items, &erased);
    let (old, new) = (bytes_of(&disk, &meta), bytes_of(&disk, &second));
    for (index, reference) in references.iter().enumerate() {
        let start = usize::try_from(reference.offset()).unwrap();
        let end = start + record_size(&items[index].record());
        assert_eq!(old[start..end] == new[start..end], !erased.contains(&index));
    }
    let payload = &items[9].payload[..];
    assert!(old.windows(payload.len()).any(|found| found == payload));
    assert!(!new.windows(payload.len()).any(|found| found == payload));
    // The old one is as it was.
    check(&disk, &meta, &items, &[]);
}

#[test]
fn golden_bytes_of_an_erased_record() {
    let item =
        Item { event_ms: Some(-2), origin: Some((b"room".to_vec(), 5)), payload: b"hi".to_vec() };
    let (disk, meta, _) = write(&[item]);
    let (erased, _) = copy(&disk, &meta, &[0]).unwrap();
    let bytes = bytes_of(&disk, &erased);
    let (record, footer) = bytes.split_at(48);
    let expected = [
        &[2, 0, 0, 0, 7, 0, 4, 0][..],
        &(-2i64).to_le_bytes(),
        &[18, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0],
        b"room",
        &[0; 12],
    ];
    assert_eq!(record[4..], expected.concat());
    // Footer: one record, two bytes of payload, one erased.
    assert_eq!(footer[24..40], [1u64, 2].map(u64::to_le_bytes).concat());
    assert_eq!(footer[48..64], [1u64, 0].map(u64::to_le_bytes).concat());
    let sum = crate::codec::checksum_seeded(FILE, 9, 0, &record[4..38]);
    assert_eq!(record[..4], sum.to_le_bytes());
}

/// Whatever bit is flipped, the copy is refused with a place in the segment.
#[test]
fn no_damage_is_copied() {
    let items = items(6);
    let (disk, meta, references) = write(&items);
    for at in 0..meta.bytes {
        disk.flip_bit(OFFSET + at, u32::try_from(at % 8).unwrap());
        for erase in [&[][..], &[references[2].offset()]] {
            let copied = copy(&disk.copied(), &meta, erase);
            let Err(Error::Corruption(Corruption { offset, .. })) = copied else {
                panic!("byte {at}: {copied:?}");
            };
            assert!((OFFSET..=OFFSET + at).contains(&offset), "byte {at}: {offset}");
        }
        disk.flip_bit(OFFSET + at, u32::try_from(at % 8).unwrap());
    }
    // A segment that is said to be shorter than a footer, or to lie behind the end of the file.
    let short = SegmentMeta { bytes: FOOTER_SIZE as u64 - 1, ..meta.clone() };
    let extent = Extent { offset: 1 << 40, length: meta.extent.length };
    let outside = SegmentMeta { extent, ..meta };
    for meta in [short, outside] {
        assert!(matches!(copy(&disk, &meta, &[]), Err(Error::Corruption(_))));
    }
}

#[test]
fn what_is_to_be_erased_must_be_there() {
    let items = items(6);
    let (disk, meta, references) = write(&items);
    let between = references[2].offset() - RECORD_UNIT as u64;
    let places = [between, meta.bytes, 1 << 40];
    for offset in places.into_iter().filter(|offset| *offset != references[1].offset()) {
        assert!(matches!(copy(&disk, &meta, &[offset]), Err(Error::InvalidUse { .. })));
    }
}

#[test]
fn an_erased_record_with_a_payload_is_refused() {
    let items = items(3);
    let mut bytes = Vec::new();
    format::encode_record(FILE, 9, 0, &items[1].record(), &mut bytes);
    let length = RecordHead::decode(&bytes).unwrap().length();
    assert!(length > 20);
    bytes.truncate(length);
    let head = format::erase_record(FILE, 9, 0, &mut bytes);
    assert_eq!(format::verify_record(FILE, 9, 0, &bytes), Ok(head));
    *bytes.last_mut().unwrap() = 1;
    let sum = crate::codec::checksum_seeded(FILE, 9, 0, &bytes[4..]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    assert!(format::verify_record(FILE, 9, 0, &bytes).is_err());
}
