//! The leader: turns waiting slots into one group on the log, then into visible entries.
//!
//! See `mod.rs` for the protocol and its invariants. Whoever holds leadership runs this; nothing in
//! here reads the disk.

use super::delay::GroupDelay;
use super::queue::Leadership;
use super::slot::Claim;
use super::{Committed, Outcome, Request, Slot};
use crate::batch::{Precondition, WriteBatch};
use crate::engine::Core;
use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::limits;
use crate::memtable::Memtable;
use crate::options::Durability;
use crate::planted::Planted;
use crate::segment::Segment;
use crate::sync::{Arc, Ordering};
use crate::wal::Writer;
use std::task::Waker;
use std::time::Duration;

/// What only the leader touches.
pub(crate) struct Leader {
    writer: Writer,
    next_commit: u64,
    /// Where the active memtable's first group lies.
    memtable_lsn: u64,
    /// Entries published since the last sync.
    unsynced_entries: u64,
    /// Whether a group waits for callers that come back.
    delay: GroupDelay,
    /// Wakers of completed slots, to be called once leadership is given away.
    wakers: Vec<Waker>,
}

/// A slot on its way through a group.
struct Member {
    slot: Claim,
    request: Request,
    /// The sequence id of each target, once they are assigned.
    seqs: Vec<u64>,
}

impl Leader {
    /// `memtable_lsn`: where the first group of the active memtable lies, or would lie.
    pub(crate) fn new(writer: Writer, next_commit: u64, memtable_lsn: u64) -> Leader {
        let (delay, wakers) = (GroupDelay::new(), Vec::new());
        Leader { writer, next_commit, memtable_lsn, unsynced_entries: 0, delay, wakers }
    }

    /// Commits groups until no slot waits, a few groups have been served, or level 0 is full. It
    /// does not wait for room there: whoever was committed is to hear of it, and what waits is left
    /// to the commit worker. Where few callers commit durably, one that leads leaves once it is
    /// served itself: the others expect it back.
    pub(crate) fn lead(
        &mut self,
        core: &Core,
        leadership: &Leadership<'_, Arc<Slot>>,
        is_served: &dyn Fn() -> bool,
    ) {
        for _ in 0..limits::LEADER_GROUPS_MAX {
            let room = core.has_room();
            if matches!(room, Ok(false)) {
                break;
            }
            let mut group = Gathered::default();
            group.gather(core, leadership);
            if group.members.is_empty() {
                break;
            }
            let is_synced = group.is_synced();
            if is_synced {
                self.wait_for_callers(core, leadership, &mut group);
            }
            let group = group.members;
            let callers = group.iter().filter(|member| member.slot.has_caller()).count();
            self.delay.tells(0);
            match room {
                Ok(_) => self.commit_group(core, group),
                Err(error) => self.refuse_all(group, &error),
            }
            // Before leadership is given away: the other order makes half-empty groups.
            core.queue.wake_all();
            if is_synced {
                let now_ms = core.raw_clock.monotonic_ms();
                self.delay.ended(now_ms, callers);
                if self.delay.are_few() && is_served() {
                    break;
                }
            }
        }
        core.erasure.wipe_piece(|from, end| self.writer.wipe(from, end));
    }

    /// Lets callers come back that were just told of their last commit.
    fn wait_for_callers(
        &mut self,
        core: &Core,
        leadership: &Leadership<'_, Arc<Slot>>,
        group: &mut Gathered,
    ) {
        let count = group.members.len();
        let Some(wanted) = self.delay.waits_for(core.raw_clock.monotonic_ms(), count) else {
            return;
        };
        let have_come = || count + core.queue.len() >= wanted;
        core.scheduler.yield_until(limits::GROUP_DELAY_MAX, &have_come);
        self.delay.learn(have_come());
        group.gather(core, leadership);
    }

