//! The picker: decisions read from a text, and invariants under random flushes and jobs.

use crate::compaction::dead_share::pick_dead;
use crate::compaction::picker::{Job, JobKind, PickerOptions, debt_bytes, pick};
use crate::entry::TableId;
use crate::file::Extent;
use crate::limits::LEVEL_COUNT;
use crate::version::{Shard, SstableMeta, TableKind, Version};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

type Place = (Box<[u8]>, u64);

pub(super) fn meta(
    number: u64,
    table: u32,
    kind: TableKind,
    range: (Place, Place),
    bytes: u64,
) -> SstableMeta {
    SstableMeta {
        number,
        table: TableId(table),
        kind,
        shard: Shard::default(),
        extent: Extent { offset: number << 20, length: 1 << 20 },
        bytes,
        footer_checksum: 0,
        entries: 1,
        keys: 1,
        payload_bytes: 0,
        oldest_origin: 0,
        own_ttl: Default::default(),
        first: range.0,
        last: range.1,
        commits: (1, 1),
        times_ms: (1, 1),
        segments: [].into(),
    }
}

fn place(text: &str) -> Place {
    let (key, seq) = text.split_once(':').unwrap_or((text, "0"));
    (key.as_bytes().into(), seq.parse().expect("a seq"))
}

/// What a test of the text defines, line by line.
struct Definition {
    options: PickerOptions,
    version: Version<SstableMeta>,
    busy: BTreeSet<u64>,
    table: (u32, TableKind),
}

impl Definition {
    fn new() -> Definition {
        let options = PickerOptions {
            level0_compact: 4,
            level_bytes_base: 400,
            ratio: 10,
            sstable_bytes: 100,
        };
        Definition {
            options,
            version: Version::default(),
            busy: BTreeSet::new(),
            table: (16, TableKind::Timeline),
        }
    }

    fn line(&mut self, line: &str, output: &mut String) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |text: &str| text.parse::<u64>().expect("a number");
        match words.as_slice() {
            ["level0_compact", count] => {
                self.options.level0_compact = usize::try_from(number(count)).unwrap();
            }
            ["base", bytes] => self.options.level_bytes_base = number(bytes),
            ["ratio", ratio] => self.options.ratio = number(ratio),
            ["timelines", id] => {
                self.table = (u32::try_from(number(id)).unwrap(), TableKind::Timeline);
            }
            ["keyed", id] => self.table = (u32::try_from(number(id)).unwrap(), TableKind::Keyed),
            ["busy", numbers @ ..] => self.busy = numbers.iter().map(|text| number(text)).collect(),
            [level, sstables @ ..] if level.starts_with('L') => {
                let level = u8::try_from(number(&level[1..])).unwrap();
                for sstable in sstables {
                    self.add(level, sstable);
                }
            }
            ["pick"] => {
                self.pick(output);
            }
            ["debt"] => {
                writeln!(output, "{}", debt_bytes(&self.version, &self.options)).unwrap();
            }
            ["settle"] => while self.pick(output) {},
            _ => panic!("what is '{line}'?"),
        }
    }

    /// `number=first..last` or `number=first..last/bytes`.
    fn add(&mut self, level: u8, text: &str) {
        let (number, rest) = text.split_once('=').expect("number=first..last/bytes");
        let (range, bytes) = rest.split_once('/').unwrap_or((rest, "100"));
        let (first, last) = range.split_once("..").expect("first..last");
        let range = (place(first), place(last));
        let (number, bytes) = (number.parse().unwrap(), bytes.parse().unwrap());
        let added = meta(number, self.table.0, self.table.1, range, bytes);
        self.version = self.version.apply(&[], vec![(level, added)]);
    }

    /// Picks and describes; what moves is moved.
    fn pick(&mut self, output: &mut String) -> bool {
        let Some(job) = pick(&self.version, &self.options, &self.busy) else {
            writeln!(output, "nothing").unwrap();
            return false;
        };
        describe(&job, output);
        if job.kind != JobKind::Move {
            return false;
        }
        let numbers: Vec<u64> = job.numbers().collect();
        let moved = job.inputs.into_iter().map(|(_, meta)| (job.output_level, meta)).collect();
        self.version = self.version.apply(&numbers, moved);
        true
    }
}

