//! A log and nothing else: what durable appending costs where nothing is indexed and nothing is
//! read.
//!
//! ```text
//! batch:  u32 body length | u32 crc of the body | (u64 timeline | u64 seq | u32 length | payload)*
//! ```
//! Batches lie one behind the other in segments of 64 MiB, which are written with zeros before they
//! are used: a sync of written space costs no metadata.
//!
//! # Group commit
//! 1. A caller encodes its batch, appends it to the forming group and notes that group's number.
//! 2. If nobody leads, it leads: takes the group, writes it at once, syncs if anyone of it asked.
//! 3. It notes the group as done, gives leadership away and wakes everybody, in one step under the
//!    lock.
//! 4. Whoever finds its group done returns; of the others the first one leads.

use super::{Entry, Found, Peer, Range, Setup, Table};
use crate::Result;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard};
use tidelog_benches::{Delivery, Message};

const SEGMENT_BYTES: u64 = 64 << 20;

/// An open log.
pub struct Rawlog {
    groups: Mutex<Groups>,
    done: Condvar,
    /// Locked by the leader alone.
    segments: Mutex<Segments>,
    durable: bool,
}

#[derive(Default)]
struct Groups {
    /// Bytes of the forming group, and whether anyone of it asked for a sync.
    forming: Vec<u8>,
    sync: bool,
    /// Number of the forming group; all groups up to `done` are written.
    number: u64,
    done: u64,
    is_led: bool,
    /// The first failure; nothing is written after it.
    failure: Option<String>,
}

struct Segments {
    directory: PathBuf,
    count: u64,
    active: File,
    position: u64,
    /// Full segments that were never synced.
    unsynced: Vec<File>,
}

impl Rawlog {
    /// Begins a log in an empty folder.
    pub fn open(directory: &Path, setup: &Setup) -> Result<Rawlog> {
        let active = segment(directory, 0)?;
        // Only the first segment is on the disk when the run begins; the zeros of later ones are
        // part of what is measured.
        active.sync_all()?;
        File::open(directory)?.sync_all()?;
        let directory = directory.to_owned();
        let segments = Segments { directory, count: 1, active, position: 0, unsynced: Vec::new() };
        Ok(Rawlog {
            groups: Mutex::new(Groups { number: 1, ..Groups::default() }),
            done: Condvar::new(),
            segments: Mutex::new(segments),
            durable: setup.durable,
        })
    }

    fn commit(&self, batch: &[u8], durable: bool) -> Result<()> {
        let mut groups = lock(&self.groups)?;
        groups.forming.extend_from_slice(batch);
        groups.sync |= durable;
        let number = groups.number;
        loop {
            if let Some(failure) = &groups.failure {
                return Err(failure.clone().into());
            }
            if groups.done >= number {
                return Ok(());
            }
            groups = if groups.is_led {
                self.done.wait(groups).map_err(|_| "a writer has panicked")?
            } else {
                self.lead(groups)?
            };
        }
    }

    /// Writes the forming group.
    fn lead<'a>(&'a self, mut groups: MutexGuard<'a, Groups>) -> Result<MutexGuard<'a, Groups>> {
        groups.is_led = true;
        let bytes = std::mem::take(&mut groups.forming);
        let sync = std::mem::take(&mut groups.sync);
        let number = groups.number;
        groups.number += 1;
        drop(groups);
        let written = lock(&self.segments)?.write(&bytes, sync);
        let mut groups = lock(&self.groups)?;
        match written {
            Ok(()) => groups.done = number,
            Err(error) => groups.failure = Some(error.to_string()),
        }
        groups.is_led = false;
        self.done.notify_all();
        Ok(groups)
    }
}

impl Segments {
    fn write(&mut self, bytes: &[u8], sync: bool) -> Result<()> {
        let length = bytes.len() as u64;
        if self.position + length > SEGMENT_BYTES {
            if length > SEGMENT_BYTES {
                return Err("a group longer than a segment".into());
            }
            let next = segment(&self.directory, self.count)?;
            self.unsynced.push(std::mem::replace(&mut self.active, next));
            self.count += 1;
            self.position = 0;
        }
        self.active.write_all_at(bytes, self.position)?;
        self.position += length;
        if sync {
            for full in self.unsynced.drain(..) {
                full.sync_data()?;
            }
            self.active.sync_data()?;
        }
        Ok(())
    }
}

impl Peer for Rawlog {
    fn settings(&self) -> String {
        format!("segments of {} MiB, written with zeros", SEGMENT_BYTES >> 20)
    }

    fn append(&self, entries: &[Entry<'_>]) -> Result<u64> {
        self.commit(&encode(entries.iter().copied())?, self.durable)?;
        Ok(0)
    }

    fn fan_out(&self, delivery: &Delivery, payload: &[u8]) -> Result<u64> {
        let all = std::iter::once(&delivery.original).chain(&delivery.inboxes);
        let entries = all.map(|at| Entry { timeline: at.timeline, seq: at.seq, payload });
        self.commit(&encode(entries)?, self.durable)?;
        Ok(0)
    }

    fn put(&self, _: &[(u64, &[u8])]) -> Result<()> {
        Err("the raw log has no profiles".into())
    }

    fn delete(&self, _: &[Message]) -> Result<()> {
        Err("the raw log cannot delete".into())
    }

    fn sync(&self) -> Result<()> {
        self.commit(&[], true)
    }

    fn read(&self, _: Table, _: u64, _: Range, _: usize, _: &mut Found) -> Result<()> {
        Err("the raw log cannot read".into())
    }

    fn get(&self, _: u64, _: &mut Found) -> Result<()> {
        Err("the raw log cannot read".into())
    }
}

fn encode<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Result<Vec<u8>> {
    let mut batch = vec![0; 8];
    for entry in entries {
        batch.extend_from_slice(&entry.timeline.to_le_bytes());
        batch.extend_from_slice(&entry.seq.to_le_bytes());
        batch.extend_from_slice(&u32::try_from(entry.payload.len())?.to_le_bytes());
        batch.extend_from_slice(entry.payload);
    }
    let (header, body) = batch.split_at_mut(8);
    header[..4].copy_from_slice(&u32::try_from(body.len())?.to_le_bytes());
    header[4..].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    Ok(batch)
}

/// A new segment, written with zeros.
fn segment(directory: &Path, number: u64) -> Result<File> {
    let path = directory.join(format!("{number:06}.log"));
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let zeros = vec![0; 1 << 20];
    for offset in (0..SEGMENT_BYTES).step_by(zeros.len()) {
        file.write_all_at(&zeros, offset)?;
    }
    Ok(file)
}

fn lock<T>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>> {
    mutex.lock().map_err(|_| "a writer has panicked".into())
}
