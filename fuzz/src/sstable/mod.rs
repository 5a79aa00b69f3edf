//! SSTables against a reference: every entry by lookup, by both scans of its timeline and in the
//! listings, in both read modes, before and after a copy; then with changed bytes.
//!
//! What must hold:
//! 1. An undamaged SSTable answers as the reference does, and verifies.
//! 2. Rot: each answer is right, or corruption; verification finds it; what a copy or a salvage
//!    takes over is right.
//! 3. Lies, whose checksums are repaired: any answer or typed error, bounded memory, and an end.

mod draw;
mod questions;
mod raw;

pub(crate) use raw::{raw, seeds};

use crate::harness::{each, ensure};
use crate::mutation::overwrite;
use questions::{Answer, ITEMS_MAX, Question};
use std::collections::BTreeSet;
use tidelog_engine::testing::Random;
use tidelog_engine::testing::fuzzing::sstable::{Contents, Open, Place, Table, Unit};
use tidelog_engine::{Error, ErrorKind};

/// A question, and the right answer.
type Asked = (Question, Answer);

/// An SSTable, what is in it, and what it is asked again and again.
struct Filled {
    table: Table,
    contents: Contents,
    units: Vec<Unit>,
    asked: Vec<Asked>,
}

/// An SSTable is built, read and copied; then its bytes are changed, without and with their
/// checksums.
pub(crate) fn run(seed: u64, events: u64) -> Result<(), String> {
    each(seed, events, 64 << 20, |random| {
        let filled = fill(random)?;
        let every = with_answers(questions::every(&filled.contents), &filled.contents);
        check(&filled.table, &filled, &every)?;
        let mut repaired = filled.table.bytes();
        check(&filled.table.repaired(&mut repaired, &filled.units), &filled, &[])?;
        ensure(repaired == filled.table.bytes(), || "a repair changes what is whole".to_owned())?;
        let (compression, block_bytes) = draw::shape(random);
        let copy = filled.table.copied(compression, block_bytes);
        let copy = copy.map_err(|error| format!("a copy: {error}"))?;
        check(&copy, &filled, &[])?;
        for _ in 0..4 {
            rot(random, &filled)?;
        }
        rot_of_the_segment(random, &filled)?;
        for _ in 0..6 {
            lie(random, &filled)?;
        }
        Ok(())
    })
}

/// Builds an SSTable.
fn fill(random: &mut Random) -> Result<Filled, String> {
    let text = |error: Error| error.to_string();
    let contents = draw::contents(random);
    let (compression, block_bytes) = draw::shape(random);
    let table = Table::build(&contents, compression, block_bytes).map_err(text)?;
    let units = table.units().map_err(text)?;
    let asked = with_answers(questions::some(random, &contents), &contents);
    Ok(Filled { table, contents, units, asked })
}

fn with_answers(questions: Vec<Question>, contents: &Contents) -> Vec<Asked> {
    let mut asked = Vec::new();
    for question in questions {
        let answer = question.expected(contents);
        asked.push((question, answer));
    }
    asked
}

/// An undamaged SSTable answers as the reference does.
fn check(table: &Table, filled: &Filled, more: &[Asked]) -> Result<(), String> {
    for mapped in [false, true] {
        let open = table.open(mapped);
        for (question, expected) in filled.asked.iter().chain(more) {
            let answer = question.ask(&open).map_err(|error| format!("{question:?}: {error}"))?;
            ensure(answer == *expected, || wrong(question, &answer, expected))?;
        }
        let damage = open.verify();
        ensure(damage.is_empty(), || format!("{damage:?} of an undamaged SSTable"))?;
    }
    let (kept, all) = remaining(&table.open(false), filled)?;
    ensure(kept == all, || format!("a salvage finds {kept} of {all}"))
}

fn wrong(question: &Question, answer: &Answer, expected: &Answer) -> String {
    format!("{question:?}: {answer:?}, not {expected:?}")
}

/// Looks for what a salvage finds: how much that is, and of how much. None of it may be anything
/// that was not written.
fn remaining(open: &Open, filled: &Filled) -> Result<(usize, usize), String> {
    let text = |error: Error| format!("a salvage: {error}");
    match &filled.contents {
        Contents::Timelines { rows, .. } => {
            let all: BTreeSet<Place> = rows.iter().map(questions::place).collect();
            let found = open.remaining_places(ITEMS_MAX).map_err(text)?;
            let foreign = found.iter().find(|place| !all.contains(*place));
            ensure(foreign.is_none(), || format!("a salvage finds {foreign:?}"))?;
            Ok((found.len(), all.len()))
        }
        Contents::Keys(versions) => {
            let found = open.remaining_versions().map_err(text)?;
            let foreign = found.iter().find(|version| !versions.contains(version));
            ensure(foreign.is_none(), || format!("a salvage finds {foreign:?}"))?;
            Ok((found.len(), versions.len()))
        }
    }
}

