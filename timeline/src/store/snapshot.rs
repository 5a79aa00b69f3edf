//! [`Snapshot`]: one moment of a store.

use super::core::StoreNumber;
use crate::backend::BackendSnapshot;
use std::sync::Arc;

/// One moment of a whole store. All that is read through it, of any timelines and tables, belongs
/// to one commit; later writes do not show. Entries go on expiring.
///
/// ```
/// # let store = tidelog::Store::in_memory();
/// # let inbox = store.table::<String>("sync").create()?;
/// let alice = inbox.timeline("alice")?;
/// let before = store.snapshot()?;
/// alice.store(&"hello".to_string())?;
/// assert_eq!(alice.at(&before).len()?, 0);
/// assert_eq!(alice.len()?, 1);
/// # Ok::<(), tidelog::Error>(())
/// ```
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) inner: Arc<dyn BackendSnapshot>,
    pub(crate) store: StoreNumber,
}

impl Snapshot {
    /// The number of the last commit that it shows.
    pub fn commit(&self) -> u64 {
        self.inner.commit()
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot({})", self.commit())
    }
}
