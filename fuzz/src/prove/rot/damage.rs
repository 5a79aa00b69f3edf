//! Every damage that is tried on the golden files, by number.
//!
//! | part | what |
//! |---|---|
//! | flips | every bit of every byte that is used; of what is unused one bit in each 64 bytes |
//! | sectors | every 512 bytes, and every 4,096: zeros; noise |
//! | pages | every two pages that are used: exchanged |
//! | log sectors | every two sectors of the log: exchanged |
//! | stale | every used page, as it was at each moment of the past |
//! | stale copies | every two superblock copies, as they were at each moment of the past |
//! | cuts | every length of the first 64 KiB; then each multiple of 512, a byte less and one more |

use crate::golden::differences;
use crate::golden::store::{Golden, Machine};
use crate::golden::units::{Unit, Units, Use};
use std::ops::Range;
use tidelog_engine::Disk;
use tidelog_engine::limits::{RING_OFFSET, SUPERBLOCK_STRIDE};
use tidelog_engine::testing::Random;

const SECTOR: u64 = 512;
const PAGE: u64 = 4096;
/// Of unused bytes one in so many is flipped.
const UNUSED_STEP: u64 = 64;

/// One damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// A bit is another one.
    Flip { file: usize, offset: u64, bit: u32 },
    /// A range holds zeros, or noise.
    Fill { file: usize, offset: u64, length: u64, noise: bool },
    /// Two ranges are exchanged.
    Swap { file: usize, one: u64, other: u64, length: u64 },
    /// A page is as it was.
    Stale { file: usize, offset: u64, moment: usize },
    /// Two superblock copies are as they were.
    StaleCopies { copies: (u64, u64), moment: usize },
    /// The file ends earlier.
    Cut { file: usize, length: u64 },
}

/// A kind of damage and how many there are of it.
struct Part {
    count: u64,
    /// Gives the one of this number.
    get: Box<dyn Fn(u64) -> Damage>,
}

/// All of them, in one order.
pub(crate) struct Plan {
    parts: Vec<Part>,
}

impl Plan {
    pub(crate) fn of(golden: &Golden, units: &Units) -> Plan {
        let mut plan = Plan { parts: Vec::new() };
        plan.flips(units);
        let lengths = [0, 1].map(|file| length(&golden.machine, file));
        let moments = golden.past.len();
        for (file, length) in lengths.into_iter().enumerate() {
            plan.fills(file, length);
            let pages: Vec<u64> = pages(units, file).collect();
            plan.swaps(file, &pages, PAGE);
            let stale = pages.clone();
            plan.add(pages.len() * moments, move |number| Damage::Stale {
                file,
                offset: stale[number / moments],
                moment: number % moments,
            });
            plan.cuts(file, length);
        }
        let log = units.used().filter(|unit| unit.what == "log group");
        let log: Vec<u64> = sectors(log).collect();
        plan.swaps(0, &log, SECTOR);
        let copies = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)];
        plan.add(copies.len() * moments, move |number| Damage::StaleCopies {
            copies: copies[number / moments],
            moment: number % moments,
        });
        plan
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.parts.iter().map(|part| part.count).sum()
    }

    /// The damage of this number.
    pub(crate) fn get(&self, number: u64) -> Option<Damage> {
        let mut number = number;
        for part in &self.parts {
            if number < part.count {
                return Some((part.get)(number));
            }
            number -= part.count;
        }
        None
    }

    fn add(&mut self, count: usize, get: impl Fn(usize) -> Damage + 'static) {
        let index = |number| usize::try_from(number).expect("it is below a count");
        let get = move |number| get(index(number));
        self.parts.push(Part { count: count as u64, get: Box::new(get) });
    }

    fn flips(&mut self, units: &Units) {
        for Unit { file, bytes, usage, .. } in units.all().iter().cloned() {
            let (from, length) = (bytes.start, bytes.end - bytes.start);
            let (count, step) = match usage {
                Use::Unused => (length.div_ceil(UNUSED_STEP), UNUSED_STEP * 8),
                Use::Used | Use::LastGroup => (length * 8, 1),
            };
            let get = move |number: u64| {
                // The bit of an unused byte moves along.
                let bit = if step == 1 { number % 8 } else { number % 7 };
                let offset = from + number * step / 8;
                let bit = u32::try_from(bit).expect("it is below 8");
                Damage::Flip { file, offset, bit }
            };
            self.parts.push(Part { count, get: Box::new(get) });
        }
    }

    fn fills(&mut self, file: usize, length: u64) {
        for (size, noise) in [(SECTOR, false), (PAGE, false), (SECTOR, true)] {
            let get = move |number: u64| {
                let offset = number * size;
                Damage::Fill { file, offset, length: size.min(length - offset), noise }
            };
            self.parts.push(Part { count: length.div_ceil(size), get: Box::new(get) });
        }
    }

    fn swaps(&mut self, file: usize, places: &[u64], length: u64) {
        let pairs: Vec<(u64, u64)> = places
            .iter()
            .enumerate()
            .flat_map(|(index, one)| places[index + 1..].iter().map(move |other| (*one, *other)))
            .collect();
        self.add(pairs.len(), move |number| {
            let (one, other) = pairs[number];
            Damage::Swap { file, one, other, length }
        });
    }

    fn cuts(&mut self, file: usize, length: u64) {
        let near = (1..RING_OFFSET.min(length)).collect::<Vec<u64>>();
        let far = (RING_OFFSET..length).step_by(512).flat_map(|at| [at - 1, at, at + 1]);
        let lengths: Vec<u64> = near.into_iter().chain(far).chain([length - 1]).collect();
        self.add(lengths.len(), move |number| Damage::Cut { file, length: lengths[number] });
    }
}