    /// Freezes the active memtable, if it holds anything, so that it will be flushed. Returns
    /// whether a frozen memtable has no room yet.
    pub(crate) fn freeze(&mut self, core: &Core) -> bool {
        let view = core.views.current();
        if view.active.is_empty() {
            return false;
        }
        if view.frozen.len() >= limits::FROZEN_MEMTABLES_MAX {
            return true;
        }
        core.freeze(self.writer.position(), self.next_commit);
        self.memtable_lsn = self.writer.position().lsn;
        false
    }

    fn commit_group(&mut self, core: &Core, group: Vec<Member>) {
        let bytes = self.writer.group_bytes(group.iter().map(|m| m.request.batch.byte_count()));
        let targets: usize = group.iter().map(|m| m.request.batch.append_count()).sum();
        let time_ms = match self.make_room(core, bytes, targets) {
            Ok(time_ms) => time_ms,
            Err(error) => return self.refuse_all(group, &error),
        };
        // A change of a time to live says when it was made, and is seen once it is published: what
        // ends in between must not be hidden meanwhile, to be shown again.
        let changes_ttl = group.iter().any(|member| member.request.batch.changes_ttl());
        let _held = changes_ttl.then(|| core.clock.hold_expiry());
        let mut group = self.assign_all(core, group);
        if group.is_empty() {
            return;
        }
        // Whether or not the write returns well, the log may name them from here on.
        let large = group.iter_mut().flat_map(|member| member.request.stored.take()).collect();
        let first_commit = self.next_commit;
        if let Err(error) = self.write(core, &group, first_commit, time_ms) {
            let error = core.poison_log(&error);
            self.refuse_all(group, &error);
            return;
        }
        self.publish(core, group, large, first_commit, time_ms);
    }

    /// One write, and one sync if anyone asked, or if too much is unsynced. Without a sync the
    /// write goes on when this returns.
    fn write(&mut self, core: &Core, group: &[Member], commit: u64, time_ms: u64) -> Result<()> {
        let bodies: Vec<&[u8]> = group.iter().map(|m| m.request.batch.body()).collect();
        // A batch without entries counts as well: its commit number may be seen.
        let entries: u64 = group.iter().map(|m| m.request.batch.append_count().max(1) as u64).sum();
        let bytes = self.writer.group_bytes(bodies.iter().map(|body| body.len()));
        let asked = group.iter().any(|member| member.request.durability == Durability::Sync);
        let behind = core.log.unsynced_bytes() + bytes
            > core.options.ring_bytes / limits::RING_UNSYNCED_SHARE;
        if core.log.unsynced_bytes() == 0 {
            self.unsynced_entries = 0;
        }
        let durable =
            asked || behind || self.unsynced_entries + entries > limits::UNSYNCED_ENTRIES_MAX;
        self.writer.begin_group(commit, time_ms, &bodies, durable)?;
        self.unsynced_entries = if durable { 0 } else { self.unsynced_entries + entries };
        let input_bytes = group.iter().map(|m| m.request.batch.input_bytes()).sum();
        core.counters.input_bytes.fetch_add(input_bytes, Ordering::Relaxed);
        core.counters.log_bytes.fetch_add(bytes, Ordering::Relaxed);
        core.counters.groups.fetch_add(1, Ordering::Relaxed);
        core.counters.synced_groups.fetch_add(u64::from(durable), Ordering::Relaxed);
        Ok(())
    }

