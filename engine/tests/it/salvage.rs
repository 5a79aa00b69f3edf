//! Salvage: what is not damaged is in the new store, as it was; what is not there is named.
//!
//! - here: a store with every structure, what is known of it, and the judge of a salvage
//! - `salvage_cases`: each kind of structure is damaged in turn
//! - `salvage_sweep`: bytes are flipped and sectors zeroed anywhere

use super::hooked_disk::HookedDisk;
use super::world::{START_MS, World, tiny};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidelog_engine::inspect::{Inspector, LogGroup, SpaceKind};
use tidelog_engine::salvage::{Loss, Report, Salvage};
use tidelog_engine::testing::{Random, SimClock, SimDisk, SimOptions};
use tidelog_engine::{
    AppendOptions, Compression, Direction, Disk, Durability, Engine, Entry, ErrorKind, Options,
    Origin, Result, Sequence, TableId, TableKind, TableOptions, Tier, WriteBatch,
};

/// Payloads of so many bytes go to extents of their own.
const LARGE_FROM: usize = 1200;

/// Commit and payload, by table, timeline and seq.
type WrittenEntries = BTreeMap<(TableId, Vec<u8>, u64), (u64, Vec<u8>)>;

/// What readers see of a store.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shown {
    pub(crate) tables: Vec<(TableId, String, TableOptions)>,
    /// Next seq and entries.
    pub(crate) timelines: BTreeMap<(TableId, Vec<u8>), (u64, Vec<Entry>)>,
    pub(crate) values: BTreeMap<(TableId, Vec<u8>), Vec<u8>>,
}

impl Shown {
    pub(crate) fn read(engine: &Engine) -> Result<Shown> {
        let snapshot = engine.snapshot();
        let tables = engine.tables();
        let mut shown = Shown {
            tables: tables.iter().map(|t| (t.id, t.name.clone(), t.options.clone())).collect(),
            timelines: BTreeMap::new(),
            values: BTreeMap::new(),
        };
        for table in &tables {
            if table.options.kind == TableKind::Keyed {
                for pair in snapshot.values(table.id, Bound::Unbounded, Bound::Unbounded)? {
                    let (key, value) = pair?;
                    shown.values.insert((table.id, key.to_vec()), value.to_vec());
                }
                continue;
            }
            for timeline in snapshot.timelines(table.id, b"", None)? {
                let timeline = timeline?;
                let scan =
                    snapshot.scan(table.id, &timeline.key, 0, u64::MAX, Direction::Forward)?;
                let entries: Result<Vec<Entry>> = scan.collect();
                let place = (table.id, timeline.key.to_vec());
                shown.timelines.insert(place, (timeline.next_seq, entries?));
            }
        }
        Ok(shown)
    }
}

/// A store, killed, and all that is known of it.
pub(crate) struct Store {
    pub(crate) bytes: Vec<u8>,
    pub(crate) cold: Vec<u8>,
    pub(crate) clock: SimClock,
    pub(crate) shown: Shown,
    /// Every entry that was ever written, hidden ones too: commit and payload.
    pub(crate) written: WrittenEntries,
    beside: Beside,
    /// The groups of the log.
    groups: Vec<LogGroup>,
}

/// The commits that wrote something beside entries.
#[derive(Default)]
struct Beside {
    /// By table and key.
    values: BTreeMap<(TableId, Vec<u8>), BTreeSet<u64>>,
    marks: BTreeSet<u64>,
    amendments: BTreeSet<u64>,
}

/// What a batch holds beside entries and a value.
enum Other {
    Nothing,
    Mark,
    Amendment,
}

/// Writes the store, batch by batch.
struct Writing {
    world: World,
    engine: Engine,
    random: Random,
    /// Rooms, inboxes, those that become cold; and those with given ids.
    tables: [TableId; 4],
    values: TableId,
    written: WrittenEntries,
    beside: Beside,
    given: u64,
}

const BATCHES: u64 = 200;
/// Behind this batch nothing is flushed.
const LAST_FLUSH: u64 = 180;