fn length(machine: &Machine, file: usize) -> u64 {
    machine.disk(file).length().expect("the machine lives")
}

/// Places of the pages that hold something used.
fn pages(units: &Units, file: usize) -> impl Iterator<Item = u64> {
    let of_file = units.used().filter(move |unit| unit.file == file);
    let mut pages: Vec<u64> = of_file
        .flat_map(|unit| unit.bytes.start / PAGE..unit.bytes.end.div_ceil(PAGE))
        .map(|page| page * PAGE)
        .collect();
    pages.sort_unstable();
    pages.dedup();
    pages.into_iter()
}

fn sectors<'a>(units: impl Iterator<Item = &'a Unit>) -> impl Iterator<Item = u64> {
    units.flat_map(|unit| (unit.bytes.start..unit.bytes.end).step_by(512))
}

impl Damage {
    /// What it is counted as.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Damage::Flip { .. } => "flips",
            Damage::Fill { noise: false, .. } => "zeroed",
            Damage::Fill { noise: true, .. } => "noised",
            Damage::Swap { .. } => "swaps",
            Damage::Stale { .. } | Damage::StaleCopies { .. } => "stale",
            Damage::Cut { .. } => "cuts",
        }
    }

    /// Does it to a machine. Gives what has become another one, by file and range: nothing where
    /// the bytes were the same already.
    pub(crate) fn apply(&self, machine: &Machine, past: &[Machine]) -> Vec<(usize, Range<u64>)> {
        match *self {
            Damage::Flip { file, offset, bit } => {
                machine.disk(file).flip_bit(offset, bit);
                vec![(file, offset..offset + 1)]
            }
            Damage::Fill { file, offset, length, noise } => {
                let mut bytes = vec![0; usize::try_from(length).expect("it is a page at most")];
                if noise {
                    Random::new(offset).fill(&mut bytes);
                }
                replace(machine, file, offset, &bytes)
            }
            Damage::Swap { file, one, other, length } => {
                let (of_one, of_other) =
                    (read(machine, file, one, length), read(machine, file, other, length));
                let mut changed = replace(machine, file, one, &of_other);
                changed.extend(replace(machine, file, other, &of_one));
                changed
            }
            Damage::Stale { file, offset, moment } => {
                let was = read(&past[moment], file, offset, PAGE);
                replace(machine, file, offset, &was)
            }
            Damage::StaleCopies { copies: (one, other), moment } => {
                let places = [one, other].map(|copy| copy * SUPERBLOCK_STRIDE);
                let changed = places.into_iter().flat_map(|place| {
                    replace(machine, 0, place, &read(&past[moment], 0, place, PAGE))
                });
                changed.collect()
            }
            Damage::Cut { file, length: cut } => {
                let end = length(machine, file);
                machine.disk(file).truncate(cut).expect("no fault is arranged");
                machine.disk(file).sync().expect("no fault is arranged");
                vec![(file, cut..end)]
            }
        }
    }
}

/// Bytes of a file; zeros behind its end.
fn read(machine: &Machine, file: usize, offset: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).expect("it is a page at most")];
    machine.disk(file).read_at(offset, &mut bytes).expect("no fault is arranged");
    bytes
}

/// Writes bytes; gives the ranges in which they differ from what was there, whole runs of them.
fn replace(machine: &Machine, file: usize, offset: u64, new: &[u8]) -> Vec<(usize, Range<u64>)> {
    let old = read(machine, file, offset, new.len() as u64);
    let changed = differences(file, offset, &old, new);
    if !changed.is_empty() {
        machine.disk(file).set_bytes(offset, new);
    }
    changed
}