/// Changed bytes.
fn rot(random: &mut Random, filled: &Filled) -> Result<(), String> {
    let whole = filled.table.bytes();
    let mut changed = whole.clone();
    if random.chance(1, 4) {
        let sector = random.index(whole.len()) / 512 * 512;
        changed[sector..sector + 512].fill(0);
    } else {
        let range = if random.chance(1, 4) { 0..whole.len() } else { aimed(random, filled) };
        overwrite(random, &mut changed[range]);
    }
    if changed == whole {
        return Ok(());
    }
    let table = filled.table.with_bytes(&changed);
    for mapped in [false, true] {
        let open = table.open(mapped);
        right_or_refused(&open, &filled.asked)?;
        ensure(!open.verify().is_empty(), || "verification finds no damage".to_owned())?;
        open.describe();
    }
    remaining(&table.open(false), filled)?;
    let (compression, block_bytes) = draw::shape(random);
    match table.copied(compression, block_bytes) {
        // What was damaged is not needed for a copy.
        Ok(copy) => check(&copy, filled, &[]),
        Err(error) => ensure(error.kind() == ErrorKind::Corruption, || error.to_string()),
    }
}

/// Damage of what entries refer to.
fn rot_of_the_segment(random: &mut Random, filled: &Filled) -> Result<(), String> {
    let bytes = filled.table.segment_bytes();
    if bytes == 0 {
        return Ok(());
    }
    let (offset, bit) = (random.below(bytes), u32::from(random.next_u64().to_le_bytes()[0] % 8));
    let table = filled.table.with_segment_bit_flipped(offset, bit);
    for mapped in [false, true] {
        right_or_refused(&table.open(mapped), &filled.asked)?;
    }
    Ok(())
}

fn right_or_refused(open: &Open, asked: &[Asked]) -> Result<(), String> {
    for (question, expected) in asked {
        match question.ask(open) {
            Ok(answer) => ensure(answer == *expected, || wrong(question, &answer, expected))?,
            Err(error) => ensure(error.kind() == ErrorKind::Corruption, || {
                format!("{question:?}: {:?}: {error}", error.kind())
            })?,
        }
    }
    Ok(())
}

/// Changed bytes whose checksums hold, for a manifest that may lie too.
fn lie(random: &mut Random, filled: &Filled) -> Result<(), String> {
    let mut changed = filled.table.bytes();
    for _ in 0..=random.below(3) {
        let range = aimed(random, filled);
        overwrite(random, &mut changed[range]);
    }
    let mut table = filled.table.repaired(&mut changed, &filled.units);
    if random.chance(1, 5) {
        let mut number = || {
            let shift = random.below(64);
            random.next_u64() >> shift
        };
        table = table.claiming(number(), number(), number(), number());
    }
    for mapped in [false, true] {
        use_everything(&table.open(mapped), filled)?;
    }
    let (compression, block_bytes) = draw::shape(random);
    match table.copied(compression, block_bytes) {
        Ok(copy) => use_everything(&copy.open(true), filled),
        Err(error) => typed(&error),
    }
}

/// Uses every path; what comes out does not matter.
fn use_everything(open: &Open, filled: &Filled) -> Result<(), String> {
    for (question, _) in &filled.asked {
        if let Err(error) = question.ask(open) {
            typed(&error).map_err(|what| format!("{question:?}: {what}"))?;
        }
    }
    let _ = open.verify();
    open.describe();
    let found = match &filled.contents {
        Contents::Timelines { .. } => open.remaining_places(ITEMS_MAX).map(|found| found.len()),
        Contents::Keys(_) => open.remaining_versions().map(|found| found.len()),
    };
    found.map_or_else(|error| typed(&error), |_| Ok(()))
}

/// The front of a block or page, where lengths and counts are, or all of it; pages of every kind as
/// often as blocks of data.
fn aimed(random: &mut Random, filled: &Filled) -> std::ops::Range<usize> {
    let units = &filled.units;
    let first_page = units.iter().position(|unit| unit.kind == "SSTable index page").unwrap_or(0);
    let unit = match random.chance(1, 2) {
        true => units[random.index(first_page)],
        false => units[first_page + random.index(units.len() - first_page)],
    };
    let range = unit.range();
    let reach = [44, 140, range.len()][random.index(3)].min(range.len());
    // Behind the checksum, which is repaired.
    range.start + 4..range.start + reach
}

fn typed(error: &Error) -> Result<(), String> {
    let kind = error.kind();
    // A copy of what lies may be refused by whoever writes it.
    let expected = matches!(
        kind,
        ErrorKind::Corruption
            | ErrorKind::Unsupported
            | ErrorKind::InvalidUse
            | ErrorKind::TooLarge
    );
    ensure(expected, || format!("{kind:?}: {error}"))
}
