//! Rot: a damaged store is opened, asked, written to, and verified.

use super::Known;
use super::answers::{Compared, Truth};
use super::store::{Machine, Process, options, told};
use super::units::{Unit, Use, inspector};
use crate::prove::Counts;
use std::ops::Range;
use tidelog_engine::{Durability, Engine, Error, ErrorKind, ReadMode, WriteBatch};

/// A damage in one of so many is compacted too.
const DEEP_EACH: u64 = 8;

/// What a damage has changed.
#[derive(Clone)]
struct Touched<'a> {
    changed: &'a [(usize, Range<u64>)],
    /// A file ends earlier.
    is_cut: bool,
    units: Vec<&'a Unit>,
    /// Where SSTables of these units have gone: they are moved as bytes, and so is their damage.
    moved: Vec<Range<u64>>,
}

/// What a damaged store shows.
enum Shown {
    /// The truth, as far as it can be read.
    All,
    /// The log without its last groups.
    Shorter,
    /// It does not open.
    Nothing,
}

/// Looks at a machine whose files differ from those of the golden store in these ranges, of which
/// there is one at least. How it is opened, and whether it is compacted, follows from the number.
///
/// # Errors
/// What goes wrong.
pub(crate) fn check(
    known: &Known,
    number: u64,
    machine: &Machine,
    (changed, is_cut): (&[(usize, Range<u64>)], bool),
    counts: &mut Counts,
) -> Result<(), String> {
    let units = changed.iter().flat_map(|(file, bytes)| known.units.touched(*file, bytes));
    let touched = Touched { changed, is_cut, units: units.collect(), moved: Vec::new() };
    let damaged = machine.twin();
    let shown = open(known, number, &damaged, &touched, counts)?;
    verify(machine, &touched, &shown, counts)
}

fn open(
    known: &Known,
    number: u64,
    machine: &Machine,
    touched: &Touched<'_>,
    counts: &mut Counts,
) -> Result<Shown, String> {
    let mode = if number.is_multiple_of(2) { ReadMode::Map } else { ReadMode::Read };
    let process = match machine.open(&options(mode)) {
        Ok(process) => process,
        Err(error) => {
            touched.accept(&error).map_err(|what| format!("opening: {what}"))?;
            counts.add("openings_refused", 1);
            return Ok(Shown::Nothing);
        }
    };
    let outcome = ask(known, number, (&process, machine), touched, counts);
    process.kill();
    outcome
}

fn ask(
    known: &Known,
    number: u64,
    (process, machine): (&Process, &Machine),
    touched: &Touched<'_>,
    counts: &mut Counts,
) -> Result<Shown, String> {
    let (truth, shown) = compare(known, &process.engine, touched, counts)?;
    let mut touched = touched.clone();
    if number.is_multiple_of(DEEP_EACH) {
        counts.add("compacted", 1);
        let outcomes = [process.engine.flush(), process.engine.compact()];
        process.scheduler.run_until_idle(1000);
        touched.follow(known, machine);
        for outcome in outcomes {
            outcome.or_else(|error| touched.accept_of_write(&error))?;
        }
        let compared = truth.compare(&process.engine);
        touched.judge(&compared).map_err(|what| format!("compacted: {what}"))?;
    }
    write(&process.engine, truth, &touched, counts)?;
    Ok(shown)
}

/// Compares with the truth; with a shorter one where the end of the log is damaged.
fn compare<'a>(
    known: &'a Known,
    engine: &Engine,
    touched: &Touched<'_>,
    counts: &mut Counts,
) -> Result<(&'a Truth, Shown), String> {
    let compared = known.truth.compare(engine);
    counts.add("answers_right", compared.right);
    counts.add("answers_refused", compared.errors.len() as u64);
    let Some(wrong) = &compared.wrong else {
        touched.judge(&compared)?;
        return Ok((&known.truth, Shown::All));
    };
    for group in (0..known.groups.len()).rev() {
        let place = known.groups[group];
        if !touched.units.iter().any(|unit| unit.file == 0 && unit.bytes.start == place) {
            break;
        }
        let truth = known.truth_until(group);
        let compared = truth.compare(engine);
        if compared.wrong.is_none() {
            touched.judge(&compared)?;
            counts.add("groups_cut", (known.groups.len() - group) as u64);
            return Ok((truth, Shown::Shorter));
        }
    }
    Err(format!("a wrong answer: {wrong}"))
}

