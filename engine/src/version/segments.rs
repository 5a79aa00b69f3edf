//! The live payload segments, and how many SSTables need each.
//!
//! # Invariants
//! 1. The users of a segment are the live SSTables that list it.
//! 2. `unused` has exactly the segments without users: one is added before its SSTables and removed
//!    behind its last one, so there are some in the middle of a change, and none at its end.

use super::SegmentMeta;
use crate::file::Extent;
use crate::limits::{BLOCK_SIZE, SEGMENT_BYTES_MAX, SEGMENT_NUMBER_MAX};
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LiveSegments {
    by_number: BTreeMap<u64, (SegmentMeta, u64)>,
    unused: BTreeSet<u64>,
}

impl LiveSegments {
    /// The segments, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &SegmentMeta> {
        self.by_number.values().map(|(meta, _)| meta)
    }

    /// Whether a segment of this number is live.
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.by_number.contains_key(&number)
    }

    /// The segments that no SSTable needs.
    pub(crate) fn unused(&self) -> impl Iterator<Item = u64> {
        self.unused.iter().copied()
    }

    pub(super) fn add(&mut self, meta: &SegmentMeta) -> Result<(), String> {
        check(meta).map_err(|error| format!("segment {}: {error}", meta.number))?;
        if self.by_number.contains_key(&meta.number) {
            return Err(format!("segment {} is added twice", meta.number));
        }
        self.by_number.insert(meta.number, (meta.clone(), 0));
        self.unused.insert(meta.number);
        Ok(())
    }

    pub(super) fn remove(&mut self, number: u64) -> Result<(), String> {
        if !self.unused.remove(&number) {
            return Err(match self.by_number.get(&number) {
                Some((_, users)) => {
                    format!("segment {number} is removed, {users} SSTables need it")
                }
                None => format!("segment {number} is removed but not live"),
            });
        }
        self.by_number.remove(&number);
        Ok(())
    }

    /// A live segment lies in another extent from now on.
    pub(super) fn replace(
        &mut self,
        number: u64,
        extent: Extent,
        footer_checksum: u32,
    ) -> Result<(), String> {
        let Some((meta, _)) = self.by_number.get_mut(&number) else {
            return Err(format!("segment {number} is replaced but not live"));
        };
        let replaced = SegmentMeta { extent, footer_checksum, ..meta.clone() };
        check(&replaced).map_err(|error| format!("segment {number}: {error}"))?;
        // The older root needs the old extent until this one is durable.
        if extent.offset < meta.extent.end() && meta.extent.offset < extent.end() {
            return Err(format!("segment {number} would lie over itself, at {extent:?}"));
        }
        *meta = replaced;
        Ok(())
    }

    /// What is known of the segment of this number, where it is live.
    pub(crate) fn get(&self, number: u64) -> Option<&SegmentMeta> {
        self.by_number.get(&number).map(|(meta, _)| meta)
    }

    /// Refuses the segments of an SSTable that are not live.
    pub(super) fn check_live(&self, numbers: &[u64]) -> Result<(), String> {
        match numbers.iter().find(|number| !self.contains(**number)) {
            Some(missing) => Err(format!("it needs segment {missing}, which is not live")),
            None => Ok(()),
        }
    }

    /// An SSTable that needs these, all of them live, is live now.
    pub(super) fn hold(&mut self, numbers: &[u64]) {
        for number in numbers {
            let (_, users) = self.by_number.get_mut(number).expect("check_live was asked");
            *users += 1;
            self.unused.remove(number);
        }
    }

    /// An SSTable that needed these is live no more.
    pub(super) fn let_go(&mut self, numbers: &[u64]) {
        for number in numbers {
            let (_, users) = self.by_number.get_mut(number).expect("it is held");
            *users -= 1;
            if *users == 0 {
                self.unused.insert(*number);
            }
        }
    }
}

/// What must hold of every meta, by itself.
fn check(meta: &SegmentMeta) -> Result<(), String> {
    let SegmentMeta { number, extent, bytes, .. } = *meta;
    if number == 0 || number > SEGMENT_NUMBER_MAX {
        return Err("the number is not possible".to_owned());
    }
    let aligned =
        extent.offset.is_multiple_of(BLOCK_SIZE) && extent.length.is_multiple_of(BLOCK_SIZE);
    if !aligned || extent.offset.checked_add(extent.length).is_none() {
        return Err(format!("its extent is {extent:?}"));
    }
    if bytes == 0 || bytes > extent.length || bytes > SEGMENT_BYTES_MAX + BLOCK_SIZE {
        return Err(format!("{bytes} bytes in an extent of {}", extent.length));
    }
    Ok(())
}
