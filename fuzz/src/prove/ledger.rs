//! The lines of what is done: a file a subject, a line of JSON a shard.
//!
//! ```text
//! {"at":{"seed":1,"shard":0},"checks":4000,"found":3100, ...}
//! ```
//! A line is written whole, behind the shard. One that was cut off by a kill is cut off for good
//! when the next one is written. Of two lines of one shard the later one counts.

use super::Counts;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Error, Read, Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const ENDING: &str = ".jsonl";

/// The lines of one subject.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
}

impl Ledger {
    /// That of a subject in a folder.
    pub fn of(directory: &Path, subject: &str) -> Ledger {
        Ledger { path: directory.join(format!("{subject}{ENDING}")) }
    }

    /// The shards of a seed that are done.
    ///
    /// # Errors
    /// Those of the file.
    pub fn done(&self, seed: u64) -> Result<BTreeSet<u64>> {
        let places = self.lines()?.into_keys();
        Ok(places.filter(|place| place.0 == seed).map(|place| place.1).collect())
    }

    /// All counts of all shards.
    ///
    /// # Errors
    /// Those of the file.
    pub fn sum(&self) -> Result<Counts> {
        let mut sum = Counts::default();
        for counts in self.lines()?.values() {
            sum.merge(counts);
            sum.add("shards", 1);
        }
        Ok(sum)
    }

    /// Writes the line of a shard.
    ///
    /// # Errors
    /// Those of the file.
    #[expect(clippy::disallowed_methods, reason = "a file of reports, beside no store")]
    pub fn add(&self, seed: u64, shard: u64, counts: &Counts) -> Result<()> {
        let mut file =
            File::options().create(true).read(true).write(true).truncate(false).open(&self.path)?;
        // Another process may run other shards of the same subject. The lock goes with the file.
        file.lock()?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1) as u64;
        file.set_len(whole)?;
        file.seek(SeekFrom::Start(whole))?;
        let mut line = Map::new();
        line.insert("at".to_owned(), json!({ "seed": seed, "shard": shard }));
        line.extend(counts.0.iter().map(|(name, count)| (name.clone(), json!(count))));
        file.write_all(format!("{}\n", Value::Object(line)).as_bytes())?;
        file.sync_all()
    }

    /// Counts by seed and shard.
    #[expect(clippy::disallowed_methods, reason = "a file of reports, beside no store")]
    fn lines(&self) -> Result<BTreeMap<(u64, u64), Counts>> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(BTreeMap::new());
            }
            Err(error) => return Err(error),
        };
        let whole = text.rfind('\n').map_or("", |last| &text[..last]);
        whole.lines().map(|line| self.parse(line)).collect()
    }

    fn parse(&self, line: &str) -> Result<((u64, u64), Counts)> {
        let strange = || Error::other(format!("{}: a strange line: {line}", self.path.display()));
        let value: Value = serde_json::from_str(line).map_err(|_| strange())?;
        let place = |name: &str| value["at"][name].as_u64().ok_or_else(strange);
        let place = (place("seed")?, place("shard")?);
        let fields = value.as_object().ok_or_else(strange)?;
        let numbers = fields.iter().filter_map(|(name, value)| Some((name, value.as_u64()?)));
        Ok((place, Counts(numbers.map(|(name, count)| (name.clone(), count)).collect())))
    }
}

/// The sums of every subject that has a file in the folder, as one object, and the mutants that
/// have their lists in a folder inside it.
///
/// # Errors
/// Those of the files.
#[expect(clippy::disallowed_methods, reason = "a folder of reports, beside no store")]
pub fn report(directory: &Path) -> Result<Value> {
    let mut subjects = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let lists = entry.path().join("mutants.out");
        if lists.is_dir() {
            let name = format!("mutants-{}", name.to_string_lossy());
            subjects.insert(name, json!(mutants(&lists)?.0));
        }
        let Some(subject) = name.to_str().and_then(|name| name.strip_suffix(ENDING)) else {
            continue;
        };
        subjects.insert(subject.to_owned(), json!(Ledger::of(directory, subject).sum()?.0));
    }
    Ok(Value::Object(subjects.into_iter().collect()))
}

/// What has become of mutants, by the lists of cargo-mutants: what was caught before, or could not
/// be built, is in one list, and not tried again.
#[expect(clippy::disallowed_methods, reason = "a folder of reports, beside no store")]
fn mutants(lists: &Path) -> Result<Counts> {
    let lines = |list: &str| match std::fs::read_to_string(lists.join(list)) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect::<BTreeSet<_>>()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    };
    let mut done = lines("previously_caught.txt")?;
    done.append(&mut lines("caught.txt")?);
    done.append(&mut lines("unviable.txt")?);
    let mut counts = Counts::default();
    counts.add("caught_or_unviable", done.len() as u64);
    counts.add("missed", lines("missed.txt")?.len() as u64);
    counts.add("timeout", lines("timeout.txt")?.len() as u64);
    Ok(counts)
}
