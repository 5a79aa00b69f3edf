//! The memtable.

use crate::entry::{Direction, TableId};
use crate::memtable::Memtable as Inner;
use std::sync::Arc;

/// A memtable.
pub struct Memtable(Arc<Inner>);

impl Default for Memtable {
    fn default() -> Memtable {
        Memtable(Arc::new(Inner::new(0, 0)))
    }
}

impl Memtable {
    /// Applies the body of a commit.
    ///
    /// # Panics
    /// Where it cannot have been committed.
    pub fn apply(&self, body: Vec<u8>, commit: u64) {
        self.0.apply(Arc::new(body), commit, 0).expect("the body of a batch");
    }

    /// Reads at most so many of the newest entries of a timeline. Gives their count.
    pub fn newest(&self, table: TableId, key: &[u8], limit: usize) -> u64 {
        let Some(run) = self.0.run(table, key) else { return 0 };
        let Some(last) = run.count_at(u64::MAX).checked_sub(1) else { return 0 };
        let entries = run.cursor(last, Direction::Backward).take(limit);
        entries.map(|entry| u64::from(entry.is_ok())).sum()
    }
}
