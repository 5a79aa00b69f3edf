//! The footer: the last page of an SSTable. It says where everything else is.
//!
//! ```text
//! content
//! offset  size  field           notes
//!      0     8  magic           "TIDESST\0"
//!      8     4  format version  1
//!     12     1  table kind      1 timeline, 2 keyed
//!     13     3  reserved        zero, checked
//!     16     4  table           id
//!     20     4  section count   6
//!     24     8  bytes           of the SSTable, this page included
//!     32  6·32  sections        data, index, directory, filter, properties, dictionary, in this
//!                               order
//!    224     …  zeros
//!
//! section
//!      0     8  offset          of its first block or page in the SSTable
//!      8     8  length          bytes; of data and dictionary without the zeros that fill the
//!                               last 4 KiB
//!     16     8  count           blocks or pages
//!     24     4  checksum        CRC-32 over the checksums of its blocks or pages, in order
//!     28     4  reserved        zero, checked
//! ```
//!
//! A footer is valid if and only if: (1) its block is valid and carries the checksum that the
//! manifest holds; (2) magic, version, table kind, table and bytes are as expected; (3) data begin
//! at 0, and each further section where the one before ends, rounded up to 4 KiB; the footer comes
//! right behind the last; (4) page sections are `count` pages long, properties one; index pages are
//! as many as the data blocks need; no section is empty but the dictionary, which has one block or
//! none.

use super::format::{FORMAT_VERSION, HEADER_SIZE};
use super::index::INDEX_ENTRIES_PER_PAGE;
use crate::codec::{DecodeError, Decoder, Encode, round_up};
use crate::entry::TableId;
use crate::limits::{DICTIONARY_BYTES_MAX, PAGE_SIZE};
use crate::version::{SstableMeta, TableKind};

const MAGIC: &[u8; 8] = b"TIDESST\0";
const SECTION_COUNT: usize = 6;
const PAGE: u64 = PAGE_SIZE as u64;

/// One section of an SSTable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Section {
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) count: u64,
    pub(super) checksum: u32,
}

impl Section {
    /// The byte behind it, without padding.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.length
    }
}

/// Where everything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) kind: TableKind,
    pub(super) table: TableId,
    pub(super) bytes: u64,
    pub(super) data: Section,
    pub(super) index: Section,
    pub(super) directory: Section,
    pub(super) filter: Section,
    pub(super) properties: Section,
    /// Of one block, or empty.
    pub(super) dictionary: Section,
}

impl Footer {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put(MAGIC);
        out.put_u32(FORMAT_VERSION);
        out.put_u8(kind_byte(self.kind));
        out.put(&[0; 3]);
        out.put_u32(self.table.0);
        out.put_u32(6);
        out.put_u64(self.bytes);
        for section in self.sections() {
            out.put_u64(section.offset);
            out.put_u64(section.length);
            out.put_u64(section.count);
            out.put_u32(section.checksum);
            out.put_u32(0);
        }
    }

    /// Reads the content of a verified footer page and checks it against what the manifest knows.
    pub(super) fn decode(content: &[u8], meta: &SstableMeta) -> Result<Footer, DecodeError> {
        let mut decoder = Decoder::new(content);
        if decoder.take(8, "footer magic")? != MAGIC {
            return Err(decoder.error("footer magic"));
        }
        if decoder.u32("format version")? != FORMAT_VERSION {
            return Err(decoder.error("format version"));
        }
        if decoder.u8("table kind")? != kind_byte(meta.kind) {
            return Err(decoder.error("table kind"));
        }
        decoder.zeros(3, "reserved bytes of the footer")?;
        let table = TableId(decoder.u32("table")?);
        let sections = decoder.u32("section count")?;
        let bytes = decoder.u64("bytes of the SSTable")?;
        if table != meta.table || sections as usize != SECTION_COUNT || bytes != meta.bytes {
            return Err(decoder.error("identity of the SSTable"));
        }
        let mut next = || section(&mut decoder);
        let footer = Footer {
            kind: meta.kind,
            table,
            bytes,
            data: next()?,
            index: next()?,
            directory: next()?,
            filter: next()?,
            properties: next()?,
            dictionary: next()?,
        };
        let rest = decoder.remaining();
        decoder.zeros(rest, "rest of the footer")?;
        if !footer.sections_fit() {
            return Err(decoder.error("sections of the SSTable"));
        }
        Ok(footer)
    }

    /// The sections, in order.
    pub(super) fn sections(&self) -> [Section; SECTION_COUNT] {
        [self.data, self.index, self.directory, self.filter, self.properties, self.dictionary]
    }

    fn sections_fit(&self) -> bool {
        let Some(footer) = self.bytes.checked_sub(PAGE) else {
            return false;
        };
        let mut end = 0;
        for (place, section) in self.sections().into_iter().enumerate() {
            let pages = section.count.checked_mul(PAGE);
            let of_blocks = place == 0 || place == SECTION_COUNT - 1;
            let whole = of_blocks || pages == Some(section.length);
            let empty = place != SECTION_COUNT - 1 && (section.count == 0 || section.length == 0);
            if section.offset != end || section.length > footer - end || !whole || empty {
                return false;
            }
            end = round_up(section.end(), PAGE);
        }
        let index_pages = self.data.count.div_ceil(INDEX_ENTRIES_PER_PAGE as u64);
        let dictionary = match self.dictionary.count {
            0 => self.dictionary.length == 0,
            1 => {
                let longest = HEADER_SIZE + DICTIONARY_BYTES_MAX;
                (HEADER_SIZE as u64 + 1..=longest as u64).contains(&self.dictionary.length)
            }
            _ => false,
        };
        end == footer
            && dictionary
            && self.properties.count == 1
            && self.index.count == index_pages
            && self.data.count <= u64::from(u32::MAX)
            && self.data.count <= self.data.length / HEADER_SIZE as u64
    }
}

fn section(decoder: &mut Decoder<'_>) -> Result<Section, DecodeError> {
    let section = Section {
        offset: decoder.u64("section offset")?,
        length: decoder.u64("section length")?,
        count: decoder.u64("section count")?,
        checksum: decoder.u32("section checksum")?,
    };
    decoder.zeros(4, "reserved bytes of a section")?;
    Ok(section)
}

fn kind_byte(kind: TableKind) -> u8 {
    match kind {
        TableKind::Timeline => 1,
        TableKind::Keyed => 2,
    }
}
