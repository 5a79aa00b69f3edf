//! The engines by name, and what each can do.

use super::{Peer, Setup, fjall, heed, rawlog, redb, rusqlite, tidelog};
use crate::Result;
use crate::workload::WorkloadName;
use clap::ValueEnum;
use std::path::Path;
use tidelog_engine::{Compression, ReadMode};

/// An engine, or a variant of its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineName {
    /// The engine of this project.
    Tidelog,
    /// The same with messages compressed by lz4.
    TidelogLz4,
    /// The same with blocks read by `pread`, so that every read verifies checksums.
    TidelogPread,
    /// fjall, an LSM engine in Rust.
    Fjall,
    /// RocksDB, an LSM engine in C++.
    #[cfg(feature = "rocksdb")]
    Rocksdb,
    /// The same with pipelined writes.
    #[cfg(feature = "rocksdb")]
    RocksdbPw,
    /// redb, copy-on-write B-trees in Rust.
    Redb,
    /// The same with quick repair.
    RedbQr,
    /// LMDB, a mapped B-tree in C, through heed.
    Heed,
    /// SQLite, through rusqlite.
    Rusqlite,
    /// A log and nothing else: the floor.
    Rawlog,
}

/// How an engine gets rid of messages whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// By itself; an expired message is never read.
    Exact,
    /// By itself, sooner or later; until then it may be read.
    #[cfg(feature = "rocksdb")]
    Lazy,
    /// Not at all: the application deletes.
    ByApplication,
}

impl Expiry {
    /// Whether of what has expired some may be there while others are gone.
    pub fn is_lazy(self) -> bool {
        !matches!(self, Expiry::Exact | Expiry::ByApplication)
    }
}

impl std::fmt::Display for EngineName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl EngineName {
    /// The name in tables and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            EngineName::Tidelog => "tidelog",
            EngineName::TidelogLz4 => "tidelog-lz4",
            EngineName::TidelogPread => "tidelog-pread",
            EngineName::Fjall => "fjall",
            #[cfg(feature = "rocksdb")]
            EngineName::Rocksdb => "rocksdb",
            #[cfg(feature = "rocksdb")]
            EngineName::RocksdbPw => "rocksdb-pw",
            EngineName::Redb => "redb",
            EngineName::RedbQr => "redb-qr",
            EngineName::Heed => "heed",
            EngineName::Rusqlite => "rusqlite",
            EngineName::Rawlog => "rawlog",
        }
    }

    /// All that were built in.
    pub fn all() -> Vec<EngineName> {
        EngineName::value_variants().to_vec()
    }

    /// Whether it runs a workload: a variant runs what its variation bears on, and the log runs
    /// what reads nothing.
    pub fn runs(self, workload: WorkloadName) -> bool {
        use WorkloadName::{W1, W2, W3, W3a, W3q, W4, W4c, W5, W6};
        match self {
            _ if workload == W3a && !self.has_async_commits() => false,
            EngineName::TidelogLz4 => matches!(workload, W1 | W6 | W4 | W4c),
            EngineName::TidelogPread => matches!(workload, W1 | W4 | W4c),
            #[cfg(feature = "rocksdb")]
            EngineName::RocksdbPw => matches!(workload, W2 | W3),
            EngineName::RedbQr => matches!(workload, W1 | W2 | W3 | W6),
            EngineName::Rawlog => matches!(workload, W1 | W2 | W3 | W3q | W5),
            _ => true,
        }
    }

    /// Whether it can read what it has written.
    pub fn has_reads(self) -> bool {
        self != EngineName::Rawlog
    }

    /// Whether a commit can be waited for without a thread.
    pub fn has_async_commits(self) -> bool {
        use EngineName::{Tidelog, TidelogLz4, TidelogPread};
        matches!(self, Tidelog | TidelogLz4 | TidelogPread)
    }

    /// How messages expire.
    pub fn expiry(self) -> Expiry {
        match self {
            EngineName::Tidelog | EngineName::TidelogLz4 | EngineName::TidelogPread => {
                Expiry::Exact
            }
            // Its reads skip what the filter has not dropped yet.
            EngineName::Fjall => Expiry::Exact,
            #[cfg(feature = "rocksdb")]
            EngineName::Rocksdb | EngineName::RocksdbPw => Expiry::Lazy,
            EngineName::Redb
            | EngineName::RedbQr
            | EngineName::Heed
            | EngineName::Rusqlite
            | EngineName::Rawlog => Expiry::ByApplication,
        }
    }

    /// The version that was built in.
    pub fn version(self) -> String {
        match self {
            EngineName::Tidelog | EngineName::TidelogLz4 | EngineName::TidelogPread => {
                locked_version("tidelog-engine")
            }
            EngineName::Fjall => locked_version("fjall"),
            #[cfg(feature = "rocksdb")]
            EngineName::Rocksdb | EngineName::RocksdbPw => {
                format!("{}, {}", locked_version("rocksdb"), locked_version("librocksdb-sys"))
            }
            EngineName::Redb | EngineName::RedbQr => locked_version("redb"),
            EngineName::Heed => {
                let lmdb = ::heed::lmdb_version();
                let heed = locked_version("heed");
                format!("{heed}, LMDB {}.{}.{}", lmdb.major, lmdb.minor, lmdb.patch)
            }
            EngineName::Rusqlite => {
                format!("{}, SQLite {}", locked_version("rusqlite"), ::rusqlite::version())
            }
            EngineName::Rawlog => locked_version("tidelog-compare"),
        }
    }

    /// Opens the database in `directory`, creating it where there is none.
    pub fn open(self, directory: &Path, setup: &Setup) -> Result<Box<dyn Peer>> {
        let tidelog = |variant| tidelog::Tidelog::open(directory, setup, variant);
        let default = tidelog::Variant::default();
        Ok(match self {
            EngineName::Tidelog => Box::new(tidelog(default)?),
            EngineName::TidelogLz4 => {
                Box::new(tidelog(tidelog::Variant { compression: Compression::Lz4, ..default })?)
            }
            EngineName::TidelogPread => {
                Box::new(tidelog(tidelog::Variant { read_mode: ReadMode::Read, ..default })?)
            }
            EngineName::Fjall => Box::new(fjall::Fjall::open(directory, setup)?),
            #[cfg(feature = "rocksdb")]
            EngineName::Rocksdb => {
                Box::new(super::rocksdb::Rocksdb::open(directory, setup, false)?)
            }
            #[cfg(feature = "rocksdb")]
            EngineName::RocksdbPw => {
                Box::new(super::rocksdb::Rocksdb::open(directory, setup, true)?)
            }
            EngineName::Redb => Box::new(redb::Redb::open(directory, setup, false)?),
            EngineName::RedbQr => Box::new(redb::Redb::open(directory, setup, true)?),
            EngineName::Heed => Box::new(heed::Heed::open(directory, setup)?),
            EngineName::Rusqlite => Box::new(rusqlite::Rusqlite::open(directory, setup)?),
            EngineName::Rawlog => Box::new(rawlog::Rawlog::open(directory, setup)?),
        })
    }
}

/// The version of a package as the lock file has it: what cargo built in.
fn locked_version(package: &str) -> String {
    let lock = include_str!("../../Cargo.lock");
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name).skip(1);
    let version = lines.next().and_then(|line| line.strip_prefix("version = "));
    version.map_or_else(|| "unknown".to_owned(), |version| version.trim_matches('"').to_owned())
}
