//! The bytes of a simulated file: copy-on-write pages, so that a copy of a file costs a pointer.
//!
//! A page that is in the map has room on the simulated device, whatever it holds; a page that is
//! not is a hole and reads as zeros.
//!
//! # Invariants
//! I1. Bytes at and behind `length` are zero in every page (a longer file must not show old bytes).

use crate::runtime::mix;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of one page of an image.
pub(super) const PAGE: usize = 4096;
const PAGE_BYTES: u64 = PAGE as u64;

type Page = Arc<[u8; PAGE]>;

/// One state of a file.
#[derive(Clone, Default)]
pub(super) struct Image {
    pages: Arc<BTreeMap<u64, Page>>,
    length: u64,
}

impl Image {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes that have room on the device.
    pub(super) fn used(&self) -> u64 {
        self.pages.len() as u64 * PAGE_BYTES
    }

    /// Copies what the file holds at `offset`; returns how many bytes lie before its end.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let available = self.length.saturating_sub(offset).min(buffer.len() as u64);
        let count = usize::try_from(available).expect("it is at most the buffer's length");
        for (number, inside, range) in pieces(offset, count) {
            let target = &mut buffer[range];
            match self.pages.get(&number) {
                Some(page) => target.copy_from_slice(&page[inside..inside + target.len()]),
                None => target.fill(0),
            }
        }
        count
    }

    /// Changes bytes and gives them room; the length stays. The caller grows it first, or trims
    /// with [`Image::set_length`] afterwards.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let pages = Arc::make_mut(&mut self.pages);
        for (number, inside, range) in pieces(offset, bytes.len()) {
            let source = &bytes[range];
            let page = pages.entry(number).or_insert_with(zero_page);
            Arc::make_mut(page)[inside..inside + source.len()].copy_from_slice(source);
        }
    }

    /// Gives a range room; its bytes stay.
    pub(super) fn allocate(&mut self, offset: u64, length: u64) {
        let pages = Arc::make_mut(&mut self.pages);
        let zero = zero_page();
        for number in offset / PAGE_BYTES..(offset + length).div_ceil(PAGE_BYTES) {
            pages.entry(number).or_insert_with(|| Arc::clone(&zero));
        }
    }

    /// Bytes of new room that a range would take.
    pub(super) fn missing_room(&self, offset: u64, length: u64) -> u64 {
        if length == 0 {
            return 0;
        }
        let first = offset / PAGE_BYTES;
        let end = (offset + length).div_ceil(PAGE_BYTES);
        let present = self.pages.range(first..end).count() as u64;
        (end - first - present) * PAGE_BYTES
    }

    /// Makes a range read as zeros and gives the room of whole pages back.
    pub(super) fn punch(&mut self, offset: u64, length: u64) {
        let end = offset.saturating_add(length);
        let pages = Arc::make_mut(&mut self.pages);
        let first = offset / PAGE_BYTES;
        let touched: Vec<u64> =
            pages.range(first..end.div_ceil(PAGE_BYTES)).map(|(number, _)| *number).collect();
        for number in touched {
            let start = number * PAGE_BYTES;
            if offset <= start && start + PAGE_BYTES <= end {
                pages.remove(&number);
                continue;
            }
            let from = within(offset.max(start) - start);
            let to = within(end.min(start + PAGE_BYTES) - start);
            if let Some(page) = pages.get_mut(&number) {
                Arc::make_mut(page)[from..to].fill(0);
            }
        }
    }

    /// Cuts or grows the file. What lies behind the new end is forgotten.
    pub(super) fn set_length(&mut self, length: u64) {
        let end = self.pages.last_key_value().map_or(0, |(number, _)| (number + 1) * PAGE_BYTES);
        if end > length {
            // A page that holds the new end keeps its room, as on a real device.
            self.punch(length, end - length);
        }
        self.length = length;
    }

    /// A hash of what the file reads as: a hole is as good as a page of zeros.
    pub(super) fn hash(&self) -> u64 {
        let mut hash = mix(self.length);
        for (number, page) in self.pages.iter().filter(|(_, page)| page[..] != [0; PAGE]) {
            let checksum = u64::from(crc32fast::hash(&page[..]));
            hash = mix(hash.rotate_left(7) ^ mix(*number) ^ checksum);
        }
        hash
    }

    /// Grows the file to at least `length`; bytes written ahead of the end become visible.
    pub(super) fn grow(&mut self, length: u64) {
        self.length = self.length.max(length);
    }
}

fn zero_page() -> Page {
    Arc::new([0; PAGE])
}

fn within(value: u64) -> usize {
    usize::try_from(value).expect("it is at most a page")
}

/// Cuts a range into pages: page number, offset inside the page, range inside the buffer.
fn pieces(
    offset: u64,
    length: usize,
) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let place = offset + done as u64;
        let inside = within(place % PAGE_BYTES);
        let count = (PAGE - inside).min(length - done);
        let range = done..done + count;
        done += count;
        Some((place / PAGE_BYTES, inside, range))
    })
}

#[cfg(test)]
mod tests {
    use super::Image;

    #[test]
    fn bytes_cross_pages_and_holes_read_as_zeros() {
        let mut image = Image::default();
        image.write(4000, &[7; 5000]);
        image.grow(12_000);
        let mut buffer = vec![1; 20_000];
        assert_eq!(image.read(0, &mut buffer), 12_000);
        assert!(buffer[..4000].iter().all(|byte| *byte == 0));
        assert!(buffer[4000..9000].iter().all(|byte| *byte == 7));
        assert!(buffer[9000..12_000].iter().all(|byte| *byte == 0));
        assert_eq!(image.used(), 3 * 4096);
        assert_eq!(image.read(12_000, &mut buffer), 0);
        assert_eq!(image.read(u64::MAX, &mut buffer), 0);
    }

    #[test]
    fn what_was_cut_or_punched_does_not_come_back() {
        let mut image = Image::default();
        image.write(0, &[7; 16_384]);
        image.grow(16_384);
        let before = image.clone();
        image.punch(4000, 4500);
        assert_eq!(image.used(), 3 * 4096);
        image.set_length(9000);
        image.grow(16_384);
        let mut buffer = vec![0; 16_384];
        image.read(0, &mut buffer);
        let sevens = buffer.iter().filter(|byte| **byte == 7).count();
        assert_eq!(sevens, 4000 + 500);
        before.read(0, &mut buffer);
        assert!(buffer.iter().all(|byte| *byte == 7));
        assert_eq!(image.missing_room(0, 16_384), 8192);
    }
}