    /// Memtable, beside the write of the log; then, with both done, the published commit; then the
    /// callers.
    fn publish(
        &mut self,
        core: &Core,
        group: Vec<Member>,
        large: Vec<Arc<Segment>>,
        first_commit: u64,
        time_ms: u64,
    ) {
        let marked = group.iter().filter(|member| member.request.batch.mark_count() > 0);
        let marked = marked.count() as u64;
        if Planted::PublishedEarly.is_on() {
            let last = first_commit + group.len() as u64 - 1;
            core.published.store(last, Ordering::Release);
        }
        let Inserted { ended, retracted, delay } =
            insert(core, group, large, first_commit, time_ms);
        if let Err(error) = self.writer.end_group() {
            // What the memtable has of the group is above all that is ever published.
            let error = core.poison_log(&error);
            let refused = ended.into_iter().map(|(slot, _)| slot);
            refused.for_each(|slot| self.complete(slot, Outcome::Final(Err(error.clone()))));
            return;
        }
        self.next_commit = first_commit + ended.len() as u64;
        core.published.store(self.next_commit - 1, Ordering::Release);
        if let Some(delay) = delay {
            core.sync_within(delay);
        }
        for (table, commit) in retracted {
            if core.erasure.note(table, commit, time_ms) {
                core.wake(|wakes| &wakes.erase);
            }
        }
        core.counters.commits.fetch_add(ended.len() as u64, Ordering::Relaxed);
        if marked > 0 {
            let before = core.counters.marks.fetch_add(marked, Ordering::SeqCst);
            if before == core.counters.marks_seen.load(Ordering::SeqCst) {
                core.wake(|wakes| &wakes.compact);
            }
        }
        self.delay.tells(core.queue.len());
        for (slot, committed) in ended {
            self.complete(slot, Outcome::Final(Ok(committed)));
        }
    }

    /// The wakers of the slots completed so far.
    pub(crate) fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers)
    }

    fn complete(&mut self, slot: Claim, outcome: Outcome) {
        self.wakers.extend(slot.complete(outcome));
    }

    fn refuse_all(&mut self, group: Vec<Member>, error: &Error) {
        for member in group {
            self.complete(member.slot, Outcome::Final(Err(error.clone())));
        }
    }

    /// Checks the preconditions of each member and assigns its sequence ids; refused ones are
    /// completed here and are not in the result.
    fn assign_all(&mut self, core: &Core, group: Vec<Member>) -> Vec<Member> {
        let mut kept = Vec::with_capacity(group.len());
        for mut member in group {
            if values_may_have_changed(core, &member.request) && !Planted::ValuesNotLookedAt.is_on()
            {
                let Request { batch, durability, .. } = member.request;
                self.complete(member.slot, Outcome::Retry(batch, durability));
                continue;
            }
            match assign(&mut member.request, core.expiry_now()) {
                Ok(seqs) => {
                    member.seqs = seqs;
                    kept.push(member);
                }
                Err(error) => self.complete(member.slot, Outcome::Final(Err(error))),
            }
        }
        kept
    }

    /// Waits until the memtable and the ring can take the group, freezing the memtable when it is
    /// full. Returns the commit time that the memtable was asked about. Fails without a trace when
    /// the disk is full or the store poisoned.
    fn make_room(&mut self, core: &Core, bytes: u64, targets: usize) -> Result<u64> {
        loop {
            core.health.check()?;
            let view = core.views.current();
            let body_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            let span = self.writer.position().lsn - self.memtable_lsn + bytes;
            let time_ms = core.clock.commit_now();
            let (parts, of_parts) = limits::RING_SPAN_PARTS;
            let fits = view.active.fits(self.next_commit, time_ms, body_bytes, targets);
            let empty = view.active.is_empty();
            let full = view.active.bytes() >= core.options.memtable_bytes
                || span > core.options.ring_bytes / of_parts * parts
                || !fits;
            if empty && !fits {
                // It counts times from its base on, in 32 bits: nothing was written for weeks.
                let fresh = Memtable::in_pool(self.next_commit, time_ms, &core.memory);
                core.views.replace(|view| view.active = Arc::new(fresh));
            }
            if (empty || !full) && core.log.free_bytes() > bytes {
                return Ok(time_ms);
            }
            let waits = self.freeze(core);
            if waits || core.log.free_bytes() <= bytes {
                core.flush_failure()?;
                core.scheduler.pause(Duration::from_micros(200));
            }
        }
    }
}