fn describe(job: &Job<SstableMeta>, output: &mut String) {
    let kind = match job.kind {
        JobKind::Move => "move",
        JobKind::Merge => "merge",
        JobKind::Drop => "drop",
    };
    write!(output, "table {} {kind}", job.table.0).unwrap();
    for (level, meta) in &job.inputs {
        write!(output, " L{level}:{}", meta.number).unwrap();
    }
    write!(output, " -> L{}", job.output_level).unwrap();
    let below: String =
        ('a'..='z').filter(|key| job.below.contains(key.to_string().as_bytes())).collect();
    writeln!(output, "{}{below}", if below.is_empty() { "" } else { " above " }).unwrap();
}

#[test]
fn decisions_are_those_of_the_text() {
    let text = include_str!("../../../tests/data/picker.txt");
    let mut blocks = 0;
    for block in text.split("\n\n").filter(|block| block.contains("\n----\n")) {
        let (define, expected) = block.split_once("\n----\n").expect("a test ends in its outcome");
        let mut definition = Definition::new();
        let mut output = String::new();
        for line in define.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            definition.line(line, &mut output);
        }
        assert_eq!(output.trim(), expected.trim(), "in the test\n{define}");
        blocks += 1;
    }
    assert!(blocks >= 12, "the text has {blocks} tests");
}

/// A piece of a timeline: its key and its first and last seq.
type Piece = (u8, u64, u64);

/// A store of plain metas: what each SSTable would hold, and which jobs are running.
pub(super) struct Model {
    pub(super) version: Version<SstableMeta>,
    contents: BTreeMap<u64, Vec<Piece>>,
    options: PickerOptions,
    next_seq: [u64; 6],
    next_number: u64,
    pub(super) running: Vec<Job<SstableMeta>>,
}

pub(super) const ENTRY_BYTES: u64 = 10;

impl Model {
    pub(super) fn new(options: PickerOptions) -> Model {
        Model {
            version: Version::default(),
            contents: BTreeMap::new(),
            options,
            next_seq: [1; 6],
            next_number: 1,
            running: Vec::new(),
        }
    }

    pub(super) fn flush(&mut self, counts: [u64; 6]) {
        let mut pieces = Vec::new();
        for (key, count) in (b'a'..).zip(counts) {
            let next = &mut self.next_seq[usize::from(key - b'a')];
            if count > 0 {
                pieces.push((key, *next, *next + count - 1));
                *next += count;
            }
        }
        let written = self.write(Shard::default(), pieces);
        let added = written.into_iter().map(|meta| (0, meta)).collect();
        self.version = self.version.apply(&[], added);
    }

    /// Cuts pieces into SSTables, in the midst of timelines too.
    fn write(&mut self, shard: Shard, pieces: Vec<Piece>) -> Vec<SstableMeta> {
        let entries_max = self.options.sstable_bytes / ENTRY_BYTES;
        let mut written = Vec::new();
        let mut current: Vec<Piece> = Vec::new();
        let mut room = entries_max;
        for (key, mut first, last) in pieces {
            while first <= last {
                let end = last.min(first + room - 1);
                current.push((key, first, end));
                room -= end - first + 1;
                first = end + 1;
                if room == 0 {
                    written.push(std::mem::take(&mut current));
                    room = entries_max;
                }
            }
        }
        written.push(current);
        written.retain(|pieces| !pieces.is_empty());
        written.into_iter().map(|pieces| self.sstable(shard, pieces)).collect()
    }

    fn sstable(&mut self, shard: Shard, pieces: Vec<Piece>) -> SstableMeta {
        let number = self.next_number;
        self.next_number += 1;
        let (first, last) = (pieces[0], pieces[pieces.len() - 1]);
        let range = (([first.0].into(), first.1), ([last.0].into(), last.2));
        let entries: u64 = pieces.iter().map(|(_, first, last)| last - first + 1).sum();
        self.contents.insert(number, pieces);
        let meta = meta(number, 16, TableKind::Timeline, range, entries * ENTRY_BYTES);
        SstableMeta { shard, ..meta }
    }

