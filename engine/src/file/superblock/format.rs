//! Bytes of one superblock copy. Little-endian; everything named is in the first 512 bytes, one
//! sector of any device, so that no torn write can mix two updates unseen.
//!
//! ```text
//! offset  size  field                 notes
//!      0     8  magic                 "Tidelog" and a zero byte
//!      8     4  checksum              CRC-32 of bytes 16..4096
//!     12     4  copy                  0..=3, index of this copy; outside the checksum
//!     16     8  sequence              1 or more
//!     24    16  file id               random
//!     40     8  incarnation
//!     48     4  format version        0
//!     52     4  reserved              zero, checked
//!     56     8  compatible            features that may be ignored
//!     64     8  read-only compatible  features that must be known for writing
//!     72     8  incompatible          features that must be known for reading
//!     80     8  file length           bytes
//!     88    16  ring                  offset u64, length u64
//!    104    16  manifest extent       offset u64, length u64
//!    120     8  manifest length       bytes in use
//!    128     4  manifest checksum     of the last record
//!    132     4  WAL previous          checksum of the group before the head
//!    136     8  WAL lsn               of the head
//!    144     8  WAL salt
//!    152     8  synced lsn
//!    160     8  commit                last commit before the head
//!    168     8  clock high water      ms since 1970
//!    176     8  created               ms since 1970
//!    184     4  flags                 1 clean, 2 unsynced; others zero, checked
//!    188     4  reserved              zero, checked
//!    192    32  identity              device u64, inode u64, boot id of 16 bytes
//!    224     4  encryption flags      reserved: zero, checked
//!    228     4  reserved              zero, checked
//!    232    16  encryption key id     reserved: zero, checked
//!    248    16  cold file id          zero where there is none
//!    264     8  cold file generation  0 if and only if there is none
//!    272  3824  reserved              zero, checked
//! ```
//!
//! A copy is valid if and only if: (1) the magic is there; (2) the checksum is that of bytes
//! 16..4096; (3) the copy index is that of its place; (4) version and incompatible features are
//! known, otherwise it is *unsupported*, whatever follows; (5) reserved bytes and unknown flags are
//! zero; (6) the sequence is 1 or more; ring, manifest and file length are multiples of 4,096, the
//! ring is within its limits and lies behind the superblock zone, the manifest lies behind the
//! ring, both inside the file length, and the manifest length is not zero and fits its extent;
//! (7) sequence, incarnation, WAL lsn, synced lsn, commit, clock high water and cold file
//! generation are at most 2^63 - 1.
//!
//! A feature that gives reserved bytes a meaning is an incompatible one.

use super::{ManifestRef, Superblock, WalHead};
use crate::codec::{DecodeError, Decoder, Encode, checksum};
use crate::error::{Error, Result};
use crate::file::cold::ColdRef;
use crate::file::{AlignedBuffer, Extent, FileId, Identity};
use crate::limits::{
    BLOCK_SIZE, COUNTER_MAX, RING_BYTES_MAX, RING_BYTES_MIN, RING_OFFSET, SUPERBLOCK_SIZE,
};

/// First bytes of every copy.
pub(super) const MAGIC: [u8; 8] = *b"Tidelog\0";
/// The newest format that this build knows.
pub(crate) const FORMAT_VERSION: u32 = 0;
/// Features that this build must know to read, and knows.
pub(super) const INCOMPATIBLE_KNOWN: u64 = 0;
/// Features that this build must know to write, and knows.
pub(super) const READ_ONLY_COMPATIBLE_KNOWN: u64 = 0;

const CHECKSUM_OFFSET: usize = 8;
const COPY_OFFSET: usize = 12;
/// Bytes from here on are covered by the checksum, and equal in all copies of one update.
pub(super) const COVERED_OFFSET: usize = 16;
const FIELDS_END: usize = 272;
const FLAG_CLEAN: u32 = 1;
const FLAG_UNSYNCED: u32 = 2;

