//! A file as it is on the device: what a check reads it through.
//!
//! ```text
//! reader ─► pieces of this pass ─► pace ─► `read_past_cache_at` ─► device
//! ```
//! 1. Nothing that was read before this check began is shown: the pieces are its own, and where the
//!    system can read past its page cache it is asked to. Where it cannot, the page cache answers:
//!    [`Geometry::direct`] tells.
//! 2. Inside the range that a check has named, reads that follow each other come from pieces that
//!    are read ahead; all others read what is asked for, in whole blocks. So a pass over a
//!    structure reads little more than its bytes.
//! 3. It reads. Everything else is refused, by [`ReadOnly`].
//!
//! # Concurrency
//! One check has one. The lock guards the pieces and is never held across a read.

use super::AlignedBuffer;
use super::disk::{Disk, Geometry, Identity};
use super::read_only::{ReadOnly, Reads};
use super::read_pace::ReadPace;
use crate::limits::BLOCK_SIZE;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use std::io;
use std::ops::Range;

/// Pieces that are kept: data, index, directory and filter are each read front to back.
const PIECES: usize = 4;

/// See the module.
pub(crate) type FreshDisk = ReadOnly<Fresh>;

/// How it reads.
pub(crate) struct Fresh {
    inner: Arc<dyn Disk>,
    pace: Arc<ReadPace>,
    /// Reads do not wait for the pace now.
    hurried: AtomicBool,
    state: Mutex<Pieces>,
}

#[derive(Default)]
struct Pieces {
    /// Where may be read ahead.
    range: Range<u64>,
    pieces: Vec<Piece>,
    /// The next one to be replaced.
    hand: usize,
}

struct Piece {
    start: u64,
    buffer: AlignedBuffer,
}

impl Piece {
    fn end(&self) -> u64 {
        self.start + self.buffer.len() as u64
    }
}

impl FreshDisk {
    pub(crate) fn new(inner: Arc<dyn Disk>, pace: Arc<ReadPace>) -> FreshDisk {
        let (hurried, state) = (AtomicBool::new(false), Mutex::new(Pieces::default()));
        ReadOnly(Fresh { inner, pace, hurried, state })
    }

    /// The pace that it keeps.
    pub(crate) fn pace(&self) -> &ReadPace {
        &self.0.pace
    }

    /// Forgets what was read. From here on reads inside `range` may be read ahead.
    pub(crate) fn begin(&self, range: Range<u64>) {
        let range = range.start / BLOCK_SIZE * BLOCK_SIZE..range.end;
        *self.0.state.lock() = Pieces { range, ..Pieces::default() };
    }

    /// Runs something whose reads do not wait for the pace.
    pub(crate) fn hurried<T>(&self, run: impl FnOnce() -> T) -> T {
        let before = self.0.hurried.swap(true, Ordering::Relaxed);
        let outcome = run();
        self.0.hurried.store(before, Ordering::Relaxed);
        outcome
    }
}

impl Fresh {
    /// Bytes at `offset` that a piece holds.
    fn copy_held(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        let state = self.state.lock();
        let piece = state.pieces.iter().find(|it| (it.start..it.end()).contains(&offset))?;
        let from = usize::try_from(offset - piece.start).ok()?;
        let held = &piece.buffer.as_slice()[from..];
        let count = held.len().min(buffer.len());
        buffer[..count].copy_from_slice(&held[..count]);
        Some(count)
    }

    /// What to read for `length` bytes at `offset`, and which piece it takes the place of.
    fn plan(&self, offset: u64, length: u64) -> (Range<u64>, Option<usize>) {
        let state = self.state.lock();
        let start = offset / BLOCK_SIZE * BLOCK_SIZE;
        let most = self.pace.piece_bytes();
        let asked = asked_end(offset, length);
        if !state.range.contains(&offset) {
            return (start..asked.min(start + most), None);
        }
        let continued = state.pieces.iter().position(|piece| piece.end() == start);
        let ahead = continued.is_some() || start == state.range.start;
        let end = if ahead { start + most } else { asked.min(start + most) };
        let last = asked_end(state.range.end, 0);
        let place = continued.unwrap_or(state.hand);
        (start..end.min(last), Some(place))
    }

    fn read_range(&self, range: Range<u64>) -> io::Result<AlignedBuffer> {
        let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        let mut bytes = AlignedBuffer::with_capacity(length);
        bytes.pad_with_zeros(length);
        let count = self.inner.read_past_cache_at(range.start, bytes.as_mut_slice())?;
        self.pace.charge(count as u64);
        bytes.truncate(count);
        Ok(bytes)
    }

    fn keep(&self, place: usize, piece: Piece) {
        let mut state = self.state.lock();
        if state.pieces.len() < PIECES {
            // A piece that goes on leaves the one before it in its place for a while.
            state.pieces.push(piece);
            return;
        }
        state.pieces[place] = piece;
        state.hand = (place + 1) % PIECES;
    }
}

impl Reads for Fresh {
    const REFUSAL: &'static str = "a check only reads";

    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn identity(&self) -> Identity {
        self.inner.identity()
    }

