//! The extent allocator against a bitmap: one state for each block of the file.

use crate::harness::{each, ensure};
use tidelog_engine::testing::fuzzing::allocator::{Extents, Guard, Reserved};
use tidelog_engine::testing::{Random, SimDisk, SimOptions};
use tidelog_engine::{Disk, ErrorKind, Extent};

const BLOCK: u64 = 4096;

/// What the model says of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Free,
    Reserved,
    Live,
    /// Free once the superblock of this sequence is durable.
    Waiting(u64),
}

/// The allocator, the model, and what the model's blocks belong to.
struct World {
    disk: SimDisk,
    extents: Extents,
    blocks: Vec<Block>,
    durable: u64,
    reserved: Vec<Reserved>,
    live: Vec<Extent>,
    /// Guards of obsolete extents, with their generation.
    held: Vec<(Guard, Extent, u64)>,
    capacity: Option<u64>,
    /// Something was punched: on a full disk the first fit may be without room.
    had_holes: bool,
}

/// Random calls; after each, both must agree on every block.
pub(crate) fn run(seed: u64, events: u64) -> Result<(), String> {
    each(seed, events, 8 << 20, |random| {
        hostile(random)?;
        let disk = SimDisk::new(SimOptions::default());
        let extents = Extents::new(&disk, 0, 0, &[]).map_err(|error| error.to_string())?;
        let capacity = random.chance(1, 3).then(|| BLOCK * (20 + random.below(200)));
        disk.set_capacity(capacity);
        let mut world = World {
            disk,
            extents,
            blocks: Vec::new(),
            durable: 0,
            reserved: Vec::new(),
            live: Vec::new(),
            held: Vec::new(),
            capacity,
            had_holes: false,
        };
        for number in 0..random.below(120) {
            world
                .step(random)
                .and_then(|()| world.check())
                .map_err(|what| format!("call {number}: {what}"))?;
        }
        world.reopen()
    })
}