/// Slots that become one group.
#[derive(Default)]
struct Gathered {
    members: Vec<Member>,
    bytes: usize,
    /// Whether one of them writes values.
    is_keyed: bool,
}

impl Gathered {
    /// Takes waiting slots, as many as one group holds. The first that does not fit is put back.
    fn gather(&mut self, core: &Core, leadership: &Leadership<'_, Arc<Slot>>) {
        let bytes_max = core.options.batch_bytes_max();
        while self.members.len() < limits::GROUP_BATCHES_MAX {
            let Some(slot) = leadership.pop() else { break };
            let stays = |request: &Request| {
                let batch = &request.batch;
                let looks_at_values =
                    batch.preconditions().iter().any(|p| matches!(p, Precondition::Value { .. }));
                let too_large = self.bytes + batch.byte_count() > bytes_max;
                !self.members.is_empty() && (too_large || self.is_keyed && looks_at_values)
            };
            let Some(request) = slot.take_request_unless(stays) else {
                leadership.put_back(slot);
                break;
            };
            self.bytes += request.batch.byte_count();
            self.is_keyed |= request.batch.has_keyed_writes();
            self.members.push(Member { slot: Claim::new(slot), request, seqs: Vec::new() });
        }
    }

    /// Whether anyone asks for a sync.
    fn is_synced(&self) -> bool {
        self.members.iter().any(|member| member.request.durability == Durability::Sync)
    }
}

/// What is in the memtable and nobody knows of yet.
struct Inserted {
    ended: Vec<(Claim, Committed)>,
    /// Tables in which something was retracted, and the commit.
    retracted: Vec<(TableId, u64)>,
    /// How soon the log is to be synced, if anyone asked.
    delay: Option<Duration>,
}

/// Applies a group to the memtable.
fn insert(
    core: &Core,
    group: Vec<Member>,
    large: Vec<Arc<Segment>>,
    first_commit: u64,
    time_ms: u64,
) -> Inserted {
    group.iter().for_each(|member| show_hiding(core, &member.request.batch));
    let view = core.views.current();
    large.into_iter().for_each(|segment| view.active.hold(segment));
    let ended = Vec::with_capacity(group.len());
    let mut inserted = Inserted { ended, retracted: Vec::new(), delay: None };
    for (commit, member) in (first_commit..).zip(group) {
        let Request { batch, cells, durability, retracted, .. } = member.request;
        inserted.retracted.extend(retracted.into_iter().map(|table| (table, commit)));
        let seqs = member.seqs;
        let hints = cells.iter().map(|cell| cell.run());
        let applied = match batch.into_appends() {
            Ok(appends) => view.active.append(appends, &seqs, commit, time_ms, hints),
            Err(body) => view.active.apply_hinted(body, commit, time_ms, hints),
        };
        applied.expect("the batch wrote its own body");
        if let Durability::Interval(delay) = durability {
            inserted.delay = Some(inserted.delay.map_or(delay, |sooner| sooner.min(delay)));
        }
        inserted.ended.push((member.slot, Committed { commit, time_ms, seqs }));
        // The cells are unpinned here, after the memtable knows what they know.
        drop(cells);
    }
    inserted
}

/// Whether a value that was seen at `resolved_at` may have been written since.
fn values_may_have_changed(core: &Core, request: &Request) -> bool {
    let view = core.views.current();
    // More may count as flushed than was ever committed: an epoch leaves commit numbers out.
    let published = core.published.load(Ordering::Acquire);
    let flushed = core.flushed_through.load(Ordering::Acquire).min(published) > request.resolved_at;
    request.batch.preconditions().iter().any(|precondition| match precondition {
        Precondition::NextSeq { .. } => false,
        Precondition::Value { table, key, .. } => {
            flushed
                || view
                    .memtables()
                    .any(|memtable| memtable.has_write_after(*table, key, request.resolved_at))
        }
    })
}

