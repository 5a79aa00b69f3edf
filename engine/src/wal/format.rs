//! Bytes of a group of the ring: one header, then frames, then zeros up to the disk's alignment.
//!
//! ```text
//! offset  size  field            notes
//!      0     4  header checksum  CRC-32 of bytes 4..96, seeded with (file id, salt, lsn)
//!      4     4  body checksum    CRC-32 of bytes 96..length, seeded likewise
//!      8     4  magic            "TWAL"
//!     12     1  version          1
//!     13     1  alignment        log2 of the alignment the group is padded to: 9..=12
//!     14     2  reserved         zero, checked
//!     16     4  length           bytes of header and frames, without the padding
//!     20     4  frame count      at least 1
//!     24     8  lsn              the group's own logical position
//!     32     8  salt             of this opening of the file
//!     40     8  synced lsn       everything before it was on the disk; at most lsn
//!     48     8  first commit     commit number of the first frame; the others count on
//!     56     8  time             commit time, milliseconds since 1970 (UTC)
//!     64     4  previous         header checksum of the group before
//!     68    28  reserved         zero, checked; for an authentication tag and its key number
//!     96     .  frames           each: u32 body length | u8 kind | 3 reserved zero bytes | body
//! ```
//!
//! A header is valid if and only if (1) magic, salt and lsn are those of its place, (2) the header
//! checksum holds, (3) version, alignment, lengths, counts and reserved bytes are as above.
//! A group is valid if and only if (1) its header is, (2) `previous` is the header checksum of the
//! group before, (3) the body checksum holds, (4) the frames fill `length` exactly.
//!
//! Why two checksums: a header that verifies by itself tells how much to read before anything is
//! read, and lets the look-ahead behind the end of the log hash 96 bytes a step, never a body.

use crate::codec::{DecodeError, Decoder, checksum_seeded, round_up};
use crate::error::Error;
use crate::file::FileId;

/// Bytes of a group's header.
pub(crate) const HEADER_SIZE: usize = 96;
/// Bytes in front of each frame's body.
pub(crate) const FRAME_HEADER_SIZE: usize = 8;
/// Kind of a frame that holds the body of one batch.
pub(crate) const FRAME_BATCH: u8 = 1;
/// Groups start on multiples of this at least, and a header never crosses one.
pub(super) const GROUP_STEP: u64 = 1 << ALIGNMENT_SHIFT_MIN;

const MAGIC: [u8; 4] = *b"TWAL";
const VERSION: u8 = 1;
const ALIGNMENT_SHIFT_MIN: u8 = 9;
const ALIGNMENT_SHIFT_MAX: u8 = 12;
/// A group holds at least one frame, if an empty one.
const LENGTH_MIN: u32 = 104;

const _: () = assert!(HEADER_SIZE as u64 <= GROUP_STEP);
const _: () = assert!(LENGTH_MIN as usize == HEADER_SIZE + FRAME_HEADER_SIZE);

/// Which log a group belongs to: one opening of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogId {
    pub(super) file: FileId,
    pub(super) salt: u64,
}

/// The fields of a header that are not known from its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) body_checksum: u32,
    pub(super) alignment_shift: u8,
    pub(super) length: u32,
    pub(super) frame_count: u32,
    pub(super) lsn: u64,
    pub(super) synced_lsn: u64,
    pub(super) first_commit: u64,
    pub(super) time_ms: u64,
    pub(super) previous: u32,
}

/// Why there is no valid header at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// Magic, salt or lsn are those of something else: nothing was written here by this log.
    Absent,
    /// A header of this place, but its checksum does not hold.
    Checksum,
    /// The checksum holds, and the fields make no sense: no writer wrote this.
    Malformed(DecodeError),
    /// The checksum holds, the version is a later one.
    Version(u8),
}