impl Store {
    /// Several levels, segments, large payloads, a keyed table, marks, amendments, times to live, a
    /// cold file, given ids, and a log that was not flushed.
    pub(crate) fn with_everything(seed: u64) -> Store {
        let world = World::with_cold(seed);
        // Large enough for what comes behind the last flush.
        let options = Options { ring_bytes: 1024 * 1024, memtable_bytes: 64 * 1024, ..tiny() };
        let process = world.open(&options).unwrap();
        let engine = process.engine.clone();
        let timeline = TableOptions::timeline;
        let lz4 = TableOptions { compression: Compression::Lz4, ..timeline() };
        let given = TableOptions { sequence: Sequence::Given, ..timeline() };
        let create = |name, options| engine.create_table(name, options).unwrap();
        let tables = [
            create("room", timeline()),
            create("inbox", lz4.ttl(Duration::from_secs(100_000))),
            create("aging", timeline().cold_after(Duration::from_secs(20))),
            create("given", given),
        ];
        let values = create("keyed", TableOptions::keyed());
        let random = Random::new(seed);
        let (written, beside, given) = (BTreeMap::new(), Beside::default(), 0);
        let mut writing = Writing {
            world: world.clone(),
            engine,
            random,
            tables,
            values,
            written,
            beside,
            given,
        };
        for number in 0..BATCHES {
            writing.batch(number);
            match number {
                30 | 60 | 90 | 130 | 150 | LAST_FLUSH => writing.engine.flush().unwrap(),
                100 => writing.engine.compact().unwrap(),
                _ => {}
            }
            if number < LAST_FLUSH {
                process.scheduler.run_until_idle(40);
            }
        }
        let Writing { engine, written, beside, .. } = writing;
        let shown = Shown::read(&engine).unwrap();
        drop(engine);
        process.kill();
        let cold = world.cold.as_ref().unwrap().bytes();
        let log = Inspector::over(Arc::new(world.disk.clone())).log().unwrap();
        let (bytes, clock, groups) = (world.disk.bytes(), world.clock, log.groups);
        Store { bytes, cold, clock, shown, written, beside, groups }
    }

    /// The first commit that the end of the log may have lost where the file has these bytes: that
    /// of the groups, up to the last, of which each is damaged. All commits are synced, so a group
    /// behind them that is not would prove that they were there. Where their traces are gone, too,
    /// nothing tells, as at an opening.
    fn cut(&self, bytes: &[u8]) -> u64 {
        let is_touched = |group: &&LogGroup| {
            let start = usize::try_from(group.offset).unwrap();
            let length = usize::try_from(group.lsn.1 - group.lsn.0).unwrap();
            let place = start..start + length;
            self.bytes.get(place.clone()) != bytes.get(place)
        };
        let touched = self.groups.iter().rev().take_while(is_touched);
        touched.last().map_or(u64::MAX, |group| group.commits.0)
    }

    /// The same store as a machine.
    pub(crate) fn world(&self, bytes: &[u8], cold: &[u8]) -> World {
        World {
            disk: SimDisk::from_bytes(SimOptions::default(), bytes),
            cold: Some(SimDisk::from_bytes(SimOptions::default(), cold)),
            clock: self.clock.clone(),
            seed: 11,
        }
    }

    /// Pages of the first file and of the cold one that are in use.
    pub(crate) fn live_pages(&self) -> (Vec<usize>, Vec<usize>) {
        let world = self.world(&self.bytes, &self.cold);
        let inspector =
            Inspector::over(Arc::new(world.disk)).with_cold(Arc::new(world.cold.unwrap()));
        let pages = |offset: u64, length: u64| {
            let page = |at: u64| usize::try_from(at / 4096).unwrap();
            page(offset)..page(offset + length)
        };
        let (mut live, mut cold) = (vec![0, 4, 8, 12], Vec::new());
        for run in inspector.space().unwrap() {
            match run.kind {
                SpaceKind::Sstable(_) | SpaceKind::Segment(_) => {
                    live.extend(pages(run.extent.offset, run.extent.length));
                }
                _ => {}
            }
        }
        for record in inspector.manifest().unwrap().records {
            live.extend(pages(record.offset, record.bytes));
        }
        for group in inspector.log().unwrap().groups {
            live.push(usize::try_from(group.offset / 4096).unwrap());
        }
        for sstable in inspector.sstables().unwrap() {
            if sstable.meta.shard.tier == Tier::Cold {
                cold.extend(pages(sstable.meta.extent.offset, sstable.meta.extent.length));
            }
        }
        (live, cold)
    }