/// A new entry gets a new id, and is read.
fn write(
    engine: &Engine,
    truth: &Truth,
    touched: &Touched<'_>,
    counts: &mut Counts,
) -> Result<(), String> {
    let Some(chat) = engine.table("chat") else {
        return Err("there is no table `chat`".to_owned());
    };
    let (table, key) = (chat.id, b"c0");
    let mut batch = WriteBatch::new();
    batch.append(table, key, b"written on damaged ground", None).map_err(|e| told(&e))?;
    let committed = match engine.commit(batch, Durability::Sync) {
        Ok(committed) => committed,
        Err(error) => {
            counts.add("writes_refused", 1);
            return touched.accept_of_write(&error).map_err(|what| format!("a write: {what}"));
        }
    };
    counts.add("writes", 1);
    let (seq, latest) = (committed.seqs[0], truth.latest_seq(table, key));
    if seq != latest + 1 {
        return Err(format!("seq {seq} was given behind {latest}"));
    }
    match engine.snapshot().get(table, key, seq) {
        Ok(Some(entry)) if &entry.payload[..] == b"written on damaged ground" => Ok(()),
        Ok(found) => Err(format!("what was written reads as {found:?}")),
        // Whether it was amended lies in an SSTable that cannot be read.
        Err(error) => touched.accept(&error).map_err(|what| format!("what was written: {what}")),
    }
}

fn verify(
    machine: &Machine,
    touched: &Touched<'_>,
    shown: &Shown,
    counts: &mut Counts,
) -> Result<(), String> {
    let report = inspector(machine).verify();
    let report = report.map_err(|error| format!("verify gave up: {}", told(&error)))?;
    let names = |place: &dyn Fn(&Unit) -> Range<u64>| {
        let mut used = touched.units.iter().filter(|unit| unit.usage != Use::Unused);
        used.any(|unit| report.faults.iter().any(|fault| place(unit).contains(&fault.offset)))
    };
    let is_used = touched.units.iter().any(|unit| unit.usage != Use::Unused);
    let outcome = match shown {
        // What lies behind a cut is not there to be named.
        _ if touched.is_cut && !report.faults.is_empty() => "found",
        Shown::Shorter if report.faults.is_empty() => "cut_as_unfinished_end",
        _ if is_used && names(&|unit| unit.bytes.clone()) => "found",
        _ if is_used && names(&|unit| unit.owner.clone()) => "found_in_its_structure",
        _ if !is_used && report.faults.is_empty() => "harmless_unused",
        _ => {
            return Err(format!(
                "verify says {:?}, torn: {:?}, of damage in {:?}",
                report.faults, report.torn_tail, touched.units
            ));
        }
    };
    counts.add(outcome, 1);
    Ok(())
}

impl Touched<'_> {
    /// Looks for where the damaged SSTables are now.
    fn follow(&mut self, known: &Known, machine: &Machine) {
        let was = inspector(&known.golden.machine).sstables().unwrap_or_default();
        for now in inspector(machine).sstables().unwrap_or_default() {
            let of_number = was.iter().find(|was| was.meta.number == now.meta.number);
            let place = of_number.map(|was| was.meta.extent.offset);
            if self.units.iter().any(|unit| Some(unit.owner.start) == place) {
                self.moved.push(now.meta.extent.offset..now.meta.extent.end());
            }
        }
    }

    /// Whether answers are what they may be.
    fn judge(&self, compared: &Compared) -> Result<(), String> {
        if let Some(wrong) = &compared.wrong {
            return Err(format!("a wrong answer: {wrong}"));
        }
        compared.errors.iter().try_for_each(|error| self.accept(error))
    }

    /// Whether an error is one of damage, and names its place.
    fn accept(&self, error: &Error) -> Result<(), String> {
        let of_cold = self.changed.iter().any(|(file, _)| *file == 1);
        let named = match error {
            Error::Corruption(found) => {
                let inside = |unit: &&Unit| unit.owner.contains(&found.offset);
                let moved = self.moved.iter().any(|place| place.contains(&found.offset));
                self.is_cut || moved || self.units.iter().any(inside)
            }
            Error::ColdFile { .. } => of_cold,
            _ => false,
        };
        if named { Ok(()) } else { Err(format!("an error of another place: {}", told(error))) }
    }

    /// The same for a write, which may also be refused for a failure before.
    fn accept_of_write(&self, error: &Error) -> Result<(), String> {
        match error.kind() {
            ErrorKind::Poisoned if !is_of_panic(error) => Ok(()),
            _ => self.accept(error),
        }
    }
}

/// Whether writes are refused because something panicked: a caller, or a worker, which died of it.
pub(crate) fn is_of_panic(error: &Error) -> bool {
    let text = error.to_string();
    error.kind() == ErrorKind::Poisoned && (text.contains("panic") || text.contains(" died"))
}
