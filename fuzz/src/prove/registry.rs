//! The subjects by name.

use super::{Cases, bounded, crashes, faults, histories, kills, rot};
use std::path::Path;

/// Makes the cases of a seed; what needs files puts them into the folder.
pub type MakeCases = fn(seed: u64, directory: &Path) -> Result<Box<dyn Cases>, String>;

/// Something to be proved.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// What it is called by.
    pub name: &'static str,
    /// What is proved, in one line.
    pub about: &'static str,
    /// Shards in the short form.
    pub short_shards: u64,
    /// Its cases.
    pub cases: MakeCases,
}

const fn subject(
    name: &'static str,
    short_shards: u64,
    cases: MakeCases,
    about: &'static str,
) -> Subject {
    Subject { name, about, short_shards, cases }
}

/// All subjects, in the order of the short form.
pub const SUBJECTS: &[Subject] = &[
    subject(
        "rot",
        1,
        |seed, _| rot::cases(seed),
        "every bit of a golden store flipped, sectors lost, pages exchanged or old, files cut",
    ),
    subject(
        "faults",
        1,
        |seed, _| faults::cases(seed),
        "every read, write, sync and allocation fails, once and for ever; the disk is full",
    ),
    subject(
        "histories",
        1,
        |seed, _| histories::cases(seed),
        "random histories of every operation",
    ),
    subject(
        "crashes",
        1,
        |seed, _| crashes::cases(seed),
        "power is lost at every operation, in recovery too",
    ),
    subject(
        "bounded",
        1,
        |seed, _| bounded::cases(seed),
        "every workload of up to three operations, power lost at every point, every image",
    ),
    subject(
        "kills",
        1,
        |seed, directory| Ok(kills::cases(seed, directory)),
        "processes that work on a store are killed with SIGKILL",
    ),
];

/// The subject of this name.
pub fn find(name: &str) -> Option<&'static Subject> {
    SUBJECTS.iter().find(|subject| subject.name == name)
}
