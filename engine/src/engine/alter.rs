//! Changing the options of a table.
//!
//! ```text
//! shorter time to live    root ─► view            hidden once it is durable
//! longer, or none         view ─► root            the old fence is fixed when the view is shown
//! ```
//! The fence of a table, before which nothing is shown, must never fall. So the record that a
//! longer time to live begins with keeps the old fence of that very moment. Readers look at the
//! clock before the view: who still has the old record looked at the clock before the new one was
//! shown, and did not hide more than it does.
//!
//! A new grid holds from a moment inside its root on. No flush begins between that moment and the
//! view that shows the grid: what it takes was committed before, or it goes by the new grid.
//!
//! # Concurrency
//! Under the lock of the grids, which whoever begins a flush takes as well, and under that of the
//! root, as every root; the view is swapped under its own. They are taken in this order.

use super::Core;
use super::root::{Change, Root};
use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::options::TableOptions;
use crate::sync::Arc;
use crate::version::{Edit, HasMeta, TableRecord, window_width_ms};
use std::collections::BTreeSet;

impl Core {
    /// Gives a table other options.
    pub(crate) fn alter_table(&self, id: TableId, options: &TableOptions) -> Result<()> {
        self.check_changeable()?;
        options.validate()?;
        let altered = self.change_record(|root| {
            let old = alterable(root, id, options)?;
            Ok(self.altered(root, old, options))
        });
        self.wake(|wakes| &wakes.expire);
        self.wake(|wakes| &wakes.erase);
        if altered.is_ok() {
            // Jobs that were picked by the options as they were begin anew, if they are still due.
            let view = self.views.current();
            view.sstables_of(id).for_each(|sstable| self.claims.ask(sstable.meta().number));
        }
        altered
    }

    /// Makes the record of a table another one. No flush begins meanwhile.
    fn change_record(&self, record: impl FnOnce(&Root) -> Result<TableRecord>) -> Result<()> {
        let _grids = self.grids.lock();
        let changed = self.commit_root_with(|root| {
            let edits = vec![Edit::TableAltered(record(root)?)];
            Ok(Change { edits, ..Change::default() })
        });
        if changed.is_err() {
            // What the catalog says holds again, where it was not what readers were shown.
            let root = self.root.lock();
            let tables = Arc::new(root.catalog.tables.clone());
            self.views.replace(|view| view.tables = tables);
        }
        changed
    }

    /// The record of `old` with other options, shown to readers at once where it hides less.
    fn altered(&self, root: &Root, old: &TableRecord, options: &TableOptions) -> TableRecord {
        // All that was committed before has this time at the latest, and all that comes later has
        // it at the earliest.
        let from_ms = self.clock.commit_now();
        let windows: BTreeSet<u64> =
            root.catalog.version.shards(old.id).map(|(shard, _)| shard.window).collect();
        // A flush may be at work that goes by the grid as it was, and into any piece that ends
        // behind the beginning of the oldest memtable. While the root is locked none becomes live.
        let view = self.views.current();
        let unflushed_from_ms = view.memtables().map(|memtable| memtable.base_time_ms()).min();
        let unflushed_from_ms = unflushed_from_ms.unwrap_or(u64::MAX);
        let is_live =
            |from, end| end > unflushed_from_ms || windows.range(from..end).next().is_some();
        let grid = old.grid.altered(from_ms, window_width_ms(options), is_live);
        let forever = u64::MAX;
        let ttl_ms = |options: &TableOptions| options.ttl_ms.unwrap_or(forever);
        if ttl_ms(options) <= ttl_ms(&old.options) {
            return old.altered(options.clone(), grid, self.expiry_now());
        }
        let mut record = None;
        self.views.replace(|view| {
            let altered = old.altered(options.clone(), grid, self.expiry_now());
            // A flush that begins behind a failure must not go by a grid that is taken back.
            let shown = TableRecord { grid: old.grid.clone(), ..altered.clone() };
            Arc::make_mut(&mut view.tables).insert(old.id, shown);
            record = Some(altered);
        });
        record.expect("a view is replaced at once")
    }
}

