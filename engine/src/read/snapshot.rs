//! Snapshots: one moment of the whole store, named by a commit number.
//!
//! A snapshot pins no memtable and no SSTable; each read takes the view of its own moment and
//! leaves out what is newer. Entries of timelines are never overwritten, so all a snapshot holds
//! back is older versions of keyed values, which compaction keeps while the snapshot is registered.

use super::items::{Items, Reasons};
use super::source::Bounds;
use super::{Fences, Scan, Timelines, Values, View, keyed, scan};
use crate::engine::Core;
use crate::entry::{Direction, Entry, Payload, TableId};
use crate::error::{Error, Result};
use crate::options::Sequence;
use crate::planted::Planted;
use crate::sync::{Arc, Mutex, Ordering};
use crate::version::TableKind;
use std::collections::BTreeMap;
use std::ops::Bound;

/// One consistent moment over all timelines and tables. Cheap to take, cheap to clone.
#[derive(Clone)]
pub struct Snapshot {
    core: Arc<Core>,
    registration: Arc<Registration>,
}

/// Live snapshots by commit.
#[derive(Default)]
pub(crate) struct Snapshots {
    live: Mutex<BTreeMap<u64, Live>>,
}

/// The live snapshots of one commit.
struct Live {
    count: usize,
    /// Monotonic time of the first of them.
    since_ms: u64,
}

impl Snapshots {
    /// Commits of live snapshots, ascending.
    pub(crate) fn commits(&self) -> Vec<u64> {
        self.live.lock().keys().copied().collect()
    }

    /// Commit of the oldest live snapshot, and the monotonic time at which it was taken.
    pub(crate) fn oldest(&self) -> Option<(u64, u64)> {
        self.live.lock().first_key_value().map(|(commit, live)| (*commit, live.since_ms))
    }
}

struct Registration {
    core: Arc<Core>,
    commit: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if !self.core.process.is_here() {
            return;
        }
        let mut live = self.core.snapshots.live.lock();
        if let Some(same) = live.get_mut(&self.commit) {
            same.count -= 1;
            if same.count == 0 {
                live.remove(&self.commit);
            }
        }
    }
}

impl Snapshot {
    pub(crate) fn new(core: &Arc<Core>) -> Snapshot {
        // The commit is taken under the lock: a compaction that lists the snapshots either sees
        // this one, or began before the commit it names was superseded.
        let since_ms = core.raw_clock.monotonic_ms();
        let mut commit = 0;
        // A child of fork reads nothing, and the lock may be held by a thread that it has not.
        if core.process.is_here() {
            let mut live = core.snapshots.live.lock();
            let ahead = u64::from(Planted::SnapshotAhead.is_on());
            commit = core.published.load(Ordering::Acquire) + ahead;
            live.entry(commit).or_insert(Live { count: 0, since_ms }).count += 1;
        }
        let registration = Arc::new(Registration { core: Arc::clone(core), commit });
        Snapshot { core: Arc::clone(core), registration }
    }

    /// The newest commit that this snapshot shows.
    pub fn commit(&self) -> u64 {
        self.registration.commit
    }

    /// The entry at `seq`, if it is there and has neither expired nor been trimmed or deleted.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown table, [`Error::Corruption`] or [`Error::Io`] where the
    /// file cannot be read.
    pub fn get(&self, table: TableId, key: &[u8], seq: u64) -> Result<Option<Entry>> {
        self.scan(table, key, seq, seq, Direction::Backward)?.next().transpose()
    }

