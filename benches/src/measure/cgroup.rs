//! A memory cgroup, version 1 or 2, that child processes run in.

use std::io::{Error, Result};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A group of its own; it goes when this does.
#[derive(Debug)]
pub struct MemoryGroup {
    folder: PathBuf,
}

impl MemoryGroup {
    /// A group below the one of this process, or below the root of the hierarchy, limited to so
    /// many bytes.
    ///
    /// # Errors
    /// Where no such group can be made: there is no hierarchy, or it belongs to somebody else.
    pub fn new(limit_bytes: u64) -> Result<MemoryGroup> {
        let name = format!("tidelog-{}", std::process::id());
        let mut last = Error::other("there is no memory cgroup");
        for (hierarchy, limit_file) in [
            (Path::new("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
            (Path::new("/sys/fs/cgroup"), "memory.max"),
        ] {
            for parent in parents(hierarchy) {
                let group = MemoryGroup { folder: parent.join(&name) };
                match group.make(limit_file, limit_bytes) {
                    Ok(()) => return Ok(group),
                    Err(error) => last = error,
                }
            }
        }
        Err(last)
    }

    fn make(&self, limit_file: &str, limit_bytes: u64) -> Result<()> {
        std::fs::create_dir(&self.folder)?;
        let file = self.folder.join(limit_file);
        // In a folder that is no cgroup this would make a file of that name.
        if !file.exists() {
            return Err(Error::other(format!("{} is not there", file.display())));
        }
        std::fs::write(file, limit_bytes.to_string())
    }

    /// Makes the command's process enter before it runs.
    pub fn enter(&self, command: &mut Command) {
        // The shell enters the group and becomes the program: nothing runs between fork and exec.
        let program = command.get_program().to_owned();
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let mut inside = Command::new("sh");
        inside
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(self.folder.join("cgroup.procs"))
            .arg(&program)
            .args(arguments)
            .arg0("sh");
        *command = inside;
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // What is left of a group without processes costs nothing.
        let _ = std::fs::remove_dir(&self.folder);
    }
}

/// The group of this process and the root, in a hierarchy of either version.
fn parents(hierarchy: &Path) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = table.lines().filter_map(|line| {
        let mut columns = line.splitn(3, ':').skip(1);
        let (controllers, path) = (columns.next()?, columns.next()?);
        let is_ours = controllers.is_empty() || controllers.split(',').any(|name| name == "memory");
        is_ours.then(|| hierarchy.join(path.trim_start_matches('/')))
    });
    let mut parents: Vec<PathBuf> = own.collect();
    parents.push(hierarchy.to_owned());
    parents.retain(|parent| parent.is_dir());
    parents
}