    fn length(&self) -> io::Result<u64> {
        self.pace.check().map_err(io::Error::other)?;
        self.inner.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if let Some(count) = self.copy_held(offset, buffer) {
            return Ok(count);
        }
        match self.hurried.load(Ordering::Relaxed) {
            true => self.pace.check(),
            false => self.pace.wait(),
        }
        .map_err(io::Error::other)?;
        let (range, place) = self.plan(offset, buffer.len() as u64);
        let asked = range.end.min(asked_end(offset, buffer.len() as u64));
        let bytes = match self.read_range(range.clone()) {
            // What nobody has asked for yet may be what cannot be read.
            Err(_) if asked < range.end => self.read_range(range.start..asked)?,
            outcome => outcome?,
        };
        let skipped = usize::try_from(offset - range.start).map_err(io::Error::other)?;
        let held = bytes.as_slice().get(skipped..).unwrap_or_default();
        let given = held.len().min(buffer.len());
        buffer[..given].copy_from_slice(&held[..given]);
        if let Some(place) = place.filter(|_| !bytes.is_empty()) {
            self.keep(place, Piece { start: range.start, buffer: bytes });
        }
        Ok(given)
    }
}

/// Where the blocks end that hold `length` bytes at `offset`.
fn asked_end(offset: u64, length: u64) -> u64 {
    let end = offset.saturating_add(length);
    end.checked_next_multiple_of(BLOCK_SIZE).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::testing::{SimClock, SimDisk, SimOptions, SimScheduler};

    fn fresh(disk: &SimDisk, rate: u64, ended: &Arc<AtomicBool>) -> (SimClock, FreshDisk) {
        let clock = SimClock::new(7);
        let scheduler = SimScheduler::new(1, clock.clone());
        let ended = Arc::clone(ended);
        let stop = Box::new(move || match ended.load(Ordering::Relaxed) {
            true => Err(Error::Closed { what: "the test" }),
            false => Ok(()),
        });
        let time: Arc<dyn crate::runtime::Clock> = Arc::new(clock.clone());
        let pace = Arc::new(ReadPace::new(time, Arc::new(scheduler), rate, stop));
        (clock, FreshDisk::new(Arc::new(disk.clone()), pace))
    }

    fn disk() -> SimDisk {
        let bytes: Vec<u8> = (0..1 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
        SimDisk::from_bytes(SimOptions::default(), &bytes)
    }

    fn read(fresh: &FreshDisk, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        super::super::disk::read_exact_at(fresh, "test", offset, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_follows_each_other_is_read_once_and_nothing_else_is_read_ahead() {
        let (disk, ended) = (disk(), Arc::default());
        let (_, fresh) = fresh(&disk, 0, &ended);
        fresh.begin(8192..500_000);
        let all = disk.bytes();
        let mut offset = 8192;
        while offset < 500_000 {
            let length = 700.min(500_000 - offset);
            let at = usize::try_from(offset).unwrap();
            let count = usize::try_from(length).unwrap();
            assert!(read(&fresh, offset, count) == all[at..at + count]);
            offset += length;
        }
        let read_bytes = fresh.pace().bytes();
        assert!((491_808..=499_712).contains(&read_bytes), "{read_bytes}");
        // Outside the range: whole blocks of what is asked for.
        read(&fresh, 600_001, 10);
        assert_eq!(fresh.pace().bytes(), read_bytes + 4096);
    }

    #[test]
    fn what_changes_is_seen_by_the_next_look_and_an_unreadable_block_costs_no_other() {
        let (disk, ended) = (disk(), Arc::default());
        let (_, fresh) = fresh(&disk, 0, &ended);
        fresh.begin(0..65_536);
        let before = read(&fresh, 4000, 10);
        disk.flip_bit(4001, 0);
        assert_eq!(read(&fresh, 4000, 10), before, "one look sees one moment");
        fresh.begin(0..65_536);
        assert_ne!(read(&fresh, 4000, 10), before);
        disk.make_unreadable(12_288, 100);
        fresh.begin(0..65_536);
        read(&fresh, 0, 12_288);
        assert!(fresh.read_at(12_288, &mut [0; 8]).is_err());
        read(&fresh, 16_384, 4096);
    }

    #[test]
    fn reads_keep_the_pace_hurried_ones_are_paid_for_later_and_an_end_is_an_error() {
        use crate::runtime::Clock as _;
        let (disk, ended) = (disk(), Arc::default());
        let (clock, fresh) = fresh(&disk, 1 << 20, &ended);
        fresh.begin(0..1 << 20);
        let begun = clock.monotonic_ms();
        read(&fresh, 0, 1 << 20);
        let took = clock.monotonic_ms() - begun;
        assert!((800..=1010).contains(&took), "{took} ms for a second's bytes");
        let begun = clock.monotonic_ms();
        fresh.begin(0..0);
        fresh.hurried(|| read(&fresh, 0, 1 << 19));
        assert!(clock.monotonic_ms() - begun < 10);
        read(&fresh, 0, 4096);
        let took = clock.monotonic_ms() - begun;
        assert!((400..=600).contains(&took), "{took} ms");
        ended.store(true, Ordering::Relaxed);
        let error = fresh.read_at(0, &mut [0; 8]).unwrap_err();
        assert!(error.to_string().contains("the test"), "{error}");
        for refused in [fresh.sync(), fresh.truncate(0), fresh.allocate(0, 1)] {
            assert!(refused.is_err());
        }
    }
}
