//! Damaged, truncated, empty and foreign files: a typed error that names the place, or right data.

use super::reference::{Dump, Step, send};
use super::sim::Sim;
use super::world::{START_MS, World, tiny, tiny_read};
use tidelog_engine::testing::{SimClock, SimDisk, SimOptions};
use tidelog_engine::{Durability, ErrorKind, Options, TableOptions};

/// A small store with SSTables at two levels and a log that was not flushed; and what it holds.
fn golden() -> (Vec<u8>, Dump) {
    let mut sim = Sim::start(World::new(77), tiny(), "golden".to_owned()).unwrap();
    sim.create("message", TableOptions::timeline()).unwrap();
    let (messages, values) =
        (sim.reference.tables[0].state.as_ref().unwrap().id, sim.reference.values);
    for number in 0..60u8 {
        let targets = [number % 5, 7].map(|timeline| (messages, vec![b't', timeline]));
        let steps = [
            send(targets.to_vec(), vec![number; 150]),
            Step::Put { key: number % 9, value: vec![number; 30] },
        ];
        sim.commit(&steps, Durability::Sync).unwrap();
        if number == 25 {
            sim.compact().unwrap();
        }
        if number == 45 {
            sim.flush().unwrap();
        }
    }
    sim.check().unwrap();
    let dump = Dump::read(&sim.engine(), messages, values).unwrap();
    let bytes = sim.world.disk.bytes();
    sim.process.take().unwrap().kill();
    (bytes, dump)
}

fn open_damaged(bytes: &[u8], options: &Options) -> Result<Dump, ErrorKind> {
    let disk = SimDisk::from_bytes(SimOptions::default(), bytes);
    let world = World { disk, cold: None, clock: SimClock::new(START_MS), seed: 5 };
    let process = world.open(options).map_err(|error| error.kind())?;
    let named = |name| process.engine.table(name).map(|table| table.id);
    let (Some(messages), Some(values)) = (named("message"), named("value")) else {
        return Err(ErrorKind::NotFound);
    };
    let found = Dump::read(&process.engine, messages, values);
    process.kill();
    found.map_err(|error| error.kind())
}

/// Right data, or a typed error; a lost last commit group is the one documented ambiguity.
fn assert_honest(outcome: &Result<Dump, ErrorKind>, expected: &Dump, place: &str) {
    match outcome {
        Ok(found) if found == expected => {}
        Ok(found) => {
            // Only the last group may be missing, and only as a whole.
            let lost: usize = expected
                .timelines
                .iter()
                .map(|(key, entries)| entries.len() - found.timelines.get(key).map_or(0, Vec::len))
                .sum();
            assert!(lost <= 2, "{place}: {lost} entries are silently gone");
            for (key, entries) in &found.timelines {
                assert!(expected.timelines[key].starts_with(entries), "{place}: wrong entries");
            }
        }
        Err(kind) => assert!(
            matches!(kind, ErrorKind::Corruption | ErrorKind::Unsupported | ErrorKind::Io),
            "{place}: {kind:?}"
        ),
    }
}

#[test]
fn the_golden_store_is_whole() {
    let (bytes, expected) = golden();
    for options in [tiny(), tiny_read()] {
        assert!(open_damaged(&bytes, &options).as_ref() == Ok(&expected));
    }
}

#[test]
fn a_flipped_bit_is_never_believed() {
    let (bytes, expected) = golden();
    let mut detected = 0;
    // Every 499th byte, and each byte of the first superblock copy; the bit moves along.
    let places = (0..512).chain((512..bytes.len()).step_by(499));
    for place in places {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1 << (place % 8);
        let outcome = open_damaged(&damaged, &tiny_read());
        detected += usize::from(outcome.is_err());
        assert_honest(&outcome, &expected, &format!("bit {} of byte {place}", place % 8));
    }
    assert!(detected > 50, "only {detected} flips met anything");
}

#[test]
fn a_zeroed_sector_is_never_believed() {
    let (bytes, expected) = golden();
    for place in (0..bytes.len()).step_by(512) {
        let mut damaged = bytes.clone();
        let end = (place + 512).min(bytes.len());
        damaged[place..end].fill(0);
        assert_honest(&open_damaged(&damaged, &tiny()), &expected, &format!("sector at {place}"));
    }
}

#[test]
fn a_truncated_file_is_refused() {
    let (bytes, _) = golden();
    for length in (1..bytes.len()).step_by(4096 + 512) {
        let outcome = open_damaged(&bytes[..length], &tiny());
        assert!(
            matches!(outcome, Err(ErrorKind::Corruption | ErrorKind::NotFound)),
            "{length} of {} bytes: {outcome:?}",
            bytes.len()
        );
    }
}

#[test]
fn a_longer_file_is_fine() {
    let (mut bytes, expected) = golden();
    bytes.extend([0xAB; 10_000]);
    assert!(open_damaged(&bytes, &tiny()).as_ref() == Ok(&expected));
}

#[test]
fn empty_and_foreign_files_are_told_apart() {
    let no_create = Options { create: false, ..tiny() };
    assert_eq!(World::new(1).open(&no_create).err().unwrap().kind(), ErrorKind::NotFound);
    let text = "not a store at all\n".repeat(20_000);
    for options in [tiny(), no_create] {
        let outcome = open_damaged(text.as_bytes(), &options);
        assert!(matches!(outcome, Err(ErrorKind::Corruption)), "{outcome:?}");
    }
}