const _: () = assert!(FIELDS_END <= 512 && FIELDS_END <= SUPERBLOCK_SIZE);

/// The bytes of copy `copy`.
pub(super) fn encode(superblock: &Superblock, copy: usize) -> AlignedBuffer {
    let covered = encode_covered(superblock);
    let mut buffer = AlignedBuffer::with_capacity(SUPERBLOCK_SIZE);
    buffer.extend(&MAGIC);
    buffer.extend(&[0; COVERED_OFFSET - CHECKSUM_OFFSET]);
    buffer.extend(&covered);
    buffer.pad_to(SUPERBLOCK_SIZE);
    assert_eq!(COVERED_OFFSET + covered.len(), FIELDS_END);
    let bytes = buffer.as_mut_slice();
    let sum = checksum(&bytes[COVERED_OFFSET..]);
    let copy = u32::try_from(copy).expect("there are four copies");
    bytes[CHECKSUM_OFFSET..COPY_OFFSET].copy_from_slice(&sum.to_le_bytes());
    bytes[COPY_OFFSET..COVERED_OFFSET].copy_from_slice(&copy.to_le_bytes());
    buffer
}

fn encode_covered(superblock: &Superblock) -> Vec<u8> {
    let Superblock { manifest, wal, ring, identity, .. } = superblock;
    let mut bytes = Vec::with_capacity(FIELDS_END);
    bytes.put_u64(superblock.sequence);
    bytes.put(&superblock.file.0);
    bytes.put_u64(superblock.incarnation);
    bytes.put_u32(superblock.format_version);
    bytes.put_u32(0);
    bytes.put_u64(superblock.compatible);
    bytes.put_u64(superblock.read_only_compatible);
    bytes.put_u64(superblock.incompatible);
    bytes.put_u64(superblock.file_length);
    bytes.put_u64(ring.offset);
    bytes.put_u64(ring.length);
    bytes.put_u64(manifest.extent.offset);
    bytes.put_u64(manifest.extent.length);
    bytes.put_u64(manifest.length);
    bytes.put_u32(manifest.checksum);
    bytes.put_u32(wal.previous);
    bytes.put_u64(wal.lsn);
    bytes.put_u64(wal.salt);
    bytes.put_u64(superblock.synced_lsn);
    bytes.put_u64(superblock.commit);
    bytes.put_u64(superblock.clock_high_water_ms);
    bytes.put_u64(superblock.created_ms);
    let clean = if superblock.clean { FLAG_CLEAN } else { 0 };
    let unsynced = if superblock.unsynced { FLAG_UNSYNCED } else { 0 };
    bytes.put_u32(clean | unsynced);
    bytes.put_u32(0);
    bytes.put_u64(identity.device);
    bytes.put_u64(identity.inode);
    bytes.put(&identity.boot);
    // Encryption flags and key id, not in use yet.
    bytes.put(&[0; 4 + 4 + 16]);
    bytes.put(&superblock.cold.map_or([0; 16], |cold| cold.id));
    bytes.put_u64(superblock.cold.map_or(0, |cold| cold.generation));
    bytes
}

/// Rules (1) to (3): whether the bytes are what was written to this place. `Err` says why not, and
/// whether the magic is there.
pub(super) fn verify(bytes: &[u8], copy: usize) -> Result<(), (bool, String)> {
    assert_eq!(bytes.len(), SUPERBLOCK_SIZE);
    if bytes[..CHECKSUM_OFFSET] != MAGIC {
        let zero = bytes.iter().all(|byte| *byte == 0);
        let reason = if zero { "all bytes are zero" } else { "the magic is missing" };
        return Err((false, reason.to_owned()));
    }
    let mut header = Decoder::new(&bytes[CHECKSUM_OFFSET..COVERED_OFFSET]);
    let (Ok(stored), Ok(place)) = (header.u32("checksum"), header.u32("copy")) else {
        return Err((true, "the header is cut short".to_owned()));
    };
    let computed = checksum(&bytes[COVERED_OFFSET..]);
    if stored != computed {
        return Err((true, format!("checksum {stored:#010x}, its bytes have {computed:#010x}")));
    }
    if u64::from(place) != copy as u64 {
        return Err((true, format!("this is copy {place} in the place of copy {copy}")));
    }
    Ok(())
}

