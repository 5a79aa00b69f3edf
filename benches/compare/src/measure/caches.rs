//! Making what lies in files cold.

use crate::Result;
use rustix::fs::{Advice, fadvise};
use std::fs::File;
use std::path::Path;

/// Makes the kernel forget what it has cached of the folder's files, which nobody maps. Says how.
pub fn drop_caches(directory: &Path) -> Result<&'static str> {
    rustix::fs::sync();
    if std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok() {
        return Ok("cold: the page cache was dropped");
    }
    forget(directory)?;
    Ok("cold: posix_fadvise on every file, since the page cache may not be dropped here")
}

fn forget(directory: &Path) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            forget(&entry.path())?;
        } else {
            fadvise(File::open(entry.path())?, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}
