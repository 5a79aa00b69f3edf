//! An open SSTable, read by every way there is.
//!
//! Lists end after as many items as the caller wants: an SSTable that lies may have any number.

use super::contents::Version;
use crate::entry::{Direction, Entry};
use crate::error::{Corruption, Error, Result};
use crate::sstable::{Depth, FragmentView, Rank, Sstable};
use std::ops::Bound;
use std::sync::Arc;

/// An entry in a listing: key, seq, commit, commit time.
pub type Place = (Vec<u8>, u64, u64, u64);

/// What an SSTable holds of a timeline: key, first and last seq, count.
pub type Run = (Vec<u8>, u64, u64, u64);

/// See the module. Every error is one that the SSTable gives.
pub struct Open(Arc<Sstable>);

impl Open {
    pub(super) fn new(sstable: Arc<Sstable>) -> Open {
        Open(sstable)
    }

    /// The entry of this seq.
    ///
    /// # Errors
    /// See [`Open`].
    pub fn lookup(&self, key: &[u8], seq: u64) -> Result<Option<Entry>> {
        let Some(run) = self.0.find(key)? else {
            return Ok(None);
        };
        let rank = self.0.rank(key, &run, Rank::Seq(seq))?;
        let mut cursor = Sstable::cursor(&run, rank, Direction::Forward);
        match cursor.step(&self.0, key)? {
            Some(place) if place.seq == seq => cursor.entry().map(Some),
            _ => Ok(None),
        }
    }

    /// How many entries have a lower seq, commit and time; none where there is no such timeline.
    ///
    /// # Errors
    /// See [`Open`].
    pub fn ranks(&self, key: &[u8], place: (u64, u64, u64)) -> Result<Option<[u64; 3]>> {
        let Some(run) = self.0.find(key)? else {
            return Ok(None);
        };
        let by_seq = self.0.rank(key, &run, Rank::Seq(place.0))?;
        let by_commit = self.0.rank(key, &run, Rank::Commit(place.1))?;
        let by_time = self.0.rank(key, &run, Rank::Time(place.2))?;
        Ok(Some([by_seq, by_commit, by_time]))
    }

    /// At most so many entries from the one of an index on; none where there is no such timeline.
    ///
    /// # Errors
    /// See [`Open`].
    pub fn walk(
        &self,
        key: &[u8],
        start: u64,
        direction: Direction,
        most: usize,
    ) -> Result<Option<Vec<Entry>>> {
        let Some(run) = self.0.find(key)? else {
            return Ok(None);
        };
        let mut cursor = Sstable::cursor(&run, start, direction);
        let mut entries = Vec::new();
        while entries.len() < most && cursor.step(&self.0, key)?.is_some() {
            entries.push(cursor.entry()?);
        }
        Ok(Some(entries))
    }

    /// At most so many timelines, by key.
    ///
    /// # Errors
    /// See [`Open`].
    pub fn timelines(&self, from: Bound<&[u8]>, most: usize) -> Result<Vec<Run>> {
        let mut cursor = self.0.timelines(from)?;
        let mut found = Vec::new();
        while found.len() < most
            && let Some((key, run)) = cursor.next()?
        {
            found.push((key.into_vec(), run.first_seq, run.last_seq, run.count));
        }
        Ok(found)
    }

    /// The timelines, in the order of the directory.
    ///
    /// # Errors
    /// See [`Open`].
    pub fn directory(&self) -> Result<Vec<Run>> {
        let mut found = Vec::new();
        for page in 0..self.0.run_pages()? {
            for (key, run) in self.0.runs_of_page(page)? {
                found.push((key.into_vec(), run.first_seq, run.last_seq, run.count));
            }
        }
        Ok(found)
    }

    /// At most so many entries in the order of the data, from a key on.
    ///
    /// # Errors
    /// See [`Open`].
    pub fn scan(&self, from: Option<&[u8]>, most: usize) -> Result<Vec<Place>> {
        let mut fragments = self.0.fragments(from)?;
        let mut found = Vec::new();
        while found.len() < most
            && let Some(fragment) = fragments.next()?
        {
            list(&fragment.view(), most, &mut found)?;
        }
        Ok(found)
    }

    /// Whether the filter lets a key pass.
    ///
    /// # Errors
    /// See [`Open`].
    pub fn may_have(&self, key: &[u8]) -> Result<bool> {
        self.0.filter_contains(key)
    }

    /// The versions of a key up to a commit, newest first: all of them, or down to the first that
    /// needs no older.
    ///
    /// # Errors
    /// See [`Open`].
    pub fn versions(&self, key: &[u8], commit_max: u64, all: bool) -> Result<Vec<Version>> {
        let found = match all {
            true => self.0.all_versions(key, commit_max)?,
            false => self.0.versions(key, commit_max)?,
        };
        Ok(found.into_iter().map(Version::of).collect())
    }

    /// At most so many versions in order, from a key on; in one pass past the cache, or not.
    ///
    /// # Errors
    /// See [`Open`].
    pub fn keys(&self, from: Bound<&[u8]>, pass: bool, most: usize) -> Result<Vec<Version>> {
        let mut cursor = match pass {
            true => self.0.keyed_scan(from)?,
            false => self.0.keyed_cursor(from)?,
        };
        let mut found = Vec::new();
        while found.len() < most
            && let Some(version) = cursor.next()?
        {
            found.push(Version::of(version));
        }
        Ok(found)
    }

    /// Everything that is wrong with it.
    pub fn verify(&self) -> Vec<Corruption> {
        let damage = self.0.verify_with(Depth::Lookups, &|_| None);
        damage.into_iter().map(|damage| damage.corruption).collect()
    }

    /// Puts every block in words; must not panic.
    pub fn describe(&self) {
        for block in self.0.blocks().unwrap_or_default() {
            let _ = self.0.describe_block(block.offset);
        }
    }

    /// At most so many entries of those blocks that still verify, as a salvage finds them.
    ///
    /// # Errors
    /// See [`Open`].
    pub fn remaining_places(&self, most: usize) -> Result<Vec<Place>> {
        let mut remains = self.0.remains()?;
        let mut found = Vec::new();
        for index in 0..remains.block_count() {
            for fragment in readable(remains.fragments(index))? {
                list(&fragment.view(), most, &mut found)?;
            }
        }
        drop(remains.take_runs());
        Ok(found)
    }

    /// The versions of those blocks that still verify, as a salvage finds them.
    ///
    /// # Errors
    /// See [`Open`].
    pub fn remaining_versions(&self) -> Result<Vec<Version>> {
        let remains = self.0.remains()?;
        let mut found = Vec::new();
        for index in 0..remains.block_count() {
            found.extend(readable(remains.versions(index))?.into_iter().map(Version::of));
        }
        Ok(found)
    }
}

/// Adds the entries of a fragment, up to so many in all.
fn list(fragment: &FragmentView<'_>, most: usize, found: &mut Vec<Place>) -> Result<()> {
    for k in 0..fragment.count().min(most.saturating_sub(found.len())) {
        let entry = fragment.entry(k);
        let entry =
            entry.map_err(|error| Error::corruption("fuzzed fragment", 0, error.to_string()))?;
        found.push((fragment.key().to_vec(), entry.seq, entry.commit, entry.time_ms));
    }
    Ok(())
}

/// What a block holds; nothing where it makes no sense, which a salvage leaves out.
fn readable<T>(block: Result<Vec<T>>) -> Result<Vec<T>> {
    match block {
        Err(Error::Corruption(_)) => Ok(Vec::new()),
        outcome => outcome,
    }
}
