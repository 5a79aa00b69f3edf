//! A file system of 64 MiB that is there for one test.
//!
//! Needs a superuser. Where there is none, or the system gives no mount, the test says so on the
//! standard error, past what catches the output of tests, and is over.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of the file system, its own included.
const BYTES: u64 = 64 << 20;

/// What lies in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// ext4 in a file, through a loop device.
    Ext4,
    Tmpfs,
}

/// A mount that is taken away with its value, also where a test has failed.
pub(crate) struct Mount {
    folder: tempfile::TempDir,
    point: PathBuf,
}

impl Mount {
    /// Mounts one; or says why not.
    pub(crate) fn new(kind: Kind) -> Option<Mount> {
        match Mount::try_new(kind) {
            Ok(mount) => Some(mount),
            Err(why) => {
                let what = format!("SKIPPED: a full disk of kind {kind:?}: {why}\n");
                std::io::stderr().write_all(what.as_bytes()).unwrap();
                None
            }
        }
    }

    fn try_new(kind: Kind) -> Result<Mount, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let point = folder.path().join("mounted");
        std::fs::create_dir(&point).map_err(|error| error.to_string())?;
        let mount = Mount { folder, point };
        match kind {
            Kind::Ext4 => {
                let image = mount.folder.path().join("image");
                let file = std::fs::File::create(&image).map_err(|error| error.to_string())?;
                file.set_len(BYTES).map_err(|error| error.to_string())?;
                // Without a reserve for a superuser, who runs this: full is full.
                run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
                run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&mount.point))?;
            }
            Kind::Tmpfs => {
                let size = format!("size={BYTES}");
                let options = ["-t", "tmpfs", "-o", &size, "tidelog"];
                run(Command::new("mount").args(options).arg(&mount.point))?;
            }
        }
        Ok(mount)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.point
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a process that a failed test has left behind must not keep it.
        let _ = run(Command::new("umount").arg("-l").arg(&self.point));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim_end()))
        }
    }
}