/// Readers consult marks only in tables that the view says have any: it says so before the first
/// mark of a table is published. The same goes for entries with a time to live of their own.
fn show_hiding(core: &Core, batch: &WriteBatch) {
    let own_ttl = batch.own_ttl_tables();
    if !own_ttl.is_empty() && !own_ttl.is_subset(&core.views.current().own_ttl) {
        core.views.replace(|view| view.own_ttl.extend(own_ttl));
    }
    for index in 0..batch.mark_count() {
        let table = batch.mark_at(index).0.table;
        if !core.views.current().marked.contains(&table) && !Planted::MarksNotShown.is_on() {
            core.views.replace(|view| view.marked.extend([table]));
        }
    }
}

/// Assigns dense sequence ids from the pinned cells, or checks given ones, and settles marks at
/// their places between them; takes back what it did when a later target fails. Returns the
/// sequence id of each target.
fn assign(request: &mut Request, now_ms: u64) -> Result<Vec<u64>> {
    for (cell, seq) in &request.expected {
        // Behind an epoch the next entry gets a higher one than readers can know of.
        let is_expected = *seq == cell.next_seq() || *seq == cell.end();
        if !is_expected && !Planted::ConflictsIgnored.is_on() {
            return Err(Error::Conflict {
                what: "next sequence id".to_owned(),
                expected: seq.to_string(),
                found: cell.end().to_string(),
            });
        }
    }
    check_amended(request)?;
    // What each cell said before it, to be taken back.
    let mut before: Vec<(u64, u64)> = Vec::with_capacity(request.cells.len());
    let mut seqs = Vec::with_capacity(request.cells.len());
    let mut failure = None;
    let mut marks = request.mark_cells.iter().enumerate().peekable();
    for (index, cell) in request.cells.iter().enumerate() {
        while let Some((mark, marked)) =
            marks.next_if(|(m, _)| request.batch.mark_at(*m).1 <= index)
        {
            request.batch.settle_mark(mark, marked.end(), now_ms);
        }
        let given = request.batch.seq(index);
        let next = cell.next_seq();
        let seq = if given == 0 { next } else { given };
        if let Err(error) = check_seq(&request.batch, given, next, seq) {
            failure = Some(error);
            break;
        }
        before.push((next, cell.end()));
        seqs.push(seq);
        cell.assign(seq);
        if given == 0 {
            request.batch.assign(index, seq);
        }
    }
    match failure {
        None => {
            marks.for_each(|(mark, cell)| request.batch.settle_mark(mark, cell.end(), now_ms));
            Ok(seqs)
        }
        Some(error) => {
            let changed = request.cells.iter().zip(before).rev();
            if !Planted::AssignedForGood.is_on() {
                changed.for_each(|(cell, (next, end))| cell.restore(next, end));
            }
            Err(error)
        }
    }
}

/// An entry that has not been written cannot be amended: whoever gets its seq later would find
/// itself amended from the beginning. Entries of the same batch have not been written yet.
fn check_amended(request: &Request) -> Result<()> {
    match request.amended.iter().find(|(cell, seq)| *seq >= cell.end()) {
        None => Ok(()),
        Some((cell, seq)) => Err(Error::NotFound {
            what: format!(
                "the amended entry: its sequence id is {seq}, the newest one of its timeline is {}",
                cell.end() - 1
            ),
        }),
    }
}

fn check_seq(batch: &WriteBatch, given: u64, next: u64, seq: u64) -> Result<()> {
    if seq > limits::SEQ_MAX {
        return Err(Error::TooLarge { what: "sequence id", value: seq, limit: limits::SEQ_MAX });
    }
    if !batch.holds_seq(seq) {
        let what = "sequence id of a batch that waited for two billion entries before it";
        return Err(Error::TooLarge { what, value: seq, limit: u64::from(u32::MAX) });
    }
    if given != 0 && given < next {
        return Err(Error::Conflict {
            what: "given sequence id, which must be above all before it".to_owned(),
            expected: format!("at least {next}"),
            found: given.to_string(),
        });
    }
    Ok(())
}