/// The record of the table, if it can have these options.
fn alterable<'a>(root: &'a Root, id: TableId, options: &TableOptions) -> Result<&'a TableRecord> {
    let record = root.catalog.tables.get(&id).filter(|_| !id.is_engine_owned());
    let Some(record) = record else {
        return Err(Error::NotFound { what: format!("table {}", id.0) });
    };
    let TableOptions { kind, sequence, .. } = &record.options;
    if *kind != options.kind {
        return Err(Error::invalid(format!(
            "table {} holds {kind:?} data, which cannot become {:?} data",
            record.name, options.kind
        )));
    }
    if *sequence != options.sequence {
        return Err(Error::invalid(format!(
            "table {} has {sequence:?} sequence ids, which cannot become {:?} ones",
            record.name, options.sequence
        )));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{Store, append, finish, flush, freeze};
    use std::time::Duration;

    const KEY: &[u8] = b"room";

    fn ttl(seconds: u64) -> TableOptions {
        TableOptions::timeline().ttl(Duration::from_secs(seconds))
    }

    /// A store with an entry in a window of the only piece.
    fn store() -> (Store, TableId) {
        let store = Store::by_hand();
        let table = store.engine.create_table("message", ttl(8)).unwrap();
        append(store.core(), table, KEY, b"in a window of the only piece");
        flush(store.core());
        (store, table)
    }

    /// A longer time to live was shown with its grid before it was durable. A flush that began then
    /// went by that grid; and where the root failed, the old one held again. The next flush went to
    /// a lower window than the one before, so newer entries lay behind older ones, and every read
    /// of the timeline ended with `Corruption`.
    #[test]
    fn no_flush_goes_by_a_grid_that_is_taken_back() {
        let (store, table) = store();
        let core = store.core();
        store.clock.advance(Duration::from_millis(5_141));
        append(core, table, KEY, b"at the end of that piece");
        let frozen = freeze(core);
        let altered = core.commit_root_with(|root| {
            let old = alterable(root, table, &ttl(40))?;
            let record = core.altered(root, old, &ttl(40));
            assert_ne!(record.grid, old.grid);
            let shown = core.views.current().tables[&table].options.clone();
            assert_eq!(shown, record.options, "readers are shown more at once");
            Err(Error::NoSpace { what: "a manifest extent", needed: 1 })
        });
        assert!(altered.is_err());
        let job = core.flush_job(&frozen);
        // As `alter_table` does then.
        let tables = Arc::new(core.root.lock().catalog.tables.clone());
        core.views.replace(|view| view.tables = tables);
        finish(core, frozen, job);
        append(core, table, KEY, b"in the same moment");
        flush(core);
        assert_eq!(store.seqs(table, KEY), [1, 2, 3]);
    }

    /// A flush that began between the moment from which a new grid holds and its root went by the
    /// old one. Where a window of that ended in between, its entries lay in a higher window than
    /// those that came later, and every read of the timeline ended with `Corruption`.
    #[test]
    fn no_flush_begins_while_a_grid_changes() {
        let (store, table) = store();
        let core = store.core();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let mut begun = Err(std::sync::mpsc::RecvTimeoutError::Timeout);
            let altered = core.change_record(|root| {
                let record = core.altered(root, alterable(root, table, &ttl(40))?, &ttl(40));
                store.clock.advance(Duration::from_millis(500));
                append(core, table, KEY, b"behind the end of that window");
                let frozen = freeze(core);
                scope.spawn(move || sender.send((Box::new(core.flush_job(&frozen)), frozen)));
                begun = receiver.recv_timeout(Duration::from_millis(100));
                Ok(record)
            });
            altered.unwrap();
            let (job, frozen) = match begun {
                Ok(begun) => begun,
                Err(_) => receiver.recv().unwrap(),
            };
            finish(core, frozen, *job);
        });
        append(core, table, KEY, b"in the same moment");
        flush(core);
        assert_eq!(store.seqs(table, KEY), [1, 2, 3]);
    }

    /// Whoever began a flush looked at the grid under the lock of the root, and so waited out the
    /// syncs of a root that somebody else was writing.
    #[test]
    fn a_flush_begins_beside_the_root_of_somebody_else() {
        let (store, table) = store();
        let core = store.core();
        append(core, table, KEY, b"to be flushed");
        let frozen = freeze(core);
        let (sender, receiver) = std::sync::mpsc::channel();
        let begun = std::thread::scope(|scope| {
            let root = core.root.lock();
            let flushed = &frozen;
            scope.spawn(move || sender.send(Box::new(core.flush_job(flushed))));
            let begun = receiver.recv_timeout(Duration::from_secs(10));
            drop(root);
            begun
        });
        finish(core, frozen, *begun.expect("it waits for the root"));
        assert_eq!(store.seqs(table, KEY), [1, 2]);
    }
}
