//! All runs of an SSTable of timelines in the order of the directory: one page after the other, no
//! data touched.

use super::block::Block;
use super::directory::{self, Bases, RunLocation};
use super::format::BlockKind;
use super::reader::Sstable;
use crate::error::Result;
use crate::version::TableKind;

impl Sstable {
    /// Pages of the directory.
    pub(crate) fn run_pages(&self) -> Result<u64> {
        self.expect_kind(TableKind::Timeline)?;
        Ok(self.fetcher()?.footer.directory.count)
    }

    /// The runs that page `number` of the directory holds, with their timelines. Every run of the
    /// SSTable is in one page.
    pub(crate) fn runs_of_page(&self, number: u64) -> Result<Vec<(Box<[u8]>, RunLocation)>> {
        let fetcher = self.fetcher()?;
        let page: Block = fetcher.page(BlockKind::Directory, &fetcher.footer.directory, number)?;
        let bases = Bases::of(self.meta());
        (0..page.items())
            .map(|slot| {
                directory::timeline_entry(page.content(), page.items(), bases, slot)
                    .map(|(key, run)| (key.into(), run))
                    .map_err(|error| page.damage(&error))
            })
            .collect()
    }
}
