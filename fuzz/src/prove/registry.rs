//! The subjects by name.

use super::{Cases, crashes, faults, histories, rot};

/// Something to be proved.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// What it is called by.
    pub name: &'static str,
    /// What is proved, in one line.
    pub about: &'static str,
    /// Shards in the short form.
    pub short_shards: u64,
    /// Makes the cases of a seed.
    pub cases: fn(seed: u64) -> Result<Box<dyn Cases>, String>,
}

const fn subject(
    name: &'static str,
    short_shards: u64,
    cases: fn(u64) -> Result<Box<dyn Cases>, String>,
    about: &'static str,
) -> Subject {
    Subject { name, about, short_shards, cases }
}

/// All subjects, in the order of the short form.
pub const SUBJECTS: &[Subject] = &[
    subject(
        "rot",
        1,
        rot::cases,
        "every bit of a golden store flipped, sectors lost, pages exchanged or old, files cut",
    ),
    subject(
        "faults",
        1,
        faults::cases,
        "every read, write, sync and allocation fails, once and for ever; the disk is full",
    ),
    subject("histories", 1, histories::cases, "random histories of every operation"),
    subject("crashes", 1, crashes::cases, "power is lost at every operation, in recovery too"),
];

/// The subject of this name.
pub fn find(name: &str) -> Option<&'static Subject> {
    SUBJECTS.iter().find(|subject| subject.name == name)
}