    /// Salvages these bytes.
    pub(crate) fn salvage(&self, bytes: &[u8], cold: &[u8]) -> Result<(Report, SimDisk)> {
        let world = self.world(bytes, cold);
        let target = SimDisk::new(SimOptions::default());
        let second: Arc<dyn Disk> = Arc::new(world.cold.unwrap().reopen());
        let salvage = Salvage::over(Arc::new(world.disk.reopen())).with_cold(second);
        let report = salvage.run(Arc::new(target.clone()))?;
        assert_eq!(world.disk.bytes(), bytes, "the old store is never written");
        Ok((report, target))
    }

    /// Opens what was salvaged.
    pub(crate) fn open(&self, target: &SimDisk) -> super::world::Process {
        let disk = target.copied();
        let clock = self.clock.clone();
        World { disk, cold: None, clock, seed: 12 }.open(&tiny()).unwrap()
    }
}

impl Writing {
    fn key(&mut self) -> Vec<u8> {
        let number = self.random.below(7);
        let mut key = vec![b't'; 1 + usize::try_from(number % 3).unwrap()];
        key.push(u8::try_from(number).unwrap());
        key
    }

    fn payload(&mut self, number: u64) -> Vec<u8> {
        let length = match self.random.below(12) {
            0 => 0,
            1 => LARGE_FROM + self.random.index(3_000),
            2..6 => 200 + self.random.index(300),
            _ => self.random.index(60),
        };
        // So that the rest stays in the log.
        let length =
            if number > LAST_FLUSH && length < LARGE_FROM { length.min(30) } else { length };
        let mut payload = vec![0; length];
        self.random.fill(&mut payload);
        // So that no two are the same.
        payload.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
        payload
    }

    fn batch(&mut self, number: u64) {
        self.world.clock.advance(Duration::from_millis(400));
        let mut batch = WriteBatch::new().with_large_from(LARGE_FROM);
        let mut targets: Vec<(TableId, Vec<u8>)> = Vec::new();
        let payload = self.payload(number);
        let origin_key = self.key();
        let count = 1 + self.random.index(3);
        for _ in 0..count {
            let place = (self.tables[self.random.index(3)], self.key());
            if !targets.contains(&place) {
                targets.push(place);
            }
        }
        let origin = Origin { table: self.tables[0], key: origin_key.into(), seq: 1 };
        let named = self.random.chance(1, 4);
        let options = AppendOptions {
            event_ms: self.random.chance(1, 3).then_some(-5),
            ttl: self.random.chance(1, 5).then_some(Duration::from_secs(90_000)),
            origin: named.then_some(&origin),
            first_is_origin: !named && targets.len() > 1,
        };
        let borrowed = targets.iter().map(|(table, key)| (*table, &key[..]));
        batch.append_with(borrowed, &payload, &options).unwrap();
        if self.random.chance(1, 5) {
            self.given += 1 + self.random.below(9);
            batch.append_at(self.tables[3], b"g", self.given, &payload, None).unwrap();
            targets.push((self.tables[3], b"g".to_vec()));
        }
        let (key, other) = self.others(&mut batch, number);
        let done = self.engine.commit(batch, Durability::Sync).unwrap();
        self.beside.values.entry((self.values, key)).or_default().insert(done.commit);
        let of_other = match other {
            Other::Nothing => None,
            Other::Mark => Some(&mut self.beside.marks),
            Other::Amendment => Some(&mut self.beside.amendments),
        };
        if let Some(commits) = of_other {
            commits.insert(done.commit);
        }
        for ((table, key), seq) in targets.into_iter().zip(done.seqs) {
            self.written.insert((table, key, seq), (done.commit, payload.clone()));
        }
    }

