//! Lines of a file that may be compressed.

use crate::output::{self, Unit};
use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// Longest line, in bytes: the largest payload as JSON escapes, six bytes each, and some room.
pub(crate) const LINE_LENGTH_MAX: u64 =
    6 * tidelog_engine::limits::PAYLOAD_LENGTH_MAX as u64 + 64 * 1024;

/// First bytes of a gzip file.
const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];

/// The lines of a source, numbered from 1, with a progress bar over its bytes.
pub(crate) struct Lines {
    reader: Box<dyn BufRead>,
    number: u64,
    progress: ProgressBar,
}

impl Lines {
    /// Opens a file; gzip is told by its first bytes.
    pub(crate) fn open(path: &Path) -> io::Result<Lines> {
        let file = File::open(path)?;
        let progress = output::progress(file.metadata()?.len(), Unit::Bytes);
        let mut raw = BufReader::with_capacity(256 * 1024, progress.wrap_read(file));
        // `fill_buf` may return a single byte only from a pipe; a file fills the buffer.
        let compressed = raw.fill_buf()?.starts_with(&GZIP_MAGIC);
        let reader: Box<dyn BufRead> = if compressed {
            Box::new(BufReader::with_capacity(256 * 1024, MultiGzDecoder::new(raw)))
        } else {
            Box::new(raw)
        };
        Ok(Lines { reader, number: 0, progress })
    }

    /// Lines of a reader, without progress.
    pub(crate) fn of(reader: Box<dyn BufRead>) -> Lines {
        Lines { reader, number: 0, progress: ProgressBar::hidden() }
    }

    /// Reads the next line, without its end, into `line`. `false` at the end of the source.
    pub(crate) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        let mut bounded = (&mut self.reader).take(LINE_LENGTH_MAX + 1);
        if bounded.read_until(b'\n', line)? == 0 {
            self.progress.finish_and_clear();
            return Ok(false);
        }
        self.number += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.len() as u64 > LINE_LENGTH_MAX {
            let what = format!("line {} is longer than {LINE_LENGTH_MAX} bytes", self.number);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(true)
    }

    /// Number of the line read last.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn all(path: &Path) -> Vec<String> {
        let mut lines = Lines::open(path).expect("the file is there");
        let (mut found, mut line) = (Vec::new(), Vec::new());
        while lines.next(&mut line).expect("readable") {
            found.push(format!("{}:{}", lines.number(), String::from_utf8_lossy(&line)));
        }
        found
    }

    #[test]
    fn gzip_is_told_by_its_first_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, packed) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&plain, "x\n\ny").unwrap();
        let mut encoder = GzEncoder::new(File::create(&packed).unwrap(), Compression::fast());
        encoder.write_all(b"x\n\ny").unwrap();
        encoder.finish().unwrap();
        assert_eq!(all(&plain), ["1:x", "2:", "3:y"]);
        assert_eq!(all(&packed), all(&plain));
    }

    #[test]
    fn a_truncated_gzip_file_is_an_error_and_not_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.gz");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&b"some line of text\n".repeat(1000)).unwrap();
        let packed = encoder.finish().unwrap();
        std::fs::write(&path, &packed[..packed.len() - 10]).unwrap();
        let mut lines = Lines::open(&path).unwrap();
        let mut line = Vec::new();
        let outcome = loop {
            match lines.next(&mut line) {
                Ok(true) => {}
                other => break other,
            }
        };
        assert!(outcome.is_err());
    }
}
