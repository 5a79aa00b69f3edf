//! The grid of a table: how its commit times are cut into windows.
//!
//! ```text
//! pieces    (0, width 3 s)            (from 100 s, width 9 s)        the time to live was altered
//! windows   | 0 | 3 | 6 | … | 96 | 99 | 100      | 109      | …      named by where they begin
//! ```
//! A table with a time to live has windows of a twentieth of it, so that what expires together lies
//! together, and is dropped without a look at what lives on. Another time to live begins a new
//! piece; what lies in the old windows stays there.
//!
//! # Invariants
//! 1. Pieces rise strictly, and there is at least one. What is older than the first belongs to it.
//! 2. The window of a later time is never lower, whatever pieces are added or left out. Commit
//!    times of a timeline never fall, and flushes follow each other: so for any one timeline a
//!    lower window holds older entries. A piece is left out only where nothing lies in it and no
//!    flush can be at work that goes there: what comes next would go below it.

use crate::limits::{GRID_PIECES_MAX, TTL_WINDOWS};
use crate::options::TableOptions;
use crate::version::{TableKind, Tier};

/// A stretch of time with windows of one width. It ends where the next piece begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its first window begins here, in milliseconds since 1970.
    pub(crate) from_ms: u64,
    /// The width of its windows in milliseconds; 0 where it is one window.
    pub(crate) width_ms: u64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grid {
    pieces: Vec<Piece>,
}

/// A part of a flush: the entries committed before `until_ms` and not in an earlier part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// Where they go.
    pub(crate) window: u64,
    /// Where they end.
    pub(crate) until_ms: u64,
}

/// The width of windows under these options; 0 where the table is not cut.
pub(crate) fn window_width_ms(options: &TableOptions) -> u64 {
    // What becomes cold together lies together, too.
    let cold_after_ms = options.cold_after_ms.filter(|_| options.placement == Tier::Hot);
    let shortest = options.ttl_ms.into_iter().chain(cold_after_ms).min();
    match (options.kind, shortest) {
        // A merge operand may stand on a value that has expired: keyed tables are not cut.
        (TableKind::Keyed, _) | (_, None) => 0,
        (TableKind::Timeline, Some(shortest)) => (shortest / TTL_WINDOWS).max(1),
    }
}

impl Grid {
    /// The grid of a new table.
    pub(crate) fn new(options: &TableOptions) -> Grid {
        Grid { pieces: vec![Piece { from_ms: 0, width_ms: window_width_ms(options) }] }
    }

    /// A grid of these pieces, if there can be such a one.
    pub(crate) fn from_pieces(pieces: Vec<Piece>) -> Option<Grid> {
        let rises = pieces.is_sorted_by(|one, next| one.from_ms < next.from_ms);
        (rises && (1..=GRID_PIECES_MAX).contains(&pieces.len())).then_some(Grid { pieces })
    }

    /// In the order of time.
    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// This grid with windows of another width from `from_ms` on. Pieces that `is_live` says
    /// nothing lives in are left out; it is told where they begin and end.
    pub(crate) fn altered(
        &self,
        from_ms: u64,
        width_ms: u64,
        is_live: impl Fn(u64, u64) -> bool,
    ) -> Grid {
        let mut pieces = self.pieces.clone();
        let last = pieces.last_mut().expect("there is at least one piece");
        if last.width_ms != width_ms {
            match from_ms <= last.from_ms {
                true => last.width_ms = width_ms,
                false => pieces.push(Piece { from_ms, width_ms }),
            }
        }
        let ends: Vec<u64> = pieces.iter().skip(1).map(|piece| piece.from_ms).collect();
        let mut ends = ends.into_iter();
        pieces.retain(|piece| ends.next().is_none_or(|end| is_live(piece.from_ms, end)));
        let spare = pieces.len().saturating_sub(GRID_PIECES_MAX);
        pieces.drain(..spare);
        Grid { pieces }
    }

    /// Where the window of `time_ms` begins.
    pub(crate) fn window_of(&self, time_ms: u64) -> u64 {
        let Piece { from_ms, width_ms } = self.pieces[self.piece_of(time_ms)];
        match width_ms {
            0 => from_ms,
            _ => from_ms + time_ms.saturating_sub(from_ms) / width_ms * width_ms,
        }
    }

    /// The width of the window of `time_ms`; 0 where it has no end of its own.
    pub(crate) fn width_of(&self, time_ms: u64) -> u64 {
        self.pieces[self.piece_of(time_ms)].width_ms
    }

    /// Cuts a flush of entries from `oldest_ms` to `newest_ms` into parts, oldest first: one where
    /// it spans at most 1.6 widths, which then goes into the window of its newest entry.
    /// Each cut costs every timeline another run; a wide part costs only that its oldest entries
    /// wait a little for the newest: 1.6 widths are 8 hundredths of the time to live, and what has
    /// expired is free after a tenth of it.
    pub(crate) fn cut(&self, oldest_ms: u64, newest_ms: u64) -> Vec<Part> {
        let newest = self.piece_of(newest_ms);
        let whole = Part { window: self.window_of(newest_ms), until_ms: u64::MAX };
        let span = newest_ms.saturating_sub(oldest_ms);
        let short = span <= part_span_ms(self.pieces[newest].width_ms);
        if short || self.window_of(oldest_ms) == whole.window {
            return vec![whole];
        }
        let mut parts = Vec::new();
        for index in self.piece_of(oldest_ms)..=newest {
            let from = self.pieces[index].from_ms.max(oldest_ms);
            let end = match index == newest {
                true => newest_ms.saturating_add(1),
                false => self.pieces[index + 1].from_ms,
            };
            self.cut_piece(self.pieces[index].width_ms, from, end, &mut parts);
        }
        if let Some(last) = parts.last_mut() {
            last.until_ms = u64::MAX;
        }
        parts
    }

    /// Cuts the times of one piece into as few equal parts as are short enough.
    fn cut_piece(&self, width_ms: u64, from: u64, end: u64, parts: &mut Vec<Part>) {
        let span = end.saturating_sub(from);
        let count = match part_span_ms(width_ms) {
            0 => 1,
            most => span.div_ceil(most).clamp(1, TTL_WINDOWS),
        };
        for part in 1..=count {
            let until_ms = from
                + u64::try_from(u128::from(span) * u128::from(part) / u128::from(count))
                    .expect("a part of a span is not longer");
            parts.push(Part { window: self.window_of(until_ms.saturating_sub(1)), until_ms });
        }
    }

    fn piece_of(&self, time_ms: u64) -> usize {
        self.pieces.partition_point(|piece| piece.from_ms <= time_ms).saturating_sub(1)
    }
}

/// The longest time that one part of a flush spans.
fn part_span_ms(width_ms: u64) -> u64 {
    width_ms.saturating_add(width_ms / 5 * 3)
}
