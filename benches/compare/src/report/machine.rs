//! The machine and what it can do at best.

use super::number::{cell, number};
use crate::limits::Limits;
use std::fmt::Write;
use tidelog_benches::measure::Machine;

/// Writes what the figures were measured on.
pub fn write_machine(text: &mut String, machine: &Machine) -> std::fmt::Result {
    let Machine { cores, cpu, memory_mib, file_system, kernel } = machine;
    writeln!(text, "\n## Machine\n")?;
    writeln!(
        text,
        "{cores} cores of {cpu}, {memory_mib} MiB, {file_system}, Linux {kernel}, {}{}",
        std::env::consts::ARCH,
        if cfg!(debug_assertions) { " (debug build: no figures)" } else { "" },
    )
}

/// Writes the physical limits.
pub fn write_limits(text: &mut String, limits: &Limits) -> std::fmt::Result {
    writeln!(text, "\n## Physical limits\n\n| what | buffered | direct |\n|---|---|---|")?;
    let rows = [
        (
            "p50 us, sync of 4 KiB into written space",
            Some(limits.sync_written_us),
            limits.sync_written_direct_us,
        ),
        (
            "p50 us, sync of 4 KiB into allocated, unwritten space",
            limits.sync_allocated_us,
            limits.sync_allocated_direct_us,
        ),
        (
            "p50 us, sync of 4 KiB at the end of a growing file",
            Some(limits.sync_growing_us),
            limits.sync_growing_direct_us,
        ),
        ("p50 us, sync of 64 KiB into written space", Some(limits.sync_64k_us), None),
        ("MB/s, sequential write and one sync", Some(limits.write_mb), limits.write_direct_mb),
        ("MB/s, sequential read", None, limits.read_direct_mb),
    ];
    for (what, buffered, direct) in rows {
        writeln!(text, "| {what} | {} | {} |", cell(buffered), cell(direct))?;
    }
    writeln!(text, "\n| what | figure |\n|---|---|")?;
    let (one, two) = (number(limits.memcpy_mb), number(limits.memcpy_two_threads_mb));
    writeln!(text, "| MB/s, memcpy, one thread / two threads | {one} / {two} |")?;
    writeln!(text, "| MB/s, crc32fast, pieces of 4 KiB | {} |", number(limits.crc32_mb))?;
    for lz4 in &limits.lz4 {
        writeln!(
            text,
            "| MB/s, lz4_flex, blocks of {} KiB: compress / decompress (ratio) | {} / {} ({:.2}) |",
            lz4.block_kib,
            number(lz4.compress_mb),
            number(lz4.decompress_mb),
            lz4.ratio,
        )?;
    }
    Ok(())
}
