//! What goes into an engine, and what a read finds there.

/// A message with its bytes. Engines that assign no seqs take this one.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The timeline.
    pub timeline: u64,
    /// Its dense seq there.
    pub seq: u64,
    /// Its payload.
    pub payload: &'a [u8],
}

/// The two tables of timelines.
#[derive(Debug, Clone, Copy)]
pub enum Table {
    /// Conversations.
    Messages,
    /// Inboxes.
    Inboxes,
}

/// What a read asks for.
#[derive(Debug, Clone, Copy)]
pub enum Range {
    /// The newest entries, newest first.
    Newest,
    /// Entries from a seq on, oldest first.
    From(u64),
}

/// What a read found. Payloads are copied here, as a server would copy them into its answer: they
/// are read for certain, and compared after the clock has stopped.
#[derive(Debug, Default)]
pub struct Found {
    entries: Vec<(u64, usize)>,
    bytes: Vec<u8>,
}

impl Found {
    /// Forgets everything and keeps its memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }

    /// Takes an entry.
    pub fn push(&mut self, seq: u64, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
        self.entries.push((seq, self.bytes.len()));
    }

    /// The entries, in the order in which they were found.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u64, &[u8])> {
        (0..self.entries.len()).map(|index| {
            let start = index.checked_sub(1).map_or(0, |before| self.entries[before].1);
            let (seq, end) = self.entries[index];
            (seq, &self.bytes[start..end])
        })
    }
}