    /// Values, amendments and marks: the key of the value, and what else there is.
    fn others(&mut self, batch: &mut WriteBatch, number: u64) -> (Vec<u8>, Other) {
        let value = number.to_le_bytes();
        let key = [u8::try_from(self.random.below(20)).unwrap()];
        let of_value = key.to_vec();
        match self.random.below(3) {
            0 => batch.put(self.values, &key, &value).unwrap(),
            1 => batch.add(self.values, &key, 3).unwrap(),
            _ => batch.delete(self.values, &key).unwrap(),
        }
        let some = self.random.index(1 << 20).checked_rem(self.written.len());
        let Some(place) = some.and_then(|index| self.written.keys().nth(index)).cloned() else {
            return (of_value, Other::Nothing);
        };
        let (table, key, seq) = place;
        let drawn = self.random.below(10);
        match drawn {
            0 | 1 => batch.amend(table, &key, seq, &[7; 90]).unwrap(),
            2 => batch.retract(table, &key, seq).unwrap(),
            3 => batch.delete_range(table, &key, seq..=seq + 1).unwrap(),
            4 if number.is_multiple_of(3) => batch.trim(table, &key, seq.min(3)).unwrap(),
            _ => {}
        }
        let other = match drawn {
            0..=2 => Other::Amendment,
            3 | 4 => Other::Mark,
            _ => Other::Nothing,
        };
        (of_value, other)
    }
}

/// Whether a report explains that the entry may be missing.
fn explains(report: &Report, place: &(TableId, Vec<u8>, u64), commit: u64) -> bool {
    let (table, key, seq) = place;
    report.lost.iter().any(|loss| match loss {
        Loss::Entries { table: of, key: named, seqs: (from, to), .. } => {
            of == table && **named == **key && (*from..=*to).contains(seq)
        }
        Loss::UnknownEntries { table: of, keys: (from, to), .. } => {
            of == table && (&**from..=&**to).contains(&&key[..])
        }
        Loss::Commits { first, last, .. } => {
            *first <= commit && last.is_none_or(|last| commit <= last)
        }
        Loss::Manifest { commit: read, .. } => commit > *read,
        _ => false,
    })
}

/// Whether a report says that something is lost by itself, or with one of the commits that wrote
/// such things, or those from `cut` on may be gone with the end of the log.
fn is_said(report: &Report, commits: &BTreeSet<u64>, cut: u64, is: impl Fn(&Loss) -> bool) -> bool {
    let any = |first: u64, last: u64| commits.iter().any(|it| (first..=last).contains(it));
    let of_commits = |loss: &Loss| match loss {
        Loss::Commits { first, last, .. } => any(*first, last.unwrap_or(u64::MAX)),
        Loss::Manifest { commit, .. } => any(*commit + 1, u64::MAX),
        _ => false,
    };
    any(cut, u64::MAX) || report.lost.iter().any(|loss| of_commits(loss) || is(loss))
}

/// Holds what was salvaged from a file of these bytes against the truth.
pub(crate) fn judge(
    store: &Store,
    bytes: &[u8],
    (report, target): (&Report, &SimDisk),
    context: &str,
) {
    let verified = Inspector::over(Arc::new(target.clone())).verify().unwrap();
    assert!(verified.faults.is_empty(), "{context}: {:?}", verified.faults);
    let process = store.open(target);
    let found = Shown::read(&process.engine).unwrap();
    let (beside, cut) = (&store.beside, store.cut(bytes));
    assert!(report.torn_tail.is_none() || cut < u64::MAX, "{context}: {:?}", report.torn_tail);
    let of_marks = |loss: &Loss| matches!(loss, Loss::Marks { .. });
    let marks = is_said(report, &beside.marks, cut, of_marks);
    let of_amendments = |loss: &Loss| matches!(loss, Loss::Amendments { .. });
    let amended = is_said(report, &beside.amendments, cut, of_amendments);
    for ((table, key), (_, entries)) in &found.timelines {
        let truth = store.shown.timelines.get(&(*table, key.clone()));
        for entry in entries {
            let place = (*table, key.clone(), entry.seq);
            let true_entry =
                truth.and_then(|(_, entries)| entries.iter().find(|truth| truth.seq == entry.seq));
            if true_entry == Some(entry) {
                continue;
            }
            let (commit, payload) =
                store.written.get(&place).unwrap_or_else(|| panic!("{context}: {place:?}"));
            assert_eq!(entry.commit, *commit, "{context}: {place:?}");
            assert!(true_entry.is_some() || marks, "{context}: {place:?} was hidden");
            let amended_since = true_entry.is_some_and(|truth| truth.revision != entry.revision);
            let as_written = entry.revision.is_none() && *payload == *entry.payload;
            assert!(!amended_since || amended, "{context}: {place:?} {entry:?} {true_entry:?}");
            assert!(as_written || entry.revision.is_some(), "{context}: {place:?} is wrong");
        }
    }
    for ((table, key), (_, entries)) in &store.shown.timelines {
        let left = found.timelines.get(&(*table, key.clone()));
        for entry in entries {
            let is_left =
                left.is_some_and(|(_, left)| left.iter().any(|left| left.seq == entry.seq));
            let place = (*table, key.clone(), entry.seq);
            let said = is_left || entry.commit >= cut || explains(report, &place, entry.commit);
            assert!(said, "{context}: {place:?} of commit {} is gone: {report:#?}", entry.commit);
        }
    }
    for place in store.shown.values.keys().chain(found.values.keys()) {
        let said = store.shown.values.get(place) == found.values.get(place)
            || is_said(report, &beside.values[place], cut, |loss| match loss {
                Loss::Versions { table, keys: (from, to), .. } => {
                    *table == place.0 && (&**from..=&**to).contains(&&place.1[..])
                }
                _ => false,
            });
        assert!(said, "{context}: the value of {place:?} is not what it was: {report:#?}");
    }
    // Where the log has a torn end, ids jump: no id of what was there is given again either.
    let known = if report.torn_tail.is_some() { u64::MAX } else { cut };
    no_id_is_given_again(store, known, &process.engine, context);
    process.kill();
}