/// The sequence and the file id of verified bytes, which lie in the same place in every version.
pub(super) fn decode_key(bytes: &[u8]) -> (u64, FileId) {
    let mut decoder = Decoder::new(&bytes[COVERED_OFFSET..]);
    let sequence = decoder.u64("sequence").expect("a copy has 4096 bytes");
    let file = decoder.take(16, "file id").expect("a copy has 4096 bytes");
    (sequence, FileId(file.try_into().expect("16 bytes were taken")))
}

/// Rules (4) to (6), on verified bytes of a copy at `offset`.
pub(super) fn decode(bytes: &[u8], offset: u64) -> Result<Superblock> {
    let corrupt = |error: DecodeError| Error::corruption("superblock", offset, error.to_string());
    check_supported(bytes).map_err(corrupt)??;
    let superblock = decode_fields(bytes).map_err(corrupt)?;
    match check_fields(&superblock) {
        Ok(()) => Ok(superblock),
        Err(detail) => Err(Error::corruption("superblock", offset, detail)),
    }
}

fn check_supported(bytes: &[u8]) -> Result<Result<()>, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    decoder.take(48, "header")?;
    let version = decoder.u32("format version")?;
    decoder.take(4 + 8 + 8, "compatible features")?;
    let unknown = decoder.u64("incompatible features")? & !INCOMPATIBLE_KNOWN;
    if version > FORMAT_VERSION {
        let what = format!("format version {version}, this build knows up to {FORMAT_VERSION}");
        return Ok(Err(Error::Unsupported { what }));
    }
    if unknown != 0 {
        let what = format!("the features {unknown:#x} are unknown to this build");
        return Ok(Err(Error::Unsupported { what }));
    }
    Ok(Ok(()))
}

fn decode_fields(bytes: &[u8]) -> Result<Superblock, DecodeError> {
    let decoder = &mut Decoder::new(bytes);
    decoder.take(COVERED_OFFSET, "header")?;
    let sequence = decoder.u64("sequence")?;
    let file = FileId(decode_id(decoder, "file id")?);
    let incarnation = decoder.u64("incarnation")?;
    let format_version = decoder.u32("format version")?;
    decoder.zeros(4, "reserved bytes")?;
    let compatible = decoder.u64("compatible features")?;
    let read_only_compatible = decoder.u64("read-only compatible features")?;
    let incompatible = decoder.u64("incompatible features")?;
    let file_length = decoder.u64("file length")?;
    let ring = decode_extent(decoder, "ring")?;
    let extent = decode_extent(decoder, "manifest extent")?;
    let length = decoder.u64("manifest length")?;
    let manifest = ManifestRef { extent, length, checksum: decoder.u32("manifest checksum")? };
    let previous = decoder.u32("WAL previous")?;
    let lsn = decoder.u64("WAL lsn")?;
    let wal = WalHead { lsn, previous, salt: decoder.u64("WAL salt")? };
    let synced_lsn = decoder.u64("synced lsn")?;
    let commit = decoder.u64("commit")?;
    let clock_high_water_ms = decoder.u64("clock high water")?;
    let created_ms = decoder.u64("created")?;
    let unknown_flags = decoder.error("flags");
    let flags = decoder.u32("flags")?;
    if flags & !(FLAG_CLEAN | FLAG_UNSYNCED) != 0 {
        return Err(unknown_flags);
    }
    decoder.zeros(4, "reserved bytes")?;
    let (device, inode) = (decoder.u64("device")?, decoder.u64("inode")?);
    let identity = Identity { device, inode, boot: decode_id(decoder, "boot id")? };
    decoder.zeros(4 + 4 + 16, "encryption")?;
    let unknown_file = decoder.error("cold file");
    let cold = match (decode_id(decoder, "cold file id")?, decoder.u64("cold file generation")?) {
        (id, 0) if id == [0; 16] => None,
        (_, 0) => return Err(unknown_file),
        (id, generation) => Some(ColdRef { id, generation }),
    };
    decoder.zeros(decoder.remaining(), "reserved bytes")?;
    Ok(Superblock {
        sequence,
        file,
        incarnation,
        format_version,
        compatible,
        read_only_compatible,
        incompatible,
        file_length,
        ring,
        manifest,
        wal,
        synced_lsn,
        commit,
        clock_high_water_ms,
        clean: flags & FLAG_CLEAN != 0,
        unsynced: flags & FLAG_UNSYNCED != 0,
        identity,
        created_ms,
        cold,
    })
}

