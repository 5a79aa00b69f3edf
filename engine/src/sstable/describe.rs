//! What the dump tool shows: the blocks of an SSTable, and one block in words. Never modifies, goes
//! on after damage, hides nothing.

use super::block::Block;
use super::directory::{self, Bases};
use super::entry::Shared;
use super::fetch::{Fetcher, Handle};
use super::footer::Section;
use super::format::{BlockHeader, BlockKind, Codec, FLAG_CONTINUED};
use super::fragment::FragmentView;
use super::index::{INDEX_ENTRIES_PER_PAGE, IndexEntry};
use super::keyed_block::KeyedBlock;
use super::properties::Properties;
use super::reader::Sstable;
use super::timeline_block::TimelineBlock;
use crate::codec::DecodeError;
use crate::error::{Error, Result};
use crate::limits::PAGE_SIZE;
use crate::version::{SstableMeta, TableKind};
use std::fmt::Write;

/// One block or page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockInfo {
    /// Offset in the SSTable.
    pub(crate) offset: u64,
    /// Bytes, header included.
    pub(crate) length: u64,
    /// What it should be.
    pub(crate) kind: &'static str,
    /// How the content is compressed.
    pub(crate) codec: &'static str,
    /// Bytes of the content after decompression.
    pub(crate) raw_length: u64,
    /// Fragments, versions or entries.
    pub(crate) items: u64,
    /// What is wrong with it.
    pub(crate) damage: Option<String>,
}

impl Sstable {
    /// All blocks and pages that can be found, in the order of their places.
    pub(crate) fn blocks(&self) -> Result<Vec<BlockInfo>> {
        let fetcher = self.fetcher()?;
        Ok(handles(fetcher).iter().map(|handle| info(fetcher, handle)).collect())
    }

    /// The block at `offset` of the SSTable in words, one line an item.
    pub(crate) fn describe_block(&self, offset: u64) -> Result<String> {
        let fetcher = self.fetcher()?;
        let handle = handles(fetcher).into_iter().find(|handle| handle.offset == offset);
        let handle = handle.ok_or_else(|| Error::NotFound {
            what: format!("a block at offset {offset} of SSTable {}", self.meta().number),
        })?;
        let mut text = format!("{:#?}\n", info(fetcher, &handle));
        match fetcher.fetch_fresh(&handle) {
            Ok(block) => {
                let described = describe(&block, self.meta(), fetcher, &mut text);
                if let Err(error) = described {
                    line(&mut text, format_args!("damage: {error}"));
                }
            }
            Err(error) => line(&mut text, format_args!("unreadable: {error}")),
        }
        Ok(text)
    }
}

/// Every block and page: data blocks as far as the index can be read.
fn handles(fetcher: &Fetcher) -> Vec<Handle> {
    let footer = &fetcher.footer;
    let mut handles = Vec::new();
    let count = u32::try_from(footer.data.count).expect("the footer bounds it");
    for block in 0..count {
        if let Ok(entry) = fetcher.index_entry(block) {
            handles.push(fetcher.data_handle(block, &entry));
        }
    }
    let mut section = |kind, section: &Section| {
        for page in 0..section.count {
            handles.push(fetcher.page_handle(kind, section, page));
        }
    };
    section(BlockKind::Index, &footer.index);
    section(BlockKind::Directory, &footer.directory);
    section(BlockKind::Filter, &footer.filter);
    section(BlockKind::Properties, &footer.properties);
    handles.extend(fetcher.dictionary_handle());
    let mut section = |kind, section: &Section| {
        handles.push(fetcher.page_handle(kind, section, 0));
    };
    let offset = footer.bytes - PAGE_SIZE as u64;
    let page = Section { offset, length: PAGE_SIZE as u64, count: 1, checksum: 0 };
    section(BlockKind::Footer, &page);
    handles
}

fn info(fetcher: &Fetcher, handle: &Handle) -> BlockInfo {
    let bytes = fetcher.read(handle.offset, handle.length);
    let damage = match &bytes {
        Ok(bytes) => fetcher.open_piece(bytes, 0, handle).err(),
        Err(error) => Some(error.clone()),
    };
    let header = bytes.ok().and_then(|bytes| BlockHeader::decode(&bytes).ok());
    BlockInfo {
        offset: handle.offset,
        length: handle.length as u64,
        kind: handle.kind.name(),
        codec: header.map_or(Codec::None, |header| header.codec).name(),
        raw_length: header.map_or(0, |header| u64::from(header.raw_length)),
        items: header.map_or(0, |header| u64::from(header.items)),
        damage: damage.map(|error| error.to_string()),
    }
}