    /// The runs of a timeline, newest first: the SSTables of each.
    pub(super) fn runs(&self, key: u8) -> Vec<Vec<u64>> {
        let holds = |number: &u64| self.contents[number].iter().any(|piece| piece.0 == key);
        let key = [key];
        let candidates = self.version.leveled_candidates(TableId(16), &key);
        let mut runs: Vec<(u8, Vec<u64>)> = Vec::new();
        for (level, meta) in candidates.filter(|(_, meta)| holds(&meta.number)) {
            match runs.last_mut() {
                Some((last, run)) if *last == level && level > 0 => run.push(meta.number),
                _ => runs.push((level, vec![meta.number])),
            }
        }
        runs.into_iter().map(|(_, run)| run).collect()
    }

    /// The SSTables that jobs work on.
    pub(super) fn busy(&self) -> BTreeSet<u64> {
        self.running.iter().flat_map(Job::numbers).collect()
    }

    pub(super) fn start(&mut self) -> bool {
        let busy = self.busy();
        let Some(job) = pick(&self.version, &self.options, &busy) else {
            return false;
        };
        assert!(job.numbers().all(|number| !busy.contains(&number)));
        self.running.push(job);
        true
    }

    pub(super) fn finish(&mut self, index: usize) {
        let job = self.running.remove(index % self.running.len());
        let numbers: Vec<u64> = job.numbers().collect();
        let outputs = match job.kind {
            JobKind::Move => job.inputs.iter().map(|(_, meta)| meta.clone()).collect(),
            JobKind::Merge => {
                let pieces = self.concatenate(&numbers);
                self.write(job.shard, pieces)
            }
            JobKind::Drop => unreachable!("nothing is dead here"),
        };
        let added = outputs.into_iter().map(|meta| (job.output_level, meta)).collect();
        self.version = self.version.apply(&numbers, added);
    }

    /// What a merge of inputs in this order writes: per timeline one piece behind the other.
    fn concatenate(&self, numbers: &[u64]) -> Vec<Piece> {
        let mut timelines: BTreeMap<u8, Vec<Piece>> = BTreeMap::new();
        for piece in numbers.iter().flat_map(|number| &self.contents[number]) {
            let pieces = timelines.entry(piece.0).or_default();
            if let Some(before) = pieces.last() {
                assert!(before.2 < piece.1, "the older data come first: {before:?} {piece:?}");
            }
            pieces.push(*piece);
        }
        timelines.into_values().flatten().collect()
    }

