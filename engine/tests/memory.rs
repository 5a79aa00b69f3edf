//! Memory is bounded by the budget, not by the number of timelines: while they are written, after a
//! kill, and when all of them are written to once more.
//!
//! A binary of its own, since it looks at the memory of its whole process. `TIDELOG_TIMELINES` and
//! `TIDELOG_BUDGET_MIB` make it larger.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::disallowed_methods, reason = "it asks the system what the process uses")]
#![expect(clippy::print_stdout, reason = "what was measured is told, and what was skipped")]

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Instant;
use tidelog_engine::{Durability, Engine, Options, ReadMode, TableId, TableOptions, WriteBatch};

const MEBI: u64 = 1 << 20;
/// Timelines of one batch.
const BATCH: u64 = 100;

/// Bytes of anonymous memory that the process has, swapped out or not.
fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    };
    of("RssAnon:") + of("VmSwap:")
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Appends an entry of 64 bytes to each timeline, in an order that has nothing to do with their
/// ids. Returns the most memory that was seen.
fn append_to_all(engine: &Engine, table: TableId, timelines: u64) -> u64 {
    let mut peak = 0;
    for first in (0..timelines).step_by(usize::try_from(BATCH).unwrap()) {
        let mut batch = WriteBatch::new();
        for number in first..timelines.min(first + BATCH) {
            let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            batch.append(table, &mixed.to_be_bytes(), &[7; 64], None).unwrap();
        }
        engine.commit(batch, Durability::Buffered).unwrap();
        if first % 10_000 == 0 {
            peak = peak.max(anonymous_bytes());
        }
    }
    peak
}

/// What a child of this process is to do: `load` or `again`.
const PHASE: &str = "TIDELOG_MEMORY_PHASE";
/// On which store.
const STORE: &str = "TIDELOG_MEMORY_STORE";
/// In which group of processes, whose memory is limited.
const GROUP: &str = "TIDELOG_MEMORY_GROUP";
/// What a group has beside the engine: the program, its stacks, the pages of its files.
const BESIDE: u64 = 24 * MEBI;
const NAME: &str = "timelines_without_number_fit_into_the_budget";

fn options(budget: u64) -> Options {
    Options {
        ring_bytes: (budget / 2).clamp(MEBI, 128 * MEBI),
        memory_budget: usize::try_from(budget).unwrap(),
        read_mode: ReadMode::Read,
        ..Options::default()
    }
}

/// Loads the store and dies without a word to the engine.
fn load_and_die(path: &Path, timelines: u64, budget: u64) -> ! {
    // The stacks and the runtime of the process are not the engine's.
    let limit = anonymous_bytes() + 2 * budget;
    let engine = Engine::open(path, options(budget)).unwrap();
    let table = engine.create_table("inbox", TableOptions::timeline()).unwrap();
    let started = Instant::now();
    let peak = append_to_all(&engine, table, timelines);
    println!("loading: {:?}, peak {} MiB, {:?}", started.elapsed(), peak / MEBI, engine.stats());
    assert!(peak <= limit, "{peak} bytes while loading, the limit is {limit}");
    std::process::abort();
}

/// Recovers the store and appends to each timeline once more.
fn append_once_more(path: &Path, timelines: u64, budget: u64) {
    let limit = anonymous_bytes() + 2 * budget;
    let started = Instant::now();
    let engine = Engine::open(path, options(budget)).unwrap();
    let now = anonymous_bytes();
    println!("opening after the kill: {:?}, {} MiB", started.elapsed(), now / MEBI);
    assert!(now <= limit, "{now} bytes after opening, the limit is {limit}");
    let table = engine.table("inbox").unwrap().id;
    let started = Instant::now();
    let peak = append_to_all(&engine, table, timelines);
    let stats = engine.stats();
    println!("once more: {:?}, peak {} MiB, {stats:?}", started.elapsed(), peak / MEBI);
    assert!(peak <= limit, "{peak} bytes once more, the limit is {limit}");
    let counted = stats.memtable_bytes + stats.state_bytes + stats.cache_bytes + stats.output_bytes;
    assert!(counted + stats.sstable_list_bytes <= 3 * budget / 2, "{stats:?}");
    assert_eq!(engine.snapshot().latest_seq(table, &0u64.to_be_bytes()).unwrap(), 2);
    engine.close().unwrap();
}

/// A new group below that of this process, with a limit of memory; an error where there is none.
fn limited_group(bytes: u64) -> std::io::Result<PathBuf> {
    let own = std::fs::read_to_string("/proc/self/cgroup")?;
    let mut fields = own.lines().map(|line| line.splitn(3, ':').skip(1));
    // Version 1 has a hierarchy of memory groups, version 2 has one for everything.
    let memory = fields.clone().find_map(|mut line| {
        let controllers = line.next()?;
        controllers.split(',').any(|name| name == "memory").then(|| line.next()).flatten()
    });
    let (root, path, limit) = match memory {
        Some(path) => ("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"),
        None => {
            let unified =
                fields.find_map(|mut line| line.next().filter(|n| n.is_empty()).and(line.next()));
            ("/sys/fs/cgroup", unified.ok_or(std::io::ErrorKind::NotFound)?, "memory.max")
        }
    };
    let group = PathBuf::from(format!("{root}{path}/tidelog-{}", std::process::id()));
    std::fs::create_dir(&group)?;
    std::fs::write(group.join(limit), bytes.to_string()).inspect_err(|_| {
        let _ = std::fs::remove_dir(&group);
    })?;
    Ok(group)
}

fn child(phase: &str, store: &Path, group: Option<&Path>) -> ExitStatus {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", NAME, "--nocapture"]).env(PHASE, phase).env(STORE, store);
    if let Some(group) = group {
        child.env(GROUP, group);
    }
    child.status().unwrap()
}

#[test]
fn timelines_without_number_fit_into_the_budget() {
    let timelines = setting("TIDELOG_TIMELINES", 100_000);
    let budget = setting("TIDELOG_BUDGET_MIB", 12) * MEBI;
    if let Some(group) = std::env::var_os(GROUP) {
        let processes = Path::new(&group).join("cgroup.procs");
        std::fs::write(processes, std::process::id().to_string()).unwrap();
    }
    if let (Ok(phase), Some(store)) = (std::env::var(PHASE), std::env::var_os(STORE)) {
        match phase.as_str() {
            "load" => load_and_die(Path::new(&store), timelines, budget),
            _ => return append_once_more(Path::new(&store), timelines, budget),
        }
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = folder.path().join("many.tide");
    let group = limited_group(2 * budget + BESIDE);
    match &group {
        Ok(group) => println!("in the group {}", group.display()),
        Err(error) => println!("SKIPPED: the limit of a group of processes, {error}"),
    }
    let group = group.ok();
    let died = child("load", &store, group.as_deref());
    let again = child("again", &store, group.as_deref());
    if let Some(group) = group {
        std::fs::remove_dir(group).unwrap();
    }
    assert_eq!(died.signal(), Some(6), "the child aborts when all is loaded: {died}");
    assert!(again.success(), "{again}");
}