/// Each timeline is appended to. The commits before `known` were told of.
fn no_id_is_given_again(store: &Store, known: u64, engine: &Engine, context: &str) {
    let mut newest: BTreeMap<(TableId, &[u8]), u64> = BTreeMap::new();
    let told = store.written.iter().filter(|(_, (commit, _))| *commit < known);
    for ((table, key, seq), _) in told {
        let known = newest.entry((*table, key)).or_default();
        *known = (*known).max(*seq);
    }
    let tables = engine.tables();
    for ((table, key), newest) in newest {
        let Some(info) = tables.iter().find(|info| info.id == table) else { continue };
        if info.options.sequence == Sequence::Given {
            continue;
        }
        let mut batch = WriteBatch::new();
        batch.append(table, key, b"more", None).unwrap();
        let done = engine.commit(batch, Durability::Sync).unwrap();
        assert!(done.seqs[0] > newest, "{context}: {key:?} got {} again", done.seqs[0]);
    }
}

#[test]
fn an_undamaged_store_is_salvaged_whole() {
    for seed in [1, 2, 3] {
        let store = Store::with_everything(seed);
        let (report, target) = store.salvage(&store.bytes, &store.cold).unwrap();
        assert!(report.is_whole() && report.damage.is_empty(), "seed {seed}: {report:#?}");
        assert_eq!((report.epochs, &report.torn_tail), (0, &None), "seed {seed}");
        let old = store.world(&store.bytes, &store.cold).open(&tiny()).unwrap();
        let new = store.open(&target);
        let (was, is) = (Shown::read(&old.engine).unwrap(), Shown::read(&new.engine).unwrap());
        assert!(was == store.shown && was == is, "seed {seed}");
        let structures = new.engine.stats();
        assert!(structures.segment_bytes > 0, "seed {seed}: {structures:?}");
        let recovered: u64 = report.tables.iter().map(|table| table.recovered).sum();
        assert!(recovered > BATCHES, "seed {seed}: {report:?}");
        // What comes next is the same, too.
        for (table, key) in was.timelines.keys().filter(|(table, _)| table.0 < 19) {
            let append = |engine: &Engine| {
                let mut batch = WriteBatch::new();
                batch.append(*table, key, b"next", None).unwrap();
                engine.commit(batch, Durability::Sync).unwrap().seqs
            };
            assert_eq!(append(&old.engine), append(&new.engine), "seed {seed}: {key:?}");
        }
        new.engine.compact().unwrap();
        old.kill();
        new.kill();
        judge(&store, &store.bytes, (&report, &target), &format!("seed {seed}"));
    }
}