fn describe(
    block: &Block,
    meta: &SstableMeta,
    fetcher: &Fetcher,
    text: &mut String,
) -> Result<(), DecodeError> {
    match block.header().kind {
        BlockKind::TimelineData => describe_fragments(block, text),
        BlockKind::KeyedData => describe_versions(block, text),
        BlockKind::Index => describe_index(block, fetcher, text),
        BlockKind::Directory => describe_directory(block, meta, text),
        BlockKind::Filter => {
            let set: u32 = block.content().iter().map(|byte| byte.count_ones()).sum();
            line(text, format_args!("{set} bits set"));
            Ok(())
        }
        BlockKind::Properties => {
            let properties = Properties::decode(block.content())?;
            line(text, format_args!("{properties:#?}"));
            Ok(())
        }
        BlockKind::Dictionary => {
            line(text, format_args!("{}", preview(block.content())));
            Ok(())
        }
        BlockKind::Footer => {
            line(text, format_args!("{:#?}", fetcher.footer));
            Ok(())
        }
    }
}

fn describe_fragments(block: &Block, text: &mut String) -> Result<(), DecodeError> {
    let fragments = TimelineBlock::parse(block.content(), block.items())?;
    for index in 0..fragments.count() {
        let fragment = FragmentView::parse(&block.content()[fragments.range(index)?])?;
        let key = fragment.key().escape_ascii();
        let (count, base) = (fragment.count(), fragment.base_index());
        line(text, format_args!("fragment of {key}: {count} entries from index {base}"));
        for k in 0..count {
            let entry = fragment.entry(k)?;
            let (seq, commit, time) = (entry.seq, entry.commit, entry.time_ms);
            let (event, ttl, origin) = (entry.event_ms, entry.ttl_ms, entry.origin);
            let payload = match entry.shared {
                None if entry.erased => "erased".to_owned(),
                None => preview(entry.payload),
                Some(shared) => describe_shared(shared),
            };
            line(
                text,
                format_args!(
                    "  seq {seq} commit {commit} time {time} event {event:?} ttl {ttl:?} \
                     origin {origin:?} {payload}"
                ),
            );
        }
    }
    Ok(())
}

fn describe_versions(block: &Block, text: &mut String) -> Result<(), DecodeError> {
    let versions = KeyedBlock::parse(block.content(), block.items())?;
    for index in 0..versions.count() {
        let (version, _) = versions.version(index)?;
        let key = version.key.escape_ascii();
        let (commit, place, time) = (version.commit, version.index, version.time_ms);
        let (operation, value) = (version.operation, preview(version.value));
        line(
            text,
            format_args!("{key}: commit {commit}.{place} time {time} {operation:?} {value}"),
        );
    }
    Ok(())
}

fn describe_index(block: &Block, fetcher: &Fetcher, text: &mut String) -> Result<(), DecodeError> {
    for slot in 0..block.items().min(INDEX_ENTRIES_PER_PAGE) {
        let entry = IndexEntry::decode(block.content(), slot, fetcher.footer.data.length)?;
        line(text, format_args!("{entry:?}"));
    }
    Ok(())
}

fn describe_directory(
    block: &Block,
    meta: &SstableMeta,
    text: &mut String,
) -> Result<(), DecodeError> {
    let continued = block.header().flags & FLAG_CONTINUED != 0;
    line(text, format_args!("continued: {continued}"));
    if meta.kind == TableKind::Keyed {
        line(text, format_args!("{} tags with their blocks", block.items()));
        return Ok(());
    }
    for slot in 0..block.items() {
        let (content, items) = (block.content(), block.items());
        let (key, run) = directory::timeline_entry(content, items, Bases::of(meta), slot)?;
        line(text, format_args!("{}: {run:?}", key.escape_ascii()));
    }
    Ok(())
}

fn describe_shared(Shared { reference, is_origin }: Shared) -> String {
    let is_origin = if is_origin { ", is its origin" } else { "" };
    format!("in segment {} at {}{is_origin}", reference.number(), reference.offset())
}

/// The front of some bytes, printable.
fn preview(bytes: &[u8]) -> String {
    format!("({} bytes) {}", bytes.len(), bytes[..bytes.len().min(48)].escape_ascii())
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}