    /// Every timeline, read as readers do, from the oldest shard to the newest, in each from the
    /// deepest level to the newest SSTable of level 0, is whole and in order.
    pub(super) fn check(&self) {
        self.version.check_invariants().unwrap();
        let mut next = [1u64; 6];
        let mut shards: Vec<_> = self.version.shards(TableId(16)).collect();
        shards.reverse();
        for (shard, levels) in shards {
            for level in (0..LEVEL_COUNT).rev() {
                let mut sstables = levels.level(level).to_vec();
                if level == 0 {
                    sstables.reverse();
                }
                let pieces = sstables.iter().flat_map(|meta| &self.contents[&meta.number]);
                for (key, first, last) in pieces {
                    let next = &mut next[usize::from(key - b'a')];
                    assert_eq!(first, next, "timeline {key} at level {level} of {shard:?}");
                    *next = last + 1;
                }
            }
        }
        assert_eq!(next, self.next_seq);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Flush([u64; 6]),
    Start,
    Finish(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let count = prop_oneof![3 => Just(0u64), 3 => 1u64..6, 1 => 6u64..40];
    let flush = prop::array::uniform6(count).prop_map(Step::Flush);
    let finish = (0usize..4).prop_map(Step::Finish);
    prop::collection::vec(prop_oneof![3 => flush, 3 => Just(Step::Start), 2 => finish], 1..80)
}

#[test]
fn what_is_dead_is_dropped_rewritten_or_taken_down() {
    let timeline = TableKind::Timeline;
    let options =
        PickerOptions { level0_compact: 4, level_bytes_base: 400, ratio: 10, sstable_bytes: 100 };
    let at = |level, number, first: &str, last: &str, bytes| {
        let mut meta = meta(number, 16, timeline, (place(first), place(last)), bytes);
        meta.entries = 100;
        (level, meta)
    };
    let version = Version::default().apply(
        &[],
        vec![
            at(0, 9, "a:90", "z:99", 100),
            at(1, 5, "a:50", "c:59", 100),
            at(1, 6, "d:50", "m:59", 100),
            at(2, 2, "a:1", "z:9", 1000),
        ],
    );
    let picked = |dead: &[(u64, u64)], busy: &[u64]| {
        let busy = busy.iter().copied().collect();
        let job = pick_dead(&version, &dead.iter().copied().collect(), &options, &busy)?;
        let mut text = String::new();
        describe(&job, &mut text);
        Some(text)
    };
    assert_eq!(picked(&[], &[]), None);
    assert_eq!(picked(&[(5, 24), (2, 24), (77, 100)], &[]), None, "less than a quarter");
    let rewritten = picked(&[(5, 25)], &[]).unwrap();
    assert_eq!(rewritten.trim(), "table 16 merge L1:5 -> L1");
    assert_eq!(picked(&[(5, 25)], &[5]), None, "somebody works on it");
    let most = picked(&[(5, 99), (2, 30)], &[]).unwrap();
    assert_eq!(most.trim(), "table 16 merge L2:2 -> L2", "what frees most comes first");
    let free = picked(&[(5, 100), (2, 90)], &[]).unwrap();
    assert_eq!(free.trim(), "table 16 drop L1:5 -> L1", "what costs nothing comes first");
    assert_eq!(picked(&[(9, 100)], &[]).unwrap().trim(), "table 16 drop L0:9 -> L0");
    let taken_down = picked(&[(9, 50)], &[]).unwrap();
    assert_eq!(taken_down.trim(), "table 16 merge L1:5 L1:6 L0:9 -> L1");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_flushes_and_jobs_keep_the_order_of_levels(
        steps in steps(),
        level0_compact in 1usize..5,
        ratio in 2u64..4,
        entries in 6u64..30,
        base in 1u64..6,
    ) {
        let sstable_bytes = entries * ENTRY_BYTES;
        let level_bytes_base = base * sstable_bytes;
        let mut model =
            Model::new(PickerOptions { level0_compact, level_bytes_base, ratio, sstable_bytes });
        for step in steps {
            match step {
                Step::Flush(counts) => model.flush(counts),
                Step::Start => { model.start(); }
                Step::Finish(index) if !model.running.is_empty() => model.finish(index),
                Step::Finish(_) => {}
            }
            model.check();
        }
        // Without new data the picker comes to an end, and nothing is due.
        // Every job takes at least one SSTable one level down, and no entry goes further than that.
        let entries: u64 = model.next_seq.iter().map(|next| next - 1).sum();
        let mut jobs = 0;
        while !model.running.is_empty() || model.start() {
            model.finish(0);
            jobs += 1;
            prop_assert!(jobs <= entries * LEVEL_COUNT as u64, "the picker goes round in circles");
        }
        model.check();
        prop_assert!(model.version.level(TableId(16), Shard::default(), 0).len() < level0_compact);
    }
}

/// A table with little traffic: tiny flushes do not pile up as tiny SSTables.
#[test]
fn tiny_flushes_end_in_few_sstables() {
    let options =
        PickerOptions { level0_compact: 4, level_bytes_base: 4000, ratio: 10, sstable_bytes: 1000 };
    let mut model = Model::new(options);
    for round in 0..400 {
        let mut counts = [0; 6];
        counts[round % 6] = 2;
        model.flush(counts);
        while model.start() {
            model.finish(0);
        }
    }
    model.check();
    let count = model.version.iter().count();
    assert!(count <= 24, "{count} SSTables hold 800 entries, eight are enough");
}