impl Header {
    /// The header's bytes. The first four are the checksum that the next group repeats.
    pub(super) fn encode(&self, log: &LogId) -> [u8; HEADER_SIZE] {
        let mut bytes = [0u8; HEADER_SIZE];
        let mut put = |offset: usize, field: &[u8]| {
            bytes[offset..offset + field.len()].copy_from_slice(field);
        };
        put(4, &self.body_checksum.to_le_bytes());
        put(8, &MAGIC);
        put(12, &[VERSION, self.alignment_shift]);
        put(16, &self.length.to_le_bytes());
        put(20, &self.frame_count.to_le_bytes());
        put(24, &self.lsn.to_le_bytes());
        put(32, &log.salt.to_le_bytes());
        put(40, &self.synced_lsn.to_le_bytes());
        put(48, &self.first_commit.to_le_bytes());
        put(56, &self.time_ms.to_le_bytes());
        put(64, &self.previous.to_le_bytes());
        let checksum = checksum_seeded(log.file, log.salt, self.lsn, &bytes[4..]);
        bytes[..4].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the header of the group at `lsn`. The cheap fields come first: the look-ahead asks at
    /// every step of the ring.
    pub(super) fn decode(
        bytes: &[u8; HEADER_SIZE],
        log: &LogId,
        lsn: u64,
    ) -> Result<Header, HeaderFault> {
        let ours = bytes[8..12] == MAGIC
            && bytes[24..32] == lsn.to_le_bytes()
            && bytes[32..40] == log.salt.to_le_bytes();
        if !ours {
            return Err(HeaderFault::Absent);
        }
        let checksum = checksum_seeded(log.file, log.salt, lsn, &bytes[4..]);
        if bytes[..4] != checksum.to_le_bytes() {
            return Err(HeaderFault::Checksum);
        }
        if bytes[12] != VERSION {
            return Err(HeaderFault::Version(bytes[12]));
        }
        Header::decode_fields(bytes).map_err(HeaderFault::Malformed)
    }

    /// The fields behind a checksum that holds. They are still checked one by one: whoever can
    /// compute a CRC can write one.
    fn decode_fields(bytes: &[u8; HEADER_SIZE]) -> Result<Header, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        decoder.u32("header checksum")?;
        let body_checksum = decoder.u32("body checksum")?;
        decoder.u32("magic")?;
        decoder.u8("version")?;
        let bad_alignment = decoder.error("alignment");
        let alignment_shift = decoder.u8("alignment")?;
        if !(ALIGNMENT_SHIFT_MIN..=ALIGNMENT_SHIFT_MAX).contains(&alignment_shift) {
            return Err(bad_alignment);
        }
        decoder.zeros(2, "reserved bytes")?;
        let bad_length = decoder.error("length");
        let length = decoder.u32("length")?;
        if length < LENGTH_MIN {
            return Err(bad_length);
        }
        let bad_count = decoder.error("frame count");
        let frame_count = decoder.u32("frame count")?;
        if frame_count == 0 {
            return Err(bad_count);
        }
        let lsn = decoder.u64("lsn")?;
        decoder.u64("salt")?;
        let bad_synced = decoder.error("synced lsn");
        let synced_lsn = decoder.u64("synced lsn")?;
        if synced_lsn > lsn {
            return Err(bad_synced);
        }
        let bad_commit = decoder.error("first commit");
        let first_commit = decoder.u64("first commit")?;
        if first_commit.checked_add(u64::from(frame_count)).is_none() {
            return Err(bad_commit);
        }
        let time_ms = decoder.u64("time")?;
        let previous = decoder.u32("previous checksum")?;
        decoder.zeros(decoder.remaining(), "reserved bytes")?;
        Ok(Header {
            body_checksum,
            alignment_shift,
            length,
            frame_count,
            lsn,
            synced_lsn,
            first_commit,
            time_ms,
            previous,
        })
    }

    /// Bytes the group takes in the ring, padding included.
    pub(super) fn padded_length(&self) -> u64 {
        round_up(u64::from(self.length), 1 << self.alignment_shift)
    }

    /// Whether `body`, the bytes behind the header, is what the header was written for.
    pub(super) fn body_holds(&self, log: &LogId, body: &[u8]) -> bool {
        body_checksum(log, self.lsn, body) == self.body_checksum
    }
}

/// The checksum of a group's frames.
pub(super) fn body_checksum(log: &LogId, lsn: u64, body: &[u8]) -> u32 {
    checksum_seeded(log.file, log.salt, lsn, body)
}

/// The header checksum of an encoded group.
pub(super) fn group_checksum(header: &[u8; HEADER_SIZE]) -> u32 {
    u32::from_le_bytes([header[0], header[1], header[2], header[3]])
}

/// The alignment as the header holds it.
pub(super) fn alignment_shift(alignment: usize) -> u8 {
    assert!(alignment.is_power_of_two(), "the disk's alignment is a power of two");
    let shift = u8::try_from(alignment.trailing_zeros()).expect("below 64");
    assert!((ALIGNMENT_SHIFT_MIN..=ALIGNMENT_SHIFT_MAX).contains(&shift));
    shift
}

/// The bytes in front of a frame's body.
pub(super) fn frame_header(body_length: usize, kind: u8) -> [u8; FRAME_HEADER_SIZE] {
    let length = u32::try_from(body_length).expect("a batch is far below 4 GiB");
    let mut bytes = [0u8; FRAME_HEADER_SIZE];
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4] = kind;
    bytes
}

/// The frames of a group in order: kind and body. Checked as a whole before the first is given out.
#[derive(Debug, Clone)]
pub(crate) struct Frames<'a>(Decoder<'a>);

/// Why the frames of a group whose checksum holds cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameFault {
    /// They do not fill the group, or hold nonsense.
    Malformed(DecodeError),
    /// A later kind. Skipping it would lose a commit.
    Kind(u8),
}

impl From<DecodeError> for FrameFault {
    fn from(error: DecodeError) -> FrameFault {
        FrameFault::Malformed(error)
    }
}

impl<'a> Frames<'a> {
    /// Checks that `count` frames of a known kind fill `body`.
    pub(super) fn check(body: &'a [u8], count: u32) -> Result<Frames<'a>, FrameFault> {
        let mut decoder = Decoder::new(body);
        for _ in 0..count {
            let (kind, _) = decode_frame(&mut decoder)?;
            match kind {
                FRAME_BATCH => {}
                0 => return Err(decoder.error("frame kind").into()),
                later => return Err(FrameFault::Kind(later)),
            }
        }
        if !decoder.is_empty() {
            return Err(decoder.error("bytes behind the last frame").into());
        }
        Ok(Frames(Decoder::new(body)))
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        if self.0.is_empty() {
            return None;
        }
        Some(decode_frame(&mut self.0).expect("all frames were decoded once by `check`"))
    }
}

fn decode_frame<'a>(decoder: &mut Decoder<'a>) -> Result<(u8, &'a [u8]), DecodeError> {
    let bad_length = decoder.error("frame length");
    let length = usize::try_from(decoder.u32("frame length")?).map_err(|_| bad_length)?;
    let kind = decoder.u8("frame kind")?;
    decoder.zeros(3, "reserved bytes of a frame")?;
    Ok((kind, decoder.take(length, "frame body")?))
}

/// The error for a structure that a later version wrote.
pub(super) fn unsupported(what: &str, value: u64, lsn: u64) -> Error {
    Error::Unsupported { what: format!("{what} {value} in the WAL at lsn {lsn}") }
}
