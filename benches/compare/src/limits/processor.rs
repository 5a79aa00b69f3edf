//! How fast memory is copied, checksummed and compressed.

use super::{Lz4, megabytes};
use crate::Result;
use crate::workload::SEED;
use lz4_flex::block::{compress, decompress};
use std::hint::black_box;
use std::time::Instant;
use tidelog_benches::Text;

/// memcpy by so many threads at once, in MB a second, all together.
pub fn memcpy(threads: u64) -> f64 {
    const ROUNDS: u64 = 16;
    const BYTES: u64 = 64 << 20;
    let copy = || {
        let source = vec![1_u8; 64 << 20];
        let mut target = source.clone();
        let start = Instant::now();
        for _ in 0..ROUNDS {
            target.copy_from_slice(black_box(&source));
            black_box(&mut target);
        }
        megabytes(ROUNDS * BYTES, start)
    };
    std::thread::scope(|scope| {
        let copies: Vec<_> = (0..threads).map(|_| scope.spawn(copy)).collect();
        copies.into_iter().map(|copy| copy.join().unwrap_or(f64::NAN)).sum()
    })
}

/// crc32fast over pieces of 4 KiB, in MB a second.
pub fn crc32() -> f64 {
    const ROUNDS: u64 = 256;
    let text = vec![7_u8; 1 << 20];
    let start = Instant::now();
    for _ in 0..ROUNDS {
        for piece in text.chunks(4 << 10) {
            black_box(crc32fast::hash(black_box(piece)));
        }
    }
    megabytes(ROUNDS * text.len() as u64, start)
}

/// lz4 over the text of the workloads, in blocks of so many KiB.
pub fn lz4(block_kib: u64) -> Result<Lz4> {
    let text = Text::new(Text::LARGE, SEED);
    let text = text.bytes();
    let block = usize::try_from(block_kib << 10)?;
    let start = Instant::now();
    let compressed: Vec<Vec<u8>> = text.chunks(block).map(compress).collect();
    let compress_mb = megabytes(text.len() as u64, start);
    let start = Instant::now();
    for (packed, plain) in compressed.iter().zip(text.chunks(block)) {
        black_box(decompress(black_box(packed), plain.len())?);
    }
    let decompress_mb = megabytes(text.len() as u64, start);
    let bytes: usize = compressed.iter().map(Vec::len).sum();
    Ok(Lz4 { block_kib, compress_mb, decompress_mb, ratio: text.len() as f64 / bytes as f64 })
}
