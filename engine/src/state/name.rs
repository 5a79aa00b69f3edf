//! Which timeline a cell is of: its table and its id, short ids in place.
//!
//! A look-up compares the id in the cell that it is about to use anyhow, so that a short id costs
//! no further place in memory.

use crate::entry::TableId;

/// Bytes of the longest id that is held in place: with it, table and lengths fill 32 bytes.
const SHORT_MAX: usize = 22;

/// See the module.
#[derive(Debug)]
pub(super) struct TimelineName {
    table: TableId,
    id: Id,
}

#[derive(Debug)]
enum Id {
    Short { length: u8, bytes: [u8; SHORT_MAX] },
    Long(Box<[u8]>),
}

impl TimelineName {
    pub(super) fn new(table: TableId, id: &[u8]) -> TimelineName {
        let mut bytes = [0; SHORT_MAX];
        let id = match (bytes.get_mut(..id.len()), u8::try_from(id.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(id);
                Id::Short { length, bytes }
            }
            _ => Id::Long(id.into()),
        };
        TimelineName { table, id }
    }

    pub(super) fn is(&self, table: TableId, id: &[u8]) -> bool {
        self.table == table && self.id() == id
    }

    /// Heap bytes behind it.
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.id {
            Id::Short { .. } => 0,
            Id::Long(id) => id.len(),
        }
    }

    fn id(&self) -> &[u8] {
        match &self.id {
            Id::Short { length, bytes } => &bytes[..usize::from(*length)],
            Id::Long(id) => id,
        }
    }
}

const _: () = assert!(size_of::<TimelineName>() <= 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_any_length_are_recognised() {
        for length in [1, SHORT_MAX - 1, SHORT_MAX, SHORT_MAX + 1, 300, 1024] {
            let id = vec![7; length];
            let name = TimelineName::new(TableId(16), &id);
            assert!(name.is(TableId(16), &id));
            assert!(!name.is(TableId(17), &id));
            assert!(!name.is(TableId(16), &id[1..]));
            assert!(!name.is(TableId(16), &[&id[..], &[0]].concat()));
            assert_eq!(name.heap_bytes() > 0, length > SHORT_MAX);
        }
    }
}
