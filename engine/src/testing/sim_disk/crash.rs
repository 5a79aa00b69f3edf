//! What a device may hold after power came back: a legal choice among the pending operations.
//!
//! Image = durable image, then each pending operation in order: dropped, kept, or torn. A torn
//! write decides sector by sector: old, new or garbage. Whether an operation made the file longer
//! is a choice of its own under some policies, since file systems write data and lengths
//! independently; bytes behind the final end are lost.

use super::image::Image;
use super::operation::{Change, Operation};
use crate::runtime::Random;

/// Which state a crash leaves behind. Indexes count the pending operations from the oldest; an
/// index out of range drops, keeps or tears nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPolicy {
    /// Power loss: nothing that was pending is there.
    DropAll,
    /// Power loss: everything that was pending is there.
    KeepAll,
    /// Power loss: the first so many pending operations are there.
    Prefix(usize),
    /// Power loss: all pending operations but this one are there.
    DropOne(usize),
    /// Power loss: of the pending operations only this one is there.
    KeepOne(usize),
    /// Power loss: a random subset of operations, sectors and length changes.
    Random {
        /// Decides everything.
        seed: u64,
    },
    /// Power loss: one operation is torn, the others are kept or dropped.
    TearOne {
        /// The torn operation.
        index: usize,
        /// Decides how it is torn, and what becomes of the others.
        seed: u64,
    },
    /// Power loss: of what was pending only the lengths are there that it gave the file, as where a
    /// file system writes its own data first.
    LengthsAlone,
    /// Power loss: everything that was pending is there but its lengths. The file is as long as it
    /// was, and bytes behind its end are lost.
    BytesAlone,
    /// Power loss: the pending operations before one are there, and of this one, if it is a write,
    /// the sectors before one of its own. That one holds noise: what was there before is lost with
    /// what was to come.
    DamageSector {
        /// The write that is cut off.
        index: usize,
        /// The number of the sector in it; one behind the last is the last.
        sector: usize,
    },
    /// Kill -9: the system lives on, and with it everything that was written; the boot id stays.
    /// What was pending is still pending. The operation in flight was not begun.
    Kill,
}

/// What becomes of one pending operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Dropped,
    Kept,
    Torn,
    /// The sectors of a write before this one are there, and this one is destroyed.
    TornAt(usize),
    LengthAlone,
    BytesAlone,
}

/// Builds the image of a power loss.
pub(super) fn image_after_power_loss(
    durable: &Image,
    pending: &[Operation],
    policy: CrashPolicy,
    sector: usize,
) -> Image {
    let mut builder = Builder { image: durable.clone(), sector, random: Random::new(seed(policy)) };
    let others = builder.random.below(4);
    let mut index = 0;
    for operation in pending {
        if operation.durable {
            operation.apply(&mut builder.image);
            continue;
        }
        let fate = builder.fate(policy, index, others);
        let free_length = matches!(policy, CrashPolicy::Random { .. });
        builder.add(operation, fate, free_length);
        index += 1;
    }
    // Bytes written behind the end that survived are unreachable.
    let length = builder.image.length();
    builder.image.set_length(length);
    builder.image
}

fn seed(policy: CrashPolicy) -> u64 {
    match policy {
        CrashPolicy::Random { seed } | CrashPolicy::TearOne { seed, .. } => seed,
        _ => 0,
    }
}

struct Builder {
    image: Image,
    sector: usize,
    random: Random,
}