#[test]
fn a_target_with_anything_in_it_is_refused() {
    let store = Store::with_everything(1);
    let world = store.world(&store.bytes, &store.cold);
    let salvage = || Salvage::over(Arc::new(world.disk.reopen()));
    let full = SimDisk::from_bytes(SimOptions::default(), &[1; 4096]);
    let with_cold = salvage().with_cold(Arc::new(world.cold.clone().unwrap().reopen()));
    let refused = with_cold.run(Arc::new(full.clone())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert_eq!(full.bytes(), [1; 4096]);
    let target = SimDisk::new(SimOptions::default());
    let refused = salvage().run(Arc::new(target.clone())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ColdFile);
    let report = salvage().without_cold_file().run(Arc::new(target.clone())).unwrap();
    judge(&store, &store.bytes, (&report, &target), "without the cold file");
    assert!(!report.is_whole());
}

#[test]
fn a_target_that_was_not_finished_is_no_store() {
    let store = Store::with_everything(1);
    let world = store.world(&store.bytes, &store.cold);
    let target = SimDisk::new(SimOptions::default());
    target.crash_at(60);
    let salvage = Salvage::over(Arc::new(world.disk.reopen()));
    let salvage = salvage.with_cold(Arc::new(world.cold.clone().unwrap().reopen()));
    salvage.run(Arc::new(target.clone())).unwrap_err();
    let left = target.crash_image(&tidelog_engine::testing::CrashPolicy::KeepAll);
    let clock = SimClock::new(START_MS);
    let refused = World { disk: left, cold: None, clock, seed: 3 }.open(&tiny()).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Corruption);
}

/// The store is opened for writing while it is salvaged: what was read of it may not fit together.
#[test]
fn a_target_of_a_store_that_was_changed_meanwhile_is_no_store() {
    let store = Store::with_everything(1);
    let world = store.world(&store.bytes, &store.cold);
    let target = SimDisk::new(SimOptions::default());
    let mut hooked = HookedDisk::new(target.clone(), 1024 * 1024);
    let (writer, opened) = (world.clone(), AtomicBool::new(false));
    hooked.hook = Arc::new(move || {
        if !opened.swap(true, Ordering::SeqCst) {
            writer.open(&tiny()).unwrap().kill();
        }
    });
    let salvage = Salvage::over(Arc::new(world.disk.reopen()));
    let salvage = salvage.with_cold(Arc::new(world.cold.clone().unwrap().reopen()));
    let error = salvage.run(Arc::new(hooked)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SnapshotTooOld, "{error}");
    let clock = SimClock::new(START_MS);
    let left = World { disk: target.copied(), cold: None, clock, seed: 3 };
    assert_eq!(left.open(&tiny()).err().unwrap().kind(), ErrorKind::Corruption);
}

/// Each key of an SSTable is looked up when it is verified.
#[test]
fn a_key_costs_no_reads_of_its_own() {
    let world = World::new(9);
    let process = world.open(&tiny()).unwrap();
    let engine = process.engine.clone();
    let table = engine.create_table("keyed", TableOptions::keyed()).unwrap();
    let keys = 3000;
    for first in (0..keys).step_by(100) {
        let mut batch = WriteBatch::new();
        for key in first..first + 100_u64 {
            batch.put(table, &key.to_be_bytes(), b"value").unwrap();
        }
        engine.commit(batch, Durability::Sync).unwrap();
    }
    engine.flush().unwrap();
    engine.close().unwrap();
    let before = world.disk.counts().reads;
    let salvage = Salvage::over(Arc::new(world.disk.reopen()));
    let report = salvage.run(Arc::new(SimDisk::new(SimOptions::default()))).unwrap();
    assert!(report.is_whole() && report.tables[0].recovered == keys, "{report:?}");
    let reads = world.disk.counts().reads - before;
    assert!(reads < keys, "{reads} reads for {keys} keys");
}

/// The log of a store that wrote its ring all round, and whose manifest is gone, is all that there
/// is of its newest commits: it has more groups than a log may take of a ring.
#[test]
fn a_ring_that_was_written_all_round_is_salvaged() {
    let world = World::new(10);
    let process = world.open(&tiny()).unwrap();
    let engine = process.engine.clone();
    let table = engine.create_table("t", TableOptions::timeline()).unwrap();
    for _ in 0..700 {
        let mut batch = WriteBatch::new();
        batch.append(table, b"t", b"text", None).unwrap();
        engine.commit(batch, Durability::Sync).unwrap();
    }
    drop(engine);
    process.kill();
    let records = Inspector::over(Arc::new(world.disk.reopen())).manifest().unwrap().records;
    for record in records.iter().take(2) {
        world.disk.flip_bit(record.offset + 20, 3);
    }
    let salvage = Salvage::over(Arc::new(world.disk.reopen()));
    let report = salvage.run(Arc::new(SimDisk::new(SimOptions::default()))).unwrap();
    // A ring of 512 blocks, one for each commit; eight stay free.
    assert_eq!(report.tables[0].recovered, 504, "{report:?}");
    let named = report.lost.iter().any(|loss| match loss {
        Loss::Commits { first, last: Some(last), .. } => *last == *first + 7,
        _ => false,
    });
    assert!(named, "{report:?}");
}