impl World {
    fn step(&mut self, random: &mut Random) -> Result<(), String> {
        match random.below(15) {
            0..5 => self.reserve(random),
            12 => {
                self.extents.look();
                Ok(())
            }
            13 => self.cut(random),
            14 => self.punch(random),
            5 | 6 if !self.reserved.is_empty() => {
                let reserved = self.reserved.swap_remove(random.index(self.reserved.len()));
                self.commit(random, reserved);
                Ok(())
            }
            7 if !self.reserved.is_empty() => {
                let dropped = self.reserved.swap_remove(random.index(self.reserved.len()));
                self.mark(dropped.extent(), Block::Free);
                Ok(())
            }
            8 | 9 if !self.live.is_empty() => {
                let extent = self.live.swap_remove(random.index(self.live.len()));
                self.retire(random, extent);
                Ok(())
            }
            10 if !self.held.is_empty() => {
                let (guard, extent, generation) =
                    self.held.swap_remove(random.index(self.held.len()));
                drop(guard);
                self.released(extent, generation);
                Ok(())
            }
            11 => {
                self.durable += random.below(3);
                self.extents.durable(self.durable);
                let durable = self.durable;
                for block in &mut self.blocks {
                    if matches!(block, Block::Waiting(sequence) if *sequence <= durable) {
                        *block = Block::Free;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn reserve(&mut self, random: &mut Random) -> Result<(), String> {
        let bytes = match random.below(6) {
            0 => 1 + random.below(BLOCK),
            1 => random.next_u64() | 1 << 62,
            _ => 1 + random.below(12 * BLOCK),
        };
        let blocks = bytes.div_ceil(BLOCK);
        let fitting = self.first_fit(blocks);
        let in_use = self.blocks.iter().rposition(|block| *block != Block::Free);
        let trailing = in_use.map_or(0, |last| (last as u64 + 1) * BLOCK);
        match self.extents.reserve(bytes) {
            Ok(reserved) => {
                let extent = reserved.extent();
                self.grow();
                let expected = fitting.unwrap_or(trailing);
                // On a full disk a place that has room is taken instead of a hole.
                let elsewhere = self.capacity.is_some() && self.had_holes;
                let is_first = extent.offset == expected || elsewhere;
                ensure(is_first && extent.length == blocks * BLOCK, || {
                    format!("{extent:?} for {bytes} bytes, the first fit is at {expected}")
                })?;
                let all_free = self.slice(extent).iter().all(|block| *block == Block::Free);
                ensure(all_free, || format!("{extent:?} was not free"))?;
                self.mark(extent, Block::Reserved);
                self.reserved.push(reserved);
                Ok(())
            }
            Err(error) => {
                let allowed = (fitting.is_none() || self.had_holes)
                    && error.kind() == ErrorKind::NoSpace
                    && (self.capacity.is_some() || bytes > 1 << 40);
                ensure(allowed, || format!("{bytes} bytes, first fit at {fitting:?}: {error}"))
            }
        }
    }

    /// How much is kept, the least that is given back, and whether what is not cold goes too.
    fn giving(random: &mut Random) -> (u64, u64, bool) {
        (random.below(8) * BLOCK, (1 + random.below(4)) * BLOCK, random.chance(1, 2))
    }

    /// The grid ends earlier: only what is free may go, and enough of it stays.
    fn cut(&mut self, random: &mut Random) -> Result<(), String> {
        let (keep, least, warm) = World::giving(random);
        let before = self.extents.file_length();
        let cut = self.extents.cut(keep, least, warm).map_err(|error| error.to_string())?;
        let after = self.extents.file_length();
        ensure(cut == (after < before) && (!cut || before - after >= least), || {
            format!("cut from {before} to {after}, at least {least}: {cut}")
        })?;
        let gone = self.slice(Extent { offset: after, length: before - after });
        ensure(gone.iter().all(|block| *block == Block::Free), || {
            format!("{gone:?} behind {after} were cut off")
        })?;
        let on_disk = self.disk.length().map_err(|error| error.to_string())?;
        ensure(on_disk >= after, || format!("the file has {on_disk} bytes, the grid {after}"))?;
        self.blocks.truncate(usize::try_from(after / BLOCK).expect("a small file"));
        Ok(())
    }

    /// A hole is made in what is free, and stays free.
    fn punch(&mut self, random: &mut Random) -> Result<(), String> {
        let (keep, least, warm) = World::giving(random);
        let before = self.extents.hole_bytes();
        self.extents.punch(keep, least, warm).map_err(|error| error.to_string())?;
        let after = self.extents.hole_bytes();
        self.had_holes |= after > 0;
        let (free, _) = self.extents.byte_counts();
        ensure(after <= free && (after == before || after >= before + least), || {
            format!("holes of {before} bytes became {after}, of {free} free ones")
        })
    }

    /// The lowest place with so many free blocks in the file as it is.
    fn first_fit(&self, blocks: u64) -> Option<u64> {
        let mut run = 0;
        for (index, block) in self.blocks.iter().enumerate() {
            run = if *block == Block::Free { run + 1 } else { 0 };
            if run == blocks {
                return Some((index as u64 + 1 - blocks) * BLOCK);
            }
        }
        None
    }

    fn commit(&mut self, random: &mut Random, reserved: Reserved) {
        let whole = reserved.extent();
        let kept = reserved.commit(1 + random.below(whole.length));
        self.mark(whole, Block::Free);
        if random.chance(1, 6) {
            self.extents.forfeit(kept);
        } else {
            self.mark(kept, Block::Live);
            self.live.push(kept);
        }
    }

    fn retire(&mut self, random: &mut Random, extent: Extent) {
        let generation = 1 + (self.durable + random.below(3)).saturating_sub(1);
        if random.chance(1, 2) {
            let guard = self.extents.guard(extent);
            guard.mark_obsolete(generation);
            self.held.push((guard, extent, generation));
        } else {
            self.extents.release(extent, generation);
            self.released(extent, generation);
        }
    }

    fn released(&mut self, extent: Extent, generation: u64) {
        let free_at = generation + 2;
        let block = if free_at <= self.durable { Block::Free } else { Block::Waiting(free_at) };
        self.mark(extent, block);
    }

    /// The file may have grown; new blocks are free.
    fn grow(&mut self) {
        let count = usize::try_from(self.extents.file_length() / BLOCK).expect("a small file");
        self.blocks.resize(count, Block::Free);
    }

    fn range(extent: Extent) -> std::ops::Range<usize> {
        let block = |offset: u64| usize::try_from(offset / BLOCK).expect("a small file");
        block(extent.offset)..block(extent.end())
    }

    fn slice(&self, extent: Extent) -> &[Block] {
        self.blocks.get(World::range(extent)).unwrap_or(&[Block::Live])
    }

    fn mark(&mut self, extent: Extent, state: Block) {
        self.blocks[World::range(extent)].fill(state);
    }

    /// The allocator's free runs are the model's, longest form, and the counts are theirs.
    fn check(&mut self) -> Result<(), String> {
        self.grow();
        let mut runs: Vec<Extent> = Vec::new();
        for (index, _) in self.blocks.iter().enumerate().filter(|(_, b)| **b == Block::Free) {
            let offset = index as u64 * BLOCK;
            match runs.last_mut() {
                Some(run) if run.end() == offset => run.length += BLOCK,
                _ => runs.push(Extent { offset, length: BLOCK }),
            }
        }
        let found = self.extents.free_runs();
        ensure(found == runs, || format!("free runs {found:?}, the model has {runs:?}"))?;
        let free: u64 = runs.iter().map(|run| run.length).sum();
        let waiting = self.blocks.iter().filter(|block| matches!(block, Block::Waiting(_))).count();
        let counts = (free, waiting as u64 * BLOCK);
        let found = self.extents.byte_counts();
        ensure(found == counts, || format!("counts {found:?}, the model has {counts:?}"))
    }

    /// An allocator of the next process: what is not live is free.
    fn reopen(&self) -> Result<(), String> {
        let length = self.extents.file_length();
        let next = Extents::new(&self.disk, 0, length, &self.live).map_err(|e| e.to_string())?;
        let live: u64 = self.live.iter().map(|extent| extent.length).sum();
        let counts = next.byte_counts();
        ensure(counts == (length - live, 0), || format!("{counts:?} with {live} of {length} live"))
    }
}

/// Live extents from a hostile manifest: accepted if and only if they are aligned, disjoint and
/// inside the grid.
fn hostile(random: &mut Random) -> Result<(), String> {
    let number = |random: &mut Random| match random.below(8) {
        0 => random.next_u64(),
        1 => random.next_u64() & !(BLOCK - 1),
        2 => random.below(40 * BLOCK),
        _ => random.below(40) * BLOCK,
    };
    let count = random.below(5);
    let live: Vec<Extent> =
        (0..count).map(|_| Extent { offset: number(random), length: number(random) }).collect();
    let (start, end) = (4 * BLOCK, 40 * BLOCK);
    let fits = |extent: &Extent| {
        let aligned = extent.offset.is_multiple_of(BLOCK) && extent.length.is_multiple_of(BLOCK);
        let inside = extent.offset.checked_add(extent.length).is_some_and(|last| last <= end);
        aligned && extent.length > 0 && extent.offset >= start && inside
    };
    let mut sorted = live.clone();
    sorted.sort_unstable();
    let possible =
        sorted.iter().all(fits) && sorted.windows(2).all(|pair| pair[0].end() <= pair[1].offset);
    let disk = SimDisk::new(SimOptions::default());
    match Extents::new(&disk, start, end, &live) {
        Ok(_) => ensure(possible, || format!("{live:?} were accepted")),
        Err(error) => ensure(!possible && error.kind() == ErrorKind::Corruption, || {
            format!("{live:?}: {error}")
        }),
    }
}
