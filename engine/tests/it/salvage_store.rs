//! A store with every structure, written batch by batch and killed, and all that is known of it:
//! what `salvage_judge` holds a salvage against.

use super::world::{Process, World, tiny};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;
use tidelog_engine::inspect::{Inspector, LogGroup, SpaceKind};
use tidelog_engine::salvage::{Report, Salvage};
use tidelog_engine::testing::{Random, SimClock, SimDisk, SimOptions};
use tidelog_engine::{
    AppendOptions, Compression, Direction, Disk, Durability, Engine, Entry, Options, Origin,
    Result, Sequence, TableId, TableKind, TableOptions, Tier, WriteBatch,
};

/// Payloads of so many bytes go to extents of their own.
pub(crate) const LARGE_FROM: usize = 1200;

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
    pub(crate) beside: Beside,
    /// The groups of the log.
    groups: Vec<LogGroup>,
}

/// The commits that wrote something beside entries.
#[derive(Default)]
pub(crate) struct Beside {
    /// By table and key.
    pub(crate) values: BTreeMap<(TableId, Vec<u8>), BTreeSet<u64>>,
    pub(crate) marks: BTreeSet<u64>,
    pub(crate) amendments: BTreeSet<u64>,
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

pub(crate) const BATCHES: u64 = 200;
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
    pub(crate) fn cut(&self, bytes: &[u8]) -> u64 {
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
    pub(crate) fn open(&self, target: &SimDisk) -> Process {
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
