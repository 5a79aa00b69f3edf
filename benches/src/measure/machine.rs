//! What the figures were measured on.

use serde::{Deserialize, Serialize};
use std::path::Path;

/// Facts of the machine; what cannot be found is "unknown".
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    /// Threads that run at once.
    pub cores: usize,
    /// The processor's name.
    pub cpu: String,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// Type and source of the file system under the databases.
    pub file_system: String,
    /// The kernel's release.
    pub kernel: String,
}

impl Machine {
    /// Looks around.
    pub fn find(directory: &Path) -> Machine {
        Machine {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
            memory_mib: memory_mib().unwrap_or(0),
            file_system: file_system(directory).unwrap_or_else(unknown),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| unknown(), |kernel| kernel.trim().to_owned()),
        }
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn memory_mib() -> Option<u64> {
    let text = field("/proc/meminfo", "MemTotal")?;
    let kib: u64 = text.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}

/// The value of the first `name : value` line.
fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The innermost mount that holds the folder. A line of `mountinfo` has the mount point in its
/// fifth column, and type and source behind a lone hyphen.
fn file_system(directory: &Path) -> Option<String> {
    let directory = std::fs::canonicalize(directory).ok()?;
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mounts = table.lines().filter_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let point = head.split_whitespace().nth(4)?;
        let mut tail = tail.split_whitespace();
        Some((point, format!("{} on {}", tail.next()?, tail.next()?)))
    });
    let holding = mounts.filter(|(point, _)| directory.starts_with(point));
    // Of two mounts on one point the later one is seen.
    holding.max_by_key(|(point, _)| point.len()).map(|(_, text)| text)
}
