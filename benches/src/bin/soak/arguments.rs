//! The command line. Each figure that is not given is that of the mode at its full size, or, with
//! `--short`, that of a few seconds.

use std::path::PathBuf;
use tidelog_engine::{ReadMode, UnsyncedCommits};

/// Runs a store for long and reports what it did.
#[derive(Debug, clap::Parser)]
#[command(name = "soak", version, about, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) mode: Mode,
}

const AFTER_HELP: &str = "Exit codes: 0 good, 1 a wrong answer (or, with --strict, a goal missed \
    that is no matter of speed), 2 wrong use, 3 anything else.";

/// What all modes share.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Common {
    /// A few seconds instead of the full size.
    #[arg(long, global = true)]
    pub(crate) short: bool,
    /// Fail also where a goal is missed that is no matter of speed.
    #[arg(long, global = true)]
    pub(crate) strict: bool,
    /// Folder for the store; a folder of its own is made in it, and removed at the end.
    #[arg(long, global = true, env = "TIDELOG_BENCH_DIRECTORY")]
    pub(crate) directory: Option<PathBuf>,
    /// What everything random follows from.
    #[arg(long, global = true, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Bytes per second of background output, in MB; 0 is no limit.
    #[arg(long, global = true)]
    pub(crate) output_rate: Option<u64>,
    /// Memory budget, in MiB.
    #[arg(long, global = true)]
    pub(crate) memory_budget: Option<usize>,
    /// Memtable, in MiB.
    #[arg(long, global = true)]
    pub(crate) memtable: Option<usize>,
    /// WAL ring, in MiB.
    #[arg(long, global = true)]
    pub(crate) ring: Option<u64>,
    /// How blocks are read.
    #[arg(long, global = true)]
    pub(crate) read_mode: Option<ReadModeName>,
    /// How small commits that nobody wants synced reach the file.
    #[arg(long, global = true)]
    pub(crate) unsynced_commits: Option<UnsyncedCommitsName>,
}

/// A way to the file on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum UnsyncedCommitsName {
    /// Into the page cache, by the system's write.
    Cached,
    /// Into the page cache, through a map.
    Mapped,
    /// Past the page cache.
    Direct,
}

impl From<UnsyncedCommitsName> for UnsyncedCommits {
    fn from(name: UnsyncedCommitsName) -> UnsyncedCommits {
        match name {
            UnsyncedCommitsName::Cached => UnsyncedCommits::Cached,
            UnsyncedCommitsName::Mapped => UnsyncedCommits::Mapped,
            UnsyncedCommitsName::Direct => UnsyncedCommits::Direct,
        }
    }
}

/// A read mode on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ReadModeName {
    /// Through maps.
    Map,
    /// With pread, through the block cache.
    Read,
}

impl From<ReadModeName> for ReadMode {
    fn from(name: ReadModeName) -> ReadMode {
        match name {
            ReadModeName::Map => ReadMode::Map,
            ReadModeName::Read => ReadMode::Read,
        }
    }
}

/// What is to be run.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Mode {
    /// A steady stream of messages under a TTL.
    Ttl(TtlArguments),
    /// One message to a thousand inboxes.
    Fanout(FanoutArguments),
    /// Ten million timelines in bounded memory.
    Timelines(TimelinesArguments),
    /// One phase of `timelines`, in the present process.
    #[command(hide = true)]
    TimelinesPhase(PhaseArguments),
    /// Gigabytes that expire, and the space that comes back.
    Space(SpaceArguments),
    /// Real chats, hot and cold.
    Tiers(TiersArguments),
    /// Latency of commits while background output runs.
    Commits(CommitsArguments),
}

