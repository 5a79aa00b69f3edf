//! Replay: the groups of the log go into memtables, in their order.
//!
//! Opening for writing has read the log before (`first_pass.rs`), and has most of it in memtables
//! (`fill.rs`). Opening for reading reads it here.

use super::super::Core;
use super::fill::Filled;
use super::first_pass::{FirstPass, Named};
use super::tail::{KeepAll, Sink};
use crate::batch::{Op, decode};
use crate::commit::open_large;
use crate::error::{Error, Result};
use crate::file::superblock::Superblock;
use crate::limits;
use crate::memtable::Memtable;
use crate::options::Options;
use crate::planted::Planted;
use crate::sync::Arc;
use crate::wal::{self, FRAME_BATCH, Group, WalPosition};

/// A group of the log as it was read, all of it verified. Its bodies are shared with the memtable.
pub(super) struct Replayed {
    /// Its place in the file.
    place: u64,
    /// What follows it.
    pub(super) position: WalPosition,
    pub(super) first_commit: u64,
    pub(super) time_ms: u64,
    pub(super) bodies: Vec<Arc<Vec<u8>>>,
    /// Messages without a time to live of their own and large payloads, and keyed records.
    pub(super) plain: bool,
}

impl Replayed {
    /// A copy of a group. `plain`: there is nothing in it that the view must say, nor a large
    /// payload.
    pub(super) fn of(group: &Group<'_>, superblock: &Superblock, plain: bool) -> Result<Replayed> {
        let place = superblock.ring.offset + group.lsn % superblock.ring.length;
        let mut bodies = Vec::with_capacity(group.frame_count as usize);
        for (kind, body) in group.frames.clone() {
            if kind != FRAME_BATCH {
                return Err(Error::corruption("WAL", place, format!("frame kind {kind}")));
            }
            bodies.push(Arc::new(body.to_vec()));
        }
        if Planted::ReplaySkipsAFrame.is_on() && bodies.len() > 1 {
            bodies.pop();
        }
        let Group { position, first_commit, time_ms, .. } = *group;
        Ok(Replayed { place, position, first_commit, time_ms, bodies, plain })
    }

    /// Whether a memtable still takes it, which holds what ends at `end`.
    pub(super) fn fits(&self, memtable: &Memtable, options: &Options, end: &LogEnd) -> bool {
        let bytes = self.position.lsn.saturating_sub(end.position.lsn);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        memtable.bytes() < options.memtable_bytes
            && memtable.fits(self.last(), self.time_ms, bytes, bytes / limits::TARGET_BYTES_MIN)
    }

    /// Puts it into a memtable.
    pub(super) fn apply(&self, memtable: &Memtable) -> Result<()> {
        for (commit, body) in (self.first_commit..).zip(&self.bodies) {
            memtable
                .apply(Arc::clone(body), commit, self.time_ms)
                .map_err(|error| self.damage(error.to_string()))?;
        }
        Ok(())
    }

    /// The commit number of its last frame.
    fn last(&self) -> u64 {
        self.first_commit.saturating_add(self.bodies.len() as u64).saturating_sub(1)
    }

    fn damage(&self, detail: String) -> Error {
        Error::corruption("WAL", self.place, detail)
    }
}

/// Where the log ended, or ends so far.
pub(super) struct LogEnd {
    pub(super) position: WalPosition,
    pub(super) commit: u64,
    /// Commit time of the newest group.
    pub(super) time_ms: u64,
}

impl LogEnd {
    /// Of a log without groups.
    pub(super) fn at_head(superblock: &Superblock) -> LogEnd {
        let position = WalPosition { lsn: superblock.wal.lsn, previous: superblock.wal.previous };
        LogEnd { position, commit: superblock.commit, time_ms: 0 }
    }

    /// The end behind one group more, which must follow.
    pub(super) fn behind(&self, group: &Replayed) -> Result<LogEnd> {
        let (commit, time_ms) = (group.last(), group.time_ms);
        if commit > limits::COUNTER_MAX || time_ms > limits::COUNTER_MAX {
            return Err(group.damage(format!("commit {commit} at {time_ms} ms cannot be")));
        }
        if group.first_commit <= self.commit {
            let (first, last) = (group.first_commit, self.commit);
            return Err(group.damage(format!("commit {first} behind commit {last}")));
        }
        Ok(LogEnd { position: group.position, commit, time_ms: time_ms.max(self.time_ms) })
    }
}