    /// The newest entry that is shown: one that has neither expired nor been trimmed or deleted.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn latest(&self, table: TableId, key: &[u8]) -> Result<Option<Entry>> {
        self.scan(table, key, 0, u64::MAX, Direction::Backward)?.next().transpose()
    }

    /// The entry at `seq` as it was written, then as each amendment made it, oldest first: those of
    /// the entry itself and those of its origin, as of this snapshot. Nothing, if the entry is not
    /// there or has expired.
    ///
    /// Of very many amendments of one entry only the newest are kept, see
    /// [`REVISIONS_KEPT_MAX`](crate::limits::REVISIONS_KEPT_MAX).
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn versions(&self, table: TableId, key: &[u8], seq: u64) -> Result<Vec<Entry>> {
        let mut scan = self.scan(table, key, seq, seq, Direction::Backward)?;
        scan.next_versions().map_err(|error| self.explain(error))
    }

    /// The highest sequence id that the timeline had at this snapshot; 0 if it was never written.
    /// It never goes back, whatever expires or is deleted.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn latest_seq(&self, table: TableId, key: &[u8]) -> Result<u64> {
        self.checked(table, key, TableKind::Timeline)?;
        self.core.latest_seq(table, key, self.commit()).map_err(|error| self.explain(error))
    }

    /// Entries that a scan of the whole timeline would return now.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn len(&self, table: TableId, key: &[u8]) -> Result<u64> {
        let (now_ms, view) = self.checked(table, key, TableKind::Timeline)?;
        let count = || {
            let limits = self.limits(now_ms, &view, table, key, (0, u64::MAX))?;
            scan::count(&view, table, key, &limits)
        };
        count().map_err(|error| self.explain(error))
    }

    /// Entries with `from <= seq <= to`, oldest or newest first.
    ///
    /// # Errors
    /// As [`Snapshot::get`], here and from the iterator.
    pub fn scan(
        &self,
        table: TableId,
        key: &[u8],
        from: u64,
        to: u64,
        direction: Direction,
    ) -> Result<Scan> {
        let (now_ms, view) = self.checked(table, key, TableKind::Timeline)?;
        let scan = || {
            let limits = self.limits(now_ms, &view, table, key, (from, to))?;
            Scan::new(self, &view, table, key, limits, direction)
        };
        scan().map_err(|error| self.explain(error))
    }

    /// See [`Snapshot::scan_items`].
    pub(super) fn items(
        &self,
        table: TableId,
        key: &[u8],
        (from, to): (u64, u64),
        direction: Direction,
    ) -> Result<Items> {
        let (now_ms, view) = self.checked(table, key, TableKind::Timeline)?;
        let limits = self.limits(now_ms, &view, table, key, (from, to))?;
        let fences = limits.1.clone();
        let scan = Scan::new(self, &view, table, key, limits, direction)?;
        let record = view.tables.get(&table).expect("its table was there a moment ago");
        let range = match record.options.sequence {
            Sequence::Given => None,
            Sequence::Assigned => {
                let latest = self.core.latest_seq_in(&view, table, key, self.commit())?;
                Some((from.max(1), to.min(latest)))
            }
        };
        let own_ttl = view.own_ttl.contains(&table);
        let expires =
            own_ttl || record.alive_from_ms(now_ms).max(fences.marks.alive_from_ms(now_ms)) > 0;
        let (commit, key) = (self.commit(), key.into());
        let reasons = Reasons { view, table, key, commit, fences, expires, own_ttl };
        Ok(Items::new(scan, direction, range, reasons))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn value(&self, table: TableId, key: &[u8]) -> Result<Option<Payload>> {
        let (now_ms, view) = self.checked(table, key, TableKind::Keyed)?;
        let alive_from_ms = alive_from_ms(now_ms, &view, table);
        keyed::value_in(&view, table, key, self.commit(), alive_from_ms)
            .map_err(|error| self.explain(error))
    }

    /// Keys and values in the order of the keys.
    ///
    /// # Errors
    /// As [`Snapshot::get`], here and from the iterator.
    pub fn values(&self, table: TableId, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<Values> {
        let (now_ms, view) = self.checked(table, b"-", TableKind::Keyed)?;
        let alive_from_ms = alive_from_ms(now_ms, &view, table);
        Values::new(self, &view, table, from, to, alive_from_ms)
            .map_err(|error| self.explain(error))
    }

    /// Timelines whose encoded id begins with `prefix`, in the order of their ids, behind `after`,
    /// as they were at this snapshot: one that was first written later is not listed. A timeline is
    /// listed for ever, also when all its entries have expired.
    ///
    /// # Errors
    /// As [`Snapshot::get`], here and from the iterator.
    pub fn timelines(
        &self,
        table: TableId,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> Result<Timelines> {
        let (_, view) = self.checked(table, b"-", TableKind::Timeline)?;
        Timelines::new(self, &view, table, prefix, after).map_err(|error| self.explain(error))
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Beside a live writer, damage may be no damage: the writer has reused the place.
    pub(super) fn explain(&self, error: Error) -> Error {
        self.core.explain(error)
    }

    /// The time against which entries expire, and the view, after a look at the arguments.
    ///
    /// The clock first, the view second: a time to live that is made longer fixes the old fence at
    /// the moment its view is shown, so whoever still has the old view looked at the clock before.
    fn checked(&self, table: TableId, key: &[u8], kind: TableKind) -> Result<(u64, Arc<View>)> {
        crate::batch::check_key(key)?;
        self.core.check_open()?;
        let now_ms = self.core.expiry_now();
        let view = self.core.views.current();
        let record = view.tables.get(&table).filter(|_| !table.is_engine_owned());
        let Some(record) = record else {
            return Err(Error::NotFound { what: format!("table {}", table.0) });
        };
        if record.options.kind != kind {
            return Err(Error::invalid(format!(
                "table {} holds {:?} data, not {kind:?} data",
                record.name, record.options.kind
            )));
        }
        Ok((now_ms, view))
    }

    /// What bounds a read of these seqs, and the holes in it.
    fn limits(
        &self,
        now_ms: u64,
        view: &Arc<View>,
        table: TableId,
        key: &[u8],
        (from, to): (u64, u64),
    ) -> Result<(Bounds, Fences)> {
        let commit = self.commit();
        let mut fences = Fences::read(view, table, key, commit)?;
        fences.shown_from = self.core.shown_from(view, table, key, commit, &fences.marks)?;
        let own = fences.marks.alive_from_ms(now_ms);
        let alive_from_ms = alive_from_ms(now_ms, view, table).max(own);
        let from = from.max(fences.shown_from);
        Ok((Bounds { from, to, commit, alive_from_ms, now_ms }, fences))
    }
}

/// The TTL fence of a table: what was committed at or after this time is alive.
fn alive_from_ms(now_ms: u64, view: &View, table: TableId) -> u64 {
    view.tables.get(&table).map_or(0, |record| record.alive_from_ms(now_ms))
}