fn decode_id(decoder: &mut Decoder<'_>, what: &'static str) -> Result<[u8; 16], DecodeError> {
    let error = decoder.error(what);
    decoder.take(16, what)?.try_into().map_err(|_| error)
}

fn decode_extent(decoder: &mut Decoder<'_>, what: &'static str) -> Result<Extent, DecodeError> {
    Ok(Extent { offset: decoder.u64(what)?, length: decoder.u64(what)? })
}

/// Rule (6).
fn check_fields(superblock: &Superblock) -> Result<(), String> {
    let Superblock { ring, manifest, file_length, .. } = superblock;
    if superblock.sequence == 0 {
        return Err("the sequence is 0".to_owned());
    }
    let places = [ring.offset, ring.length, manifest.extent.offset, manifest.extent.length];
    let aligned = places.into_iter().chain([manifest.length, *file_length]);
    if let Some(value) = aligned.into_iter().find(|value| !value.is_multiple_of(BLOCK_SIZE)) {
        return Err(format!("{value} is not a multiple of {BLOCK_SIZE}"));
    }
    let ring_end = ring.offset.checked_add(ring.length);
    let manifest_end = manifest.extent.offset.checked_add(manifest.extent.length);
    let (Some(ring_end), Some(manifest_end)) = (ring_end, manifest_end) else {
        return Err("an extent ends behind the last offset there is".to_owned());
    };
    if ring.offset < RING_OFFSET || !(RING_BYTES_MIN..=RING_BYTES_MAX).contains(&ring.length) {
        return Err(format!("the ring of {} bytes cannot be at {}", ring.length, ring.offset));
    }
    if manifest.extent.offset < ring_end || manifest_end > *file_length {
        return Err(format!(
            "the manifest at {}..{manifest_end} is not between the ring's end {ring_end} and the \
             file's end {file_length}",
            manifest.extent.offset
        ));
    }
    if manifest.length == 0 || manifest.length > manifest.extent.length {
        return Err(format!(
            "{} bytes of manifest in an extent of {}",
            manifest.length, manifest.extent.length
        ));
    }
    Ok(())
}

/// Rule (7): every count leaves room to go on counting. Asked at an opening, not of what is about
/// to be written: a counter that was believed may be counted on.
pub(super) fn check_counters(superblock: &Superblock) -> Result<(), String> {
    let counters = [
        ("sequence", superblock.sequence),
        ("incarnation", superblock.incarnation),
        ("WAL lsn", superblock.wal.lsn),
        ("synced lsn", superblock.synced_lsn),
        ("commit", superblock.commit),
        ("clock high water", superblock.clock_high_water_ms),
        ("cold file generation", superblock.cold.map_or(0, |cold| cold.generation)),
    ];
    match counters.into_iter().find(|(_, value)| *value > COUNTER_MAX) {
        Some((name, value)) => Err(format!("the {name} is {value}, at most {COUNTER_MAX} can be")),
        None => Ok(()),
    }
}