/// Figures of `ttl`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TtlArguments {
    /// Messages a second.
    #[arg(long)]
    pub(crate) rate: Option<u64>,
    /// Messages of one commit.
    #[arg(long)]
    pub(crate) batch: Option<u64>,
    /// Timelines they go to.
    #[arg(long)]
    pub(crate) timelines: Option<u64>,
    /// Bytes of a message.
    #[arg(long)]
    pub(crate) payload: Option<usize>,
    /// Time to live, in milliseconds.
    #[arg(long)]
    pub(crate) ttl_ms: Option<u64>,
    /// Seconds of writing.
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
    /// Scans a second by the reader.
    #[arg(long)]
    pub(crate) reads: Option<u64>,
    /// Leave the wall clock alone: by default it jumps a year ahead and a year back.
    #[arg(long)]
    pub(crate) steady_clock: bool,
}

/// Figures of `fanout`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FanoutArguments {
    /// Messages.
    #[arg(long)]
    pub(crate) messages: Option<u64>,
    /// Conversations.
    #[arg(long)]
    pub(crate) conversations: Option<u32>,
    /// Members of a conversation.
    #[arg(long)]
    pub(crate) members: Option<u32>,
    /// Inboxes.
    #[arg(long)]
    pub(crate) inboxes: Option<u32>,
    /// Bytes of a message.
    #[arg(long)]
    pub(crate) payload: Option<usize>,
    /// Scans of the newest 20, of each kind.
    #[arg(long)]
    pub(crate) reads: Option<u64>,
}

/// Figures of `timelines`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TimelinesArguments {
    /// Timelines, of one entry each.
    #[arg(long)]
    pub(crate) timelines: Option<u64>,
    /// Bytes of an entry.
    #[arg(long)]
    pub(crate) payload: Option<usize>,
    /// First appends to timelines that are not in memory.
    #[arg(long)]
    pub(crate) cold_appends: Option<u64>,
    /// Memory of the cgroup of the second pass, in MiB.
    #[arg(long, default_value_t = 512)]
    pub(crate) limit: u64,
}

/// One phase of `timelines`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PhaseArguments {
    #[command(flatten)]
    pub(crate) figures: TimelinesArguments,
    /// The phase.
    #[arg(long)]
    pub(crate) phase: PhaseName,
    /// The store.
    #[arg(long)]
    pub(crate) path: PathBuf,
}

/// Phases of `timelines`, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PhaseName {
    /// Writes everything and is killed.
    Load,
    /// Opens what the kill has left, appends to cold timelines, closes.
    Recover,
    /// Opens what was closed and reads everything.
    Reopen,
}

/// Figures of `space`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SpaceArguments {
    /// Bytes to write, in MB.
    #[arg(long)]
    pub(crate) megabytes: Option<u64>,
    /// Bytes to write while a snapshot and a scan are held, in MB.
    #[arg(long)]
    pub(crate) held_megabytes: Option<u64>,
    /// Timelines they go to.
    #[arg(long)]
    pub(crate) timelines: Option<u64>,
    /// Bytes of a message.
    #[arg(long)]
    pub(crate) payload: Option<usize>,
    /// Time to live, in milliseconds.
    #[arg(long)]
    pub(crate) ttl_ms: Option<u64>,
}

/// Figures of `tiers`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TiersArguments {
    /// Folder of the real chats; `../shared/data` where it is not given.
    #[arg(long, env = "TIDELOG_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Messages at most.
    #[arg(long)]
    pub(crate) messages: Option<usize>,
    /// A second file for the cold tier, beside the first.
    #[arg(long)]
    pub(crate) second_file: bool,
}

/// Figures of `commits`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CommitsArguments {
    /// Seconds of each stretch.
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
    /// Bytes that lie in the store for background work to move, in MB.
    #[arg(long)]
    pub(crate) megabytes: Option<u64>,
    /// Threads of buffered appends.
    #[arg(long)]
    pub(crate) threads: Option<u64>,
    /// Bytes of a message.
    #[arg(long)]
    pub(crate) payload: Option<usize>,
    /// Leaves the durable writers out.
    #[arg(long)]
    pub(crate) buffered_only: bool,
}
