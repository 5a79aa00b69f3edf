//! A disk in memory that does nothing but copy: what is measured over it is the engine.

use crate::file::{Disk, Flush, Geometry, Identity, Region};
use crate::sync::{Arc, Mutex};
use std::io;

/// A file in memory. Clones are the same file.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    file: Arc<Mutex<File>>,
}

/// What was written, and the length of the file: what lies behind is zeros, which cost nothing, as
/// on a file system.
#[derive(Clone, Default)]
struct File {
    bytes: Vec<u8>,
    length: usize,
}

impl MemoryDisk {
    /// A file that holds these bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> MemoryDisk {
        let length = bytes.len();
        MemoryDisk { file: Arc::new(Mutex::new(File { bytes, length })) }
    }

    /// Another file that holds what this one holds now, as after a kill.
    #[must_use]
    pub fn copied(&self) -> MemoryDisk {
        MemoryDisk { file: Arc::new(Mutex::new(self.file.lock().clone())) }
    }
}

impl File {
    /// Fills as much of `buffer` as the file is long.
    fn read(&self, start: usize, buffer: &mut [u8]) -> usize {
        let count = self.length.saturating_sub(start).min(buffer.len());
        let written = self.bytes.get(start..).unwrap_or_default();
        let copied = written.len().min(count);
        buffer[..copied].copy_from_slice(&written[..copied]);
        buffer[copied..count].fill(0);
        count
    }
}

/// A place in memory; one that no memory has is an error of the disk.
fn index(place: u64) -> io::Result<usize> {
    usize::try_from(place).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl Disk for MemoryDisk {
    fn geometry(&self) -> Geometry {
        Geometry { alignment: 512, direct: false }
    }

    fn identity(&self) -> Identity {
        Identity { device: 1, inode: 1, boot: [1; 16] }
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.lock().length as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.file.lock().read(index(offset)?, buffer))
    }

    fn write_at(&self, offset: u64, written: &[u8], _: Flush) -> io::Result<usize> {
        let (mut file, start) = (self.file.lock(), index(offset)?);
        let end = index(offset + written.len() as u64)?;
        if file.bytes.len() < end {
            file.bytes.resize(end, 0);
        }
        file.bytes[start..end].copy_from_slice(written);
        file.length = file.length.max(end);
        Ok(written.len())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        let (mut file, end) = (self.file.lock(), index(offset + length)?);
        file.length = file.length.max(end);
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let (mut file, length) = (self.file.lock(), index(length)?);
        file.bytes.truncate(length);
        file.length = length;
        Ok(())
    }

    fn punch_hole(&self, _: u64, _: u64) -> io::Result<bool> {
        Ok(false)
    }

    fn map(&self, offset: u64, length: u64) -> io::Result<Region> {
        let (file, start) = (self.file.lock(), index(offset)?);
        let mut bytes = vec![0; index(length)?];
        if file.read(start, &mut bytes) < bytes.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Region::from_memory(bytes.into()))
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_written_is_zeros_up_to_the_length() {
        let disk = MemoryDisk::from_bytes(vec![7; 4]);
        disk.allocate(0, 16).unwrap();
        let mut buffer = [1; 32];
        assert_eq!(disk.read_at(2, &mut buffer).unwrap(), 14);
        assert_eq!(buffer[..14], [7, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(disk.map(8, 8).unwrap().to_vec(), [0; 8]);
        assert!(disk.map(8, 9).is_err());
        let copy = disk.copied();
        disk.write_at(20, &[9], Flush::Later).unwrap();
        assert_eq!((disk.length().unwrap(), copy.length().unwrap()), (21, 16));
        disk.truncate(2).unwrap();
        assert_eq!(disk.read_at(0, &mut buffer).unwrap(), 2);
    }
}