/// Replays the log of a store that is opened for reading.
pub(super) fn read_only(core: &Core, superblock: &Superblock) -> Result<LogEnd> {
    let mut sink = KeepAll;
    let mut replay = Replay::new(core, superblock, None, &mut sink);
    wal::replay(
        &*core.disk,
        superblock.file,
        superblock.ring,
        replay.end.position,
        superblock.wal.salt,
        superblock.synced_lsn,
        group_bytes_max(&core.options),
        &mut |group| replay.group(Replayed::of(&group, superblock, false)?),
    )?;
    Ok(replay.end)
}

/// Replays what the first pass has found, and tells `sink` of it.
pub(super) fn for_writing(
    core: &Core,
    superblock: &Superblock,
    (first, filled): (FirstPass, Filled),
    sink: &mut dyn Sink,
) -> Result<LogEnd> {
    let FirstPass { named, end, .. } = first;
    let mut replay = Replay::new(core, superblock, Some(&named), sink);
    for (memtable, groups) in filled.memtables {
        replay.adopt(memtable, groups)?;
    }
    for group in filled.rest {
        replay.group(group)?;
    }
    wal::replay_to(
        &*core.disk,
        superblock.file,
        superblock.ring,
        replay.end.position,
        superblock.wal.salt,
        end,
        group_bytes_max(&core.options),
        &mut |group| replay.group(Replayed::of(&group, superblock, false)?),
    )?;
    Ok(replay.end)
}

/// The largest group that a writer with these options may have written.
pub(super) fn group_bytes_max(options: &Options) -> u64 {
    let batch = options.batch_bytes_max() as u64;
    let frames = limits::GROUP_BATCHES_MAX as u64 * wal::FRAME_HEADER_SIZE as u64;
    (batch + frames + 2 * limits::BLOCK_SIZE).min(options.ring_bytes)
}

struct Replay<'a> {
    core: &'a Core,
    /// The large payloads whose extents are reserved; `None` where nothing is.
    named: Option<&'a Named>,
    sink: &'a mut dyn Sink,
    /// Behind the last group so far.
    end: LogEnd,
}

impl<'a> Replay<'a> {
    fn new(
        core: &'a Core,
        superblock: &Superblock,
        named: Option<&'a Named>,
        sink: &'a mut dyn Sink,
    ) -> Replay<'a> {
        Replay { core, named, sink, end: LogEnd::at_head(superblock) }
    }

    /// Takes over a memtable that was filled with the next groups.
    fn adopt(&mut self, memtable: Arc<Memtable>, groups: Vec<Replayed>) -> Result<()> {
        let views = &self.core.views;
        if !views.current().active.is_empty() {
            self.sink.full(self.core, self.end.position, self.end.commit)?;
        }
        views.replace(|view| view.active = memtable);
        for group in groups {
            self.end = self.end.behind(&group)?;
            self.sink.group(group);
        }
        Ok(())
    }

    /// Puts the next group into the memtable.
    fn group(&mut self, group: Replayed) -> Result<()> {
        let next = self.end.behind(&group)?;
        let core = self.core;
        let active = Arc::clone(&core.views.current().active);
        if !active.is_empty() && !group.fits(&active, &core.options, &self.end) {
            self.sink.full(core, self.end.position, self.end.commit)?;
        }
        if core.views.current().active.is_empty() {
            // Its base is the oldest commit and time that it will hold.
            let fresh = Memtable::in_pool(group.first_commit, group.time_ms, &core.memory);
            core.views.replace(|view| view.active = Arc::new(fresh));
        }
        let memtable = Arc::clone(&core.views.current().active);
        if !group.plain {
            let opened = group.bodies.iter().try_for_each(|b| self.before_apply(&memtable, b));
            opened.map_err(|detail| group.damage(detail))?;
        }
        group.apply(&memtable)?;
        self.end = next;
        self.sink.group(group);
        Ok(())
    }

    /// Opens the large payloads of a body. The view says which tables have marks, or entries with a
    /// time to live of their own: those in the log as well.
    fn before_apply(&self, memtable: &Memtable, body: &[u8]) -> std::result::Result<(), String> {
        for op in decode(body).map_while(std::result::Result::ok) {
            match op {
                Op::Mark { mark, .. } => {
                    self.core.views.replace(|view| view.marked.extend([mark.table]));
                }
                Op::Message(message) => {
                    if let Some(large) = message.large {
                        if self.named.is_some_and(|named| named.get(&large.number) != Some(&large))
                        {
                            let what = "was not there when the log was read first";
                            return Err(format!("{large:?} {what}"));
                        }
                        memtable.hold(open_large(self.core, &large));
                    }
                    if message.ttl_ms.is_some() {
                        let tables = message.targets_placed().map(|(target, _)| target.table);
                        self.core.views.replace(|view| view.own_ttl.extend(tables));
                    }
                }
                Op::Keyed { .. } | Op::Amend { .. } => {}
            }
        }
        Ok(())
    }
}