/// Lists of timelines go by records, and the first flush of a timeline writes one: it knew a new
/// timeline by its first entry.
#[test]
fn a_timeline_whose_first_entry_is_lost_stays_listed() {
    let world = World::new(11);
    let process = world.open(&tiny()).unwrap();
    let engine = process.engine.clone();
    let table = engine.create_table("t", TableOptions::timeline()).unwrap();
    for _ in 0..4 {
        let mut batch = WriteBatch::new();
        batch.append(table, b"late", b"text", None).unwrap();
        engine.commit(batch, Durability::Sync).unwrap();
    }
    drop(engine);
    process.kill();
    let log = Inspector::over(Arc::new(world.disk.reopen())).log().unwrap();
    world.disk.flip_bit(log.groups[0].offset + 30, 3);
    let target = SimDisk::new(SimOptions::default());
    let salvage = Salvage::over(Arc::new(world.disk.reopen()));
    let report = salvage.run(Arc::new(target.clone())).unwrap();
    assert_eq!(report.tables[0].recovered, 3, "{report:?}");
    let left = World::with_disk(target.copied(), 12).open(&tiny()).unwrap();
    left.engine.flush().unwrap();
    let shown = Shown::read(&left.engine).unwrap();
    let (_, entries) = &shown.timelines[&(table, b"late".to_vec())];
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<u64>>(), [2, 3, 4]);
    left.kill();
}

/// The log says where a large payload lies. What is written anew does not go there, also where the
/// old file ends in the middle of it.
#[test]
fn a_large_payload_whose_footer_was_cut_off_keeps_its_place() {
    let world = World::new(12);
    let process = world.open(&tiny()).unwrap();
    let engine = process.engine.clone();
    let table = engine.create_table("t", TableOptions::timeline()).unwrap();
    for _ in 0..20 {
        let mut batch = WriteBatch::new();
        batch.append(table, b"small", &[3; 300], None).unwrap();
        engine.commit(batch, Durability::Sync).unwrap();
    }
    engine.flush().unwrap();
    // Their records fill a page, so their footers lie in the next one.
    for _ in 0..12 {
        let mut batch = WriteBatch::new().with_large_from(LARGE_FROM);
        batch.append(table, b"large", &[7; 4084], None).unwrap();
        engine.commit(batch, Durability::Sync).unwrap();
    }
    drop(engine);
    process.kill();
    let inspector = Inspector::over(Arc::new(world.disk.reopen()));
    let payloads = inspector.log().unwrap().payloads;
    let large = payloads.iter().map(|payload| &payload.segment);
    let large = large.max_by_key(|segment| segment.extent.offset).unwrap();
    let sstables = inspector.sstables().unwrap();
    let small = &sstables.iter().find(|sstable| sstable.meta.table == table).unwrap().meta;
    assert!(large.bytes == 4096 + 64 && small.extent.offset < large.extent.offset, "{large:?}");
    // Without its footer the SSTable is written anew, behind all that keeps its place.
    world.disk.flip_bit(small.extent.offset + small.bytes - 4000, 3);
    let mut bytes = world.disk.bytes();
    bytes.truncate(usize::try_from(large.extent.offset).unwrap() + 4096);
    let old = SimDisk::from_bytes(SimOptions::default(), &bytes);
    let target = SimDisk::new(SimOptions::default());
    let report = Salvage::over(Arc::new(old)).run(Arc::new(target.clone())).unwrap();
    assert_eq!(report.tables[0].recovered, 32, "{report:?}");
    let left = World::with_disk(target.copied(), 13).open(&tiny()).unwrap();
    let shown = Shown::read(&left.engine).unwrap();
    let (_, entries) = &shown.timelines[&(table, b"large".to_vec())];
    assert_eq!(entries.len(), 12);
    assert!(entries.iter().all(|entry| *entry.payload == [7; 4084]));
    left.kill();
}
