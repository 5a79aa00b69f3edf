//! The long form: shards of many kills, each a line of counts in `DIRECTORY/kills.jsonl` once it is
//! over. Started again it goes on behind the shards that are there.

use super::{Counts, KILLS_PER_FILE, run};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Files of a shard.
const SHARD_FILES: u64 = 10;
/// Kills of a shard.
pub const SHARD_KILLS: u64 = SHARD_FILES * KILLS_PER_FILE;

/// Where the lines are.
pub fn record(directory: &Path) -> PathBuf {
    directory.join("kills.jsonl")
}

/// What the finished shards of a seed have counted, and how many they are.
///
/// # Errors
/// The file cannot be read.
pub fn finished(directory: &Path, seed: u64) -> Result<(u64, Counts), String> {
    let path = record(directory);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let (mut shards, mut all) = (0, Counts::default());
    let own = format!("{{\"seed\":{seed},");
    for line in text.lines().filter(|line| line.starts_with(&own) && line.ends_with('}')) {
        shards += 1;
        all.add(&Counts::parse(line));
    }
    Ok((shards, all))
}

/// Does shards until there were `count` kills, those of earlier runs included; `told` hears of each
/// shard.
///
/// # Errors
/// What does not hold, with the command that repeats it; the shard has no line then.
pub fn kill(
    directory: &Path,
    seed: u64,
    count: u64,
    mut told: impl FnMut(u64, &Counts),
) -> Result<Counts, String> {
    let text = |error: std::io::Error| format!("{}: {error}", directory.display());
    std::fs::create_dir_all(directory).map_err(text)?;
    let (mut shard, mut all) = finished(directory, seed)?;
    while shard * SHARD_KILLS < count {
        let own_seed = seed.wrapping_add(shard * SHARD_FILES);
        let kills = SHARD_KILLS.min(count - shard * SHARD_KILLS);
        let counts = run(own_seed, kills, directory)?;
        let line = format!("{{\"seed\":{seed},\"shard\":{shard},{counts}}}\n");
        let mut file =
            OpenOptions::new().create(true).append(true).open(record(directory)).map_err(text)?;
        file.write_all(line.as_bytes()).map_err(text)?;
        all.add(&counts);
        shard += 1;
        told(shard, &all);
    }
    Ok(all)
}