impl Builder {
    fn fate(&mut self, policy: CrashPolicy, index: usize, others: u64) -> Fate {
        let kept = match policy {
            CrashPolicy::DropAll => false,
            CrashPolicy::KeepAll | CrashPolicy::Kill => true,
            CrashPolicy::Prefix(count) => index < count,
            CrashPolicy::DropOne(one) => index != one,
            CrashPolicy::KeepOne(one) => index == one,
            CrashPolicy::Random { .. } => match self.random.below(3) {
                0 => false,
                1 => true,
                _ => return Fate::Torn,
            },
            CrashPolicy::TearOne { index: one, .. } if index == one => return Fate::Torn,
            CrashPolicy::TearOne { index: one, .. } => match others {
                0 => false,
                1 => true,
                2 => index < one,
                _ => self.random.chance(1, 2),
            },
            CrashPolicy::LengthsAlone => return Fate::LengthAlone,
            CrashPolicy::BytesAlone => return Fate::BytesAlone,
            CrashPolicy::DamageSector { index: one, sector } if index == one => {
                return Fate::TornAt(sector);
            }
            CrashPolicy::DamageSector { index: one, .. } => index < one,
        };
        if kept { Fate::Kept } else { Fate::Dropped }
    }

    fn add(&mut self, operation: &Operation, fate: Fate, free_length: bool) {
        match (&operation.change, fate) {
            (_, Fate::Dropped) | (Change::Truncate { .. }, Fate::BytesAlone) => {}
            (Change::Truncate { length }, Fate::LengthAlone) => self.image.set_length(*length),
            (_, Fate::LengthAlone) => {}
            (Change::Write { offset, bytes }, Fate::Torn) => self.tear(*offset, bytes),
            (Change::Write { offset, bytes }, Fate::TornAt(sector)) => {
                self.tear_at(*offset, bytes, sector);
            }
            // A half-done cut, punch or allocation is told by its length alone.
            (_, Fate::Torn | Fate::TornAt(_) | Fate::Kept | Fate::BytesAlone) => {
                let change_only = Operation { grows_to: None, ..operation.clone() };
                change_only.apply(&mut self.image);
            }
        }
        let grows = match free_length {
            true => self.random.chance(1, 2),
            false => !matches!(fate, Fate::Dropped | Fate::BytesAlone),
        };
        if let Some(length) = operation.grows_to
            && grows
        {
            self.image.grow(length);
        }
    }

    /// Writes some sectors of a write. Garbage is a gamble of the whole write, so that plain
    /// mixtures of old and new sectors are as frequent as destroyed ones.
    fn tear(&mut self, offset: u64, bytes: &[u8]) {
        let garbage = self.random.chance(1, 2);
        for (place, part) in sectors(offset, bytes, self.sector) {
            match self.random.below(8) {
                0 if garbage => self.destroy(place, part),
                0..4 => {}
                _ => self.image.write(place, part),
            }
        }
    }

    /// Writes the sectors of a write before one of them, and noise into that one.
    fn tear_at(&mut self, offset: u64, bytes: &[u8], sector: usize) {
        let parts = sectors(offset, bytes, self.sector);
        let torn = sector.min(parts.len().saturating_sub(1));
        for (place, part) in parts.iter().take(torn) {
            self.image.write(*place, part);
        }
        if let Some((place, part)) = parts.get(torn) {
            let mut noise = vec![0; part.len()];
            self.random.fill(&mut noise);
            self.image.write(*place, &noise);
        }
    }

    /// Leaves neither old nor new bytes in a sector: noise, zeros, or new bytes up to some point
    /// and something else behind it.
    fn destroy(&mut self, place: u64, part: &[u8]) {
        let mut sector = part.to_vec();
        match self.random.below(3) {
            0 => self.random.fill(&mut sector),
            1 => sector.fill(0),
            _ => {
                let cut = self.random.index(sector.len());
                self.random.fill(&mut sector[cut..]);
            }
        }
        self.image.write(place, &sector);
    }
}

/// What each sector gets of a write, with its place.
fn sectors(offset: u64, bytes: &[u8], sector: usize) -> Vec<(u64, &[u8])> {
    let mut parts = Vec::new();
    let (mut place, mut rest) = (offset, bytes);
    while !rest.is_empty() {
        let until_boundary = sector as u64 - place % sector as u64;
        let length =
            rest.len().min(usize::try_from(until_boundary).expect("it is at most a sector"));
        let (part, behind) = rest.split_at(length);
        parts.push((place, part));
        place += length as u64;
        rest = behind;
    }
    parts
}
