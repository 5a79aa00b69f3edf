//! What a store shows, as plain maps: for tests whose stores may lack or refuse anything.

use super::Id;
use std::collections::BTreeMap;
use std::ops::Bound;
use tidelog_engine::{Direction, Engine, Result, TableId};

/// Entries by timeline, values by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dump {
    pub(crate) timelines: BTreeMap<Id, Vec<(u64, Vec<u8>)>>,
    pub(crate) values: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Dump {
    /// Reads one timeline table, both ways, and one keyed table.
    pub(crate) fn read(engine: &Engine, messages: TableId, values: TableId) -> Result<Dump> {
        let snapshot = engine.snapshot();
        let mut dump = Dump::default();
        for timeline in snapshot.timelines(messages, b"", None)? {
            let key = timeline?.key;
            let scan = |direction| -> Result<Vec<(u64, Vec<u8>)>> {
                let scan = snapshot.scan(messages, &key, 0, u64::MAX, direction)?;
                scan.map(|entry| entry.map(|entry| (entry.seq, entry.payload.to_vec()))).collect()
            };
            let forward = scan(Direction::Forward)?;
            let mut backward = scan(Direction::Backward)?;
            backward.reverse();
            assert_eq!(forward, backward, "both directions agree");
            dump.timelines.insert((messages, key.to_vec()), forward);
        }
        for pair in snapshot.values(values, Bound::Unbounded, Bound::Unbounded)? {
            let (key, value) = pair?;
            dump.values.insert(key.to_vec(), value.to_vec());
        }
        Ok(dump)
    }
}
