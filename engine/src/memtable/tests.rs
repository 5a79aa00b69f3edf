use super::*;
use crate::batch::{KeyedOperation, WriteBatch};
use crate::entry::{Direction, Entry, KeyedVersion};
use proptest::prelude::*;
use std::collections::BTreeMap;

const TABLE: TableId = TableId(16);
const KEYED: TableId = TableId(17);

/// Commits batches as the leader does: assigns dense seqs, then applies.
struct Leader {
    memtable: Arc<Memtable>,
    seqs: BTreeMap<(u32, Vec<u8>), u64>,
    hints: BTreeMap<(u32, Vec<u8>), RunHint>,
}

impl Leader {
    fn new(base_commit: u64, base_time_ms: u64) -> Leader {
        let memtable = Arc::new(Memtable::new(base_commit, base_time_ms));
        Leader { memtable, seqs: BTreeMap::new(), hints: BTreeMap::new() }
    }

    fn commit(&mut self, mut batch: WriteBatch, commit: u64, time_ms: u64) {
        let mut assigned = Vec::new();
        let mut keys = Vec::new();
        for index in 0..batch.append_count() {
            let target = batch.target(index);
            let key = (target.table.0, target.key.to_vec());
            let seq = self.seqs.entry(key.clone()).or_default();
            *seq += 1;
            assigned.push(*seq);
            batch.assign(index, *seq);
            self.hints.entry(key.clone()).or_insert_with(RunHint::new);
            keys.push(key);
        }
        assert!(self.memtable.fits(commit, time_ms, batch.byte_count(), batch.append_count()));
        let hints = keys.iter().map(|key| &self.hints[key]);
        match batch.into_appends() {
            Ok(appends) => self.memtable.append(appends, &assigned, commit, time_ms, hints),
            Err(body) => self.memtable.apply_hinted(body, commit, time_ms, hints),
        }
        .unwrap();
    }

    fn append(&mut self, key: &[u8], payload: &[u8], commit: u64, time_ms: u64) {
        let mut batch = WriteBatch::new();
        batch.append(TABLE, key, payload, None).unwrap();
        self.commit(batch, commit, time_ms);
    }
}

/// Recovery decodes bodies, and looks the runs of many targets up together.
#[test]
fn a_decoded_body_gives_what_an_appended_one_does() {
    let mut leader = Leader::new(1, 1);
    let recovered = Arc::new(Memtable::new(1, 1));
    for commit in 1..6u64 {
        let mut batch = WriteBatch::new();
        for index in 0..150u64 {
            // Some come twice in a row, some are new in the third body.
            let key = format!("{}", index / 2 * commit.min(3) % 61);
            let payload = format!("{commit} {index}");
            batch.append(TABLE, key.as_bytes(), payload.as_bytes(), None).unwrap();
            if index % 40 == 0 {
                batch.put(KEYED, key.as_bytes(), payload.as_bytes()).unwrap();
            }
        }
        leader.commit(batch, commit, 10 * commit);
        let body = leader.memtable.frames.get(u32::try_from(commit).unwrap() - 1);
        recovered.apply(Arc::new(body.to_vec()), commit, 10 * commit).unwrap();
    }
    assert_eq!(recovered.entries(), leader.memtable.entries());
    assert_eq!(recovered.commits(), leader.memtable.commits());
    let entries = |memtable: &Arc<Memtable>| -> Vec<Vec<Entry>> {
        let runs = memtable.runs_sorted(TABLE, Bound::Unbounded);
        let entries = runs.iter().map(|run| run.cursor(0, Direction::Forward));
        entries.map(|cursor| cursor.map(Result::unwrap).collect()).collect()
    };
    assert_eq!(entries(&recovered), entries(&leader.memtable));
    assert_eq!(entries(&recovered).len(), 61);
}

#[test]
fn an_empty_memtable_holds_nothing() {
    let memtable = Arc::new(Memtable::new(5, 1000));
    assert!(memtable.is_empty());
    assert_eq!((memtable.entries(), memtable.commits()), (0, None));
    assert!(memtable.run(TABLE, b"k").is_none());
    assert!(memtable.run(TABLE, &[0; 70_000]).is_none());
    assert!(memtable.tables().is_empty());
    assert!(memtable.runs_sorted(TABLE, Bound::Unbounded).is_empty());
    assert!(memtable.versions(KEYED, b"k", u64::MAX).is_empty());
    assert!(memtable.keyed_range(KEYED, Bound::Unbounded).next().is_none());
    assert!(memtable.bytes() < 16 * 1024, "{} bytes when empty", memtable.bytes());
}

#[test]
fn what_is_appended_undecoded_is_what_decoding_gives() {
    // Story: the leader appends what its batch knows; after a crash recovery decodes the body.
    let (mut leader, recovered) = (Leader::new(5, 0), Arc::new(Memtable::new(5, 0)));
    let keys: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n; usize::from(n) + 1]).collect();
    for commit in 5..25u64 {
        let mut batch = WriteBatch::new();
        let picked = keys.iter().zip(0..).filter(|(_, n)| (commit + n) % 3 != 0);
        let picked: Vec<_> = picked.map(|(key, _)| (TABLE, &key[..])).collect();
        batch.fan_out(picked.iter().copied(), &commit.to_le_bytes(), None, None, true).unwrap();
        for (table, key) in picked.iter().rev().step_by(2) {
            batch.append(*table, key, b"alone", Some(9)).unwrap();
        }
        let frame = u32::try_from(commit - 5).unwrap();
        leader.commit(batch, commit, commit * 10);
        let body = Arc::new(leader.memtable.frames.get(frame).to_vec());
        recovered.apply(body, commit, commit * 10).unwrap();
    }
    assert_eq!(leader.memtable.entries(), recovered.entries());
    assert_eq!(leader.memtable.commits(), recovered.commits());
    for key in &keys {
        let entries = |memtable: &Arc<Memtable>| -> Vec<Entry> {
            let run = memtable.run(TABLE, key).unwrap();
            assert_eq!(run.key(), key);
            run.cursor(0, Direction::Forward).map(Result::unwrap).collect()
        };
        assert_eq!(entries(&leader.memtable), entries(&recovered));
    }
}

/// The log has both: who is told of two must never find one.
#[test]
#[should_panic(expected = "one seq and one hint a target")]
fn no_target_of_a_body_is_left_out() {
    let mut batch = WriteBatch::new();
    batch.fan_out([(TABLE, &b"a"[..]), (TABLE, b"b")], b"x", None, None, false).unwrap();
    let appends = batch.into_appends().expect("nothing but a message");
    let hints = [RunHint::new()];
    let _ = Memtable::new(1, 0).append(appends, &[1, 1], 1, 0, hints.iter());
}

#[test]
fn a_fan_out_holds_its_payload_once() {
    let mut leader = Leader::new(1, 0);
    let keys: Vec<Vec<u8>> = (0..1000u32).map(|n| format!("user-{n}").into_bytes()).collect();
    let mut batch = WriteBatch::new();
    let targets = [(TABLE, &b"room"[..])].into_iter();
    let targets = targets.chain(keys.iter().map(|key| (TABLE, &key[..])));
    batch.fan_out(targets, &[7; 100_000], Some(-4), None, true).unwrap();
    leader.commit(batch, 1, 9);
    let memtable = &leader.memtable;
    assert_eq!(memtable.entries(), 1001);
    let index = memtable.bytes() - memtable.frames.bytes();
    assert!(index < 1001 * 220, "{index} bytes beside the one frame");
    assert!(memtable.frames.bytes() < 2 * 130_000, "{}", memtable.frames.bytes());
    let entry = memtable.run(TABLE, b"user-999").unwrap().entry(0).unwrap();
    assert_eq!((entry.seq, entry.commit, entry.time_ms, entry.event_ms), (1, 1, 9, Some(-4)));
    let origin = entry.origin.unwrap();
    assert_eq!((origin.table, &*origin.key, origin.seq), (TABLE, &b"room"[..], 1));
    assert_eq!(&*entry.payload, [7; 100_000]);
    assert_eq!(memtable.run(TABLE, b"room").unwrap().entry(0).unwrap().origin, None);
}

#[test]
fn entries_cost_what_they_should() {
    let mut leader = Leader::new(1, 0);
    for commit in 1..=20_000 {
        leader.append(b"one long timeline", b"", commit, 0);
    }
    let index = leader.memtable.arena.used() * 8;
    assert!(index < 20_000 * 26, "{index} bytes of arena for 20,000 entries of one run");
    let mut leader = Leader::new(1, 0);
    for commit in 1..=20_000u64 {
        leader.append(&commit.to_le_bytes(), b"", commit, 0);
    }
    let index = leader.memtable.arena.used() * 8;
    assert!(index < 20_000 * 122, "{index} bytes of arena for 20,000 runs of one entry");
}

#[test]
fn deltas_that_do_not_fit_are_said_beforehand() {
    let memtable = Memtable::new(100, 5000);
    let far = u64::from(u32::MAX);
    assert!(memtable.fits(100 + far, 5000 + far, 100, 1));
    assert!(!memtable.fits(101 + far, 5000, 100, 1));
    assert!(!memtable.fits(100, 5001 + far, 100, 1));
    assert!(!memtable.fits(99, 5000, 100, 1));
    assert!(!memtable.fits(100, 4999, 100, 1));
    assert!(!memtable.fits(100, 5000, 100, 200_000_000));
    assert!(memtable.fits(100, 5000, 2 * crate::limits::BATCH_BYTES_MAX, 2_500_000));
}

#[test]
fn bodies_that_cannot_be_are_refused() {
    let what = |body: Vec<u8>, commit, time_ms| {
        let memtable = Arc::new(Memtable::new(10, 10));
        let mut batch = WriteBatch::new();
        batch.append_at(TABLE, b"k", 5, b"x", None).unwrap();
        memtable.apply(Arc::new(batch.into_body()), 11, 11).unwrap();
        let result = memtable.apply(Arc::new(body), commit, time_ms).map_err(|error| error.what);
        assert_eq!(memtable.commits(), Some((11, if result.is_ok() { commit } else { 11 })));
        result
    };
    let with_seq = |seq: u64| {
        let mut batch = WriteBatch::new();
        batch.append(TABLE, b"k", b"x", None).unwrap();
        batch.widen_for([seq].into_iter());
        batch.assign(0, seq);
        batch.into_body()
    };
    assert_eq!(what(with_seq(6), 12, 11), Ok(()));
    assert_eq!(what(with_seq(5), 12, 11), Err("target seq"));
    assert_eq!(what(with_seq(0), 12, 11), Err("target seq"));
    assert_eq!(what(with_seq(u64::MAX), 12, 11), Err("target seq"));
    assert_eq!(what(with_seq(6), 11, 11), Err("commit number"));
    assert_eq!(what(with_seq(6), 9, 11), Err("commit number"));
    assert_eq!(what(with_seq(6), 12, 10), Err("commit number"));
    assert_eq!(what(with_seq(6), 12, u64::MAX), Err("commit number"));
    assert_eq!(what(vec![9], 12, 11), Err("record kind"));
    assert_eq!(what(with_seq(6)[..9].to_vec(), 12, 11), Err("target key"));
}

#[test]
fn cursors_walk_both_ways_over_chunks() {
    let mut leader = Leader::new(1, 0);
    let count = 5000u64;
    for commit in 1..=count {
        leader.append(b"k", &commit.to_le_bytes(), commit, commit / 3);
    }
    let run = leader.memtable.run(TABLE, b"k").unwrap();
    let seqs = |from, direction| run.cursor(from, direction).map(|entry| entry.unwrap().seq);
    for from in [0, 1, 2, 5, 6, 13, 14, 1021, 1022, 4998, 4999] {
        assert!(seqs(from, Direction::Forward).eq(from as u64 + 1..=count), "from {from}");
        assert!(seqs(from, Direction::Backward).eq((1..=from as u64 + 1).rev()), "from {from}");
    }
    assert_eq!(seqs(5000, Direction::Forward).count(), 0);
    assert_eq!(seqs(5000, Direction::Backward).count(), 0);
    for index in (0..5000).step_by(7) {
        let seq = index as u64 + 1;
        assert_eq!(run.count_at(seq), index + 1);
        assert_eq!(run.lower_bound(seq, 5000), index);
        assert_eq!(run.time_ms(run.rank_time(seq / 3, 5000)), seq / 3);
        assert_eq!((run.seq(index), run.commit(index)), (seq, seq));
    }
}

#[test]
fn runs_are_sorted_and_start_where_told() {
    let mut leader = Leader::new(1, 0);
    for (commit, key) in (1..).zip([&b"b"[..], b"ab", b"c", b"a", b"b"]) {
        leader.append(key, b"", commit, 0);
    }
    let mut batch = WriteBatch::new();
    batch.append(TableId(3), b"b", b"", None).unwrap();
    batch.put(KEYED, b"k", b"v").unwrap();
    leader.commit(batch, 9, 0);
    let keys = |from| {
        let runs = leader.memtable.runs_sorted(TABLE, from);
        runs.iter().map(|run| String::from_utf8_lossy(run.key()).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys(Bound::Unbounded), ["a", "ab", "b", "c"]);
    assert_eq!(keys(Bound::Included(b"ab")), ["ab", "b", "c"]);
    assert_eq!(keys(Bound::Excluded(b"ab")), ["b", "c"]);
    let timeline = TableKind::Timeline;
    let expected = vec![(TableId(3), timeline), (TABLE, timeline), (KEYED, TableKind::Keyed)];
    assert_eq!(leader.memtable.tables(), expected);
    assert_eq!(leader.memtable.run(TABLE, b"b").unwrap().count_at(4), 1);
    assert_eq!(leader.memtable.commits(), Some((1, 9)));
}

/// One writer, three readers: whoever sees entry n sees all below it, and each is whole.
#[test]
fn readers_see_whole_prefixes() {
    const TIMELINES: u64 = 37;
    const COMMITS: u64 = 40_000;
    let memtable = Arc::new(Memtable::new(1, 0));
    let published = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for reader in 0..3u64 {
            let (memtable, published) = (&memtable, &published);
            scope.spawn(move || {
                let mut round = reader;
                loop {
                    let snapshot = published.load(Ordering::Acquire);
                    round += 1;
                    let timeline = (round * 7 + reader) % TIMELINES;
                    // Commit c goes to timeline c % TIMELINES, as entry c / TIMELINES.
                    let expected = (1..=snapshot).filter(|c| c % TIMELINES == timeline);
                    let expected: Vec<u64> = expected.collect();
                    let found = match memtable.run(TABLE, &timeline.to_le_bytes()) {
                        None => Vec::new(),
                        Some(run) => match run.count_at(snapshot) {
                            0 => Vec::new(),
                            visible => {
                                let entries = run.cursor(visible - 1, Direction::Backward);
                                entries.map(Result::unwrap).collect()
                            }
                        },
                    };
                    assert_eq!(found.len(), expected.len(), "snapshot {snapshot}");
                    for (entry, commit) in found.iter().zip(expected.iter().rev()) {
                        assert_eq!(
                            (entry.commit, &*entry.payload),
                            (*commit, &commit.to_le_bytes()[..])
                        );
                    }
                    let listed = memtable.versions(KEYED, &timeline.to_le_bytes(), snapshot);
                    let newest = expected.last().map(|commit| commit.to_le_bytes().to_vec());
                    assert_eq!(listed.first().map(|version| version.value.to_vec()), newest);
                    if snapshot == COMMITS {
                        break;
                    }
                }
            });
        }
        for commit in 1..=COMMITS {
            let key = (commit % TIMELINES).to_le_bytes();
            let mut batch = WriteBatch::new();
            batch.append(TABLE, &key, &commit.to_le_bytes(), None).unwrap();
            batch.assign(0, commit);
            batch.put(KEYED, &key, &commit.to_le_bytes()).unwrap();
            memtable.apply(Arc::new(batch.into_body()), commit, 0).unwrap();
            published.store(commit, Ordering::Release);
        }
    });
}

#[test]
fn handles_can_go_to_other_threads() {
    fn sendable<T: Send + Sync>() {}
    sendable::<Memtable>();
    sendable::<Run>();
    sendable::<RunCursor>();
    sendable::<KeyedRange>();
}

#[derive(Debug, Clone)]
enum Write {
    Message { targets: Vec<(u32, u8)>, payload: Vec<u8>, event_ms: Option<i64> },
    Keyed { operation: KeyedOperation, table: u32, key: u8, value: i64 },
}

fn write() -> impl Strategy<Value = Write> {
    let targets = prop::collection::vec((1u32..4, 0u8..12), 1..6);
    let payload = prop::collection::vec(any::<u8>(), 0..20);
    let message = (targets, payload, any::<Option<i64>>())
        .prop_map(|(targets, payload, event_ms)| Write::Message { targets, payload, event_ms });
    let operation = prop::sample::select(vec![
        KeyedOperation::Put,
        KeyedOperation::Delete,
        KeyedOperation::Add,
        KeyedOperation::Max,
    ]);
    let keyed = (operation, 25u32..27, 0u8..6, any::<i64>())
        .prop_map(|(operation, table, key, value)| Write::Keyed { operation, table, key, value });
    prop_oneof![3 => message, 2 => keyed]
}

/// What the memtable should hold.
#[derive(Default)]
struct Model {
    timelines: BTreeMap<(u32, Vec<u8>), Vec<Entry>>,
    /// In the order of the list: by key, newest first.
    keyed: BTreeMap<u32, Vec<KeyedVersion>>,
}

impl Model {
    fn batch(&mut self, writes: &[Write], commit: u64, time_ms: u64) -> WriteBatch {
        let mut batch = WriteBatch::new();
        for (index, write) in (0u32..).zip(writes) {
            match write {
                Write::Message { targets, payload, event_ms } => {
                    let keys: Vec<_> =
                        targets.iter().map(|(table, key)| (TableId(*table), [*key])).collect();
                    let list = keys.iter().map(|(table, key)| (*table, &key[..]));
                    batch.fan_out(list, payload, *event_ms, None, false).unwrap();
                    for (table, key) in targets {
                        let run = self.timelines.entry((*table, vec![*key])).or_default();
                        run.push(Entry {
                            seq: run.len() as u64 + 1,
                            commit,
                            time_ms,
                            event_ms: *event_ms,
                            ttl_ms: None,
                            origin: None,
                            payload: crate::entry::Payload::from_vec(payload.clone()),
                            revision: None,
                            erased: false,
                        });
                    }
                }
                Write::Keyed { operation, table, key, value } => {
                    let (id, name) = (TableId(*table), &[*key][..]);
                    match operation {
                        KeyedOperation::Put => batch.put(id, name, &value.to_le_bytes()),
                        KeyedOperation::Delete => batch.delete(id, name),
                        KeyedOperation::Add => batch.add(id, name, *value),
                        KeyedOperation::Max => batch.max(id, name, *value),
                        KeyedOperation::Mark => unreachable!("not for users' tables"),
                    }
                    .unwrap();
                    let value = match operation {
                        KeyedOperation::Delete => Vec::new(),
                        _ => value.to_le_bytes().to_vec(),
                    };
                    let value = crate::entry::Payload::from_vec(value);
                    let (key, operation) = (name.into(), *operation);
                    let version = KeyedVersion { key, commit, index, time_ms, operation, value };
                    self.keyed.entry(*table).or_default().push(version);
                }
            }
        }
        for versions in self.keyed.values_mut() {
            let newest_first = |v: &KeyedVersion| std::cmp::Reverse((v.commit, v.index));
            versions.sort_by_key(|version| (version.key.clone(), newest_first(version)));
        }
        batch
    }

    fn check(&self, memtable: &Arc<Memtable>, snapshot: u64) {
        for ((table, key), entries) in &self.timelines {
            let visible = entries.iter().filter(|entry| entry.commit <= snapshot).count();
            let run = memtable.run(TableId(*table), key).expect("a run for each timeline");
            assert_eq!(run.count_at(snapshot), visible);
            assert_eq!((run.key(), run.first_seq()), (&key[..], 1));
            let found = run.cursor(0, Direction::Forward).take(visible).map(Result::unwrap);
            for (found, expected) in found.zip(entries) {
                assert_eq!(format!("{found:?}"), format!("{expected:?}"));
            }
            for time_ms in [0, 1000, 1007, 1100, u64::MAX] {
                let before = entries[..visible].iter().filter(|e| e.time_ms < time_ms).count();
                assert_eq!(run.rank_time(time_ms, visible), before);
            }
            for seq in 0..visible as u64 + 2 {
                let index = usize::try_from(seq.saturating_sub(1)).unwrap().min(visible);
                assert_eq!(run.lower_bound(seq, visible), index);
            }
        }
        for (table, versions) in &self.keyed {
            let table = TableId(*table);
            assert!(memtable.keyed_range(table, Bound::Unbounded).eq(versions.iter().cloned()));
            for key in 0u8..7 {
                let of_key = versions.iter().filter(|v| *v.key == [key]);
                let seen: Vec<_> = of_key.clone().filter(|v| v.commit <= snapshot).collect();
                let stop = seen.iter().position(|v| {
                    matches!(v.operation, KeyedOperation::Put | KeyedOperation::Delete)
                });
                let expected = &seen[..stop.map_or(seen.len(), |stop| stop + 1)];
                assert!(
                    memtable.versions(table, &[key], snapshot).iter().eq(expected.iter().copied())
                );
                let after = of_key.clone().any(|v| v.commit > snapshot);
                assert_eq!(memtable.has_write_after(table, &[key], snapshot), after);
                let from = versions.iter().filter(|v| *v.key > [key][..]).cloned();
                assert!(memtable.keyed_range(table, Bound::Excluded(&[key])).eq(from));
                let from = versions.iter().filter(|v| *v.key >= [key][..]).cloned();
                assert!(memtable.keyed_range(table, Bound::Included(&[key])).eq(from));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_memtable_equals_its_model(
        batches in prop::collection::vec(
            (prop::collection::vec(write(), 1..6), 1u64..4, 0u64..9),
            1..40,
        ),
    ) {
        let mut leader = Leader::new(50, 1000);
        let mut model = Model::default();
        let (mut commit, mut time_ms) = (50, 1000);
        let mut entries = 0;
        for (writes, gap, pause) in &batches {
            let batch = model.batch(writes, commit, time_ms);
            entries += batch.append_count() as u64;
            entries += writes.iter().filter(|w| matches!(w, Write::Keyed { .. })).count() as u64;
            leader.commit(batch, commit, time_ms);
            (commit, time_ms) = (commit + gap, time_ms + pause);
        }
        prop_assert_eq!(leader.memtable.entries(), entries);
        for snapshot in [0, 49, 50, 57, (50 + commit) / 2, commit, u64::MAX] {
            model.check(&leader.memtable, snapshot);
        }
        let listed: usize = leader.memtable.tables().iter()
            .map(|(table, _)| leader.memtable.runs_sorted(*table, Bound::Unbounded).len()).sum();
        prop_assert_eq!(listed, model.timelines.len());
    }

    #[test]
    fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let memtable = Arc::new(Memtable::new(1, 0));
        let _ = memtable.apply(Arc::new(bytes), 1, 0);
    }
}

#[test]
fn groups_give_what_cursors_give() {
    let mut leader = Leader::new(1, 0);
    // One long run, many short ones, and some in between.
    for commit in 1..=3_000u64 {
        let key = match commit % 3 {
            0 => b"long".to_vec(),
            1 => format!("middle {}", commit % 7).into_bytes(),
            _ => format!("short {}", commit % 200).into_bytes(),
        };
        leader.append(&key, &commit.to_le_bytes(), commit, commit / 2);
    }
    let runs = leader.memtable.runs_sorted(TABLE, Bound::Unbounded);
    assert!(runs.is_sorted_by(|one, other| one.key() < other.key()));
    for (from, until) in [(0, u64::MAX), (0, 300), (700, 1_100), (1_499, 1_600), (9_000, 9_001)] {
        let bounds = |run: &Run| {
            let count = run.count();
            run.rank_time(from, count)..run.rank_time(until, count)
        };
        let mut gatherer = Gatherer::default();
        let (mut found, mut ended, mut looked_at) = (Vec::new(), Vec::new(), 0);
        while let Some(runs_done) = gatherer.gather(&runs, bounds) {
            looked_at += runs_done;
            for part in gatherer.parts() {
                assert!(!part.entries.is_empty());
                for placed in &gatherer.entries()[part.entries.clone()] {
                    let payload = runs[part.run].plain(placed.place).unwrap().to_vec();
                    found.push((part.run, placed.seq, placed.commit, placed.time_ms, payload));
                }
                ended.extend(part.ends.then_some(part.run));
            }
        }
        let mut expected = Vec::new();
        let mut with_entries = Vec::new();
        for (index, run) in runs.iter().enumerate() {
            let bounds = bounds(run);
            let cursor = run.cursor(bounds.start, Direction::Forward).take(bounds.len());
            with_entries.extend((!bounds.is_empty()).then_some(index));
            expected.extend(cursor.map(Result::unwrap).map(|entry| {
                (index, entry.seq, entry.commit, entry.time_ms, entry.payload.to_vec())
            }));
        }
        assert_eq!(looked_at, runs.len());
        assert_eq!(ended, with_entries);
        assert_eq!(found, expected, "{from} to {until}");
    }
}

#[test]
fn a_message_is_plain_if_it_has_a_payload_alone() {
    let mut leader = Leader::new(1, 0);
    for (index, length) in [0, 1, 127, 128, 300, 16_383, 16_384, 70_000].into_iter().enumerate() {
        leader.append(b"plain", &vec![7; length], index as u64 + 1, 0);
        let run = leader.memtable.run(TABLE, b"plain").unwrap();
        let placed = run.newest().unwrap();
        assert_eq!(run.plain(placed.place).map(<[u8]>::len), Some(length));
    }
    let mut batch = WriteBatch::new();
    batch.append(TABLE, b"event", b"text", Some(5)).unwrap();
    leader.commit(batch, 20, 0);
    let run = leader.memtable.run(TABLE, b"event").unwrap();
    assert_eq!(run.plain(run.newest().unwrap().place), None);
    assert!(!leader.memtable.has_shared());
    let mut batch = WriteBatch::new();
    batch.fan_out([(TABLE, &b"a"[..]), (TABLE, b"b")], b"text", None, None, true).unwrap();
    leader.commit(batch, 21, 0);
    let run = leader.memtable.run(TABLE, b"b").unwrap();
    assert_eq!(run.plain(run.newest().unwrap().place), None);
    assert!(leader.memtable.has_shared());
}

#[test]
fn short_payloads_keep_no_slab_and_long_ones_are_shared() {
    let pool = Arc::new(Pool::new(64 << 20));
    let memtable = Arc::new(Memtable::in_pool(1, 0, &pool));
    let payloads = [vec![1; 100], vec![2; 20_000], vec![3; 2 << 20]];
    for (commit, payload) in (1..).zip(&payloads) {
        let mut batch = WriteBatch::new().with_large_from(usize::MAX);
        batch.append(TABLE, b"k", payload, None).unwrap();
        batch.assign(0, commit);
        let Ok(appends) = batch.into_appends() else { panic!("nothing but a message") };
        memtable.append(appends, &[commit], commit, 0, [RunHint::new()].iter()).unwrap();
    }
    let held = memtable.bytes();
    assert!((2_100_000..3_500_000).contains(&held), "{held} bytes");
    let run = memtable.run(TABLE, b"k").unwrap();
    let entries: Vec<Entry> = (0..3).map(|index| run.entry(index).unwrap()).collect();
    drop((run, memtable));
    for (entry, payload) in entries.iter().zip(&payloads) {
        assert!(*entry.payload == **payload);
    }
    let [short, long, _] = &entries[..] else { panic!("three entries") };
    assert!(!pool.trim_unused(), "the long payload holds the only slab");
    assert!(*short.payload == *payloads[0] && *long.payload == *payloads[1]);
}

#[test]
fn a_memtable_on_used_memory_is_as_empty_as_any() {
    let pool = Arc::new(Pool::new(64 << 20));
    for round in 1..4u64 {
        let mut filled = Leader::new(round * 1000, 0);
        filled.memtable = Arc::new(Memtable::in_pool(round * 1000, 0, &pool));
        for number in 0..40_000u64 {
            let key = (number % 30_000 * round).to_be_bytes();
            filled.append(&key, &round.to_le_bytes(), round * 1000 + number, 0);
        }
        assert_eq!(filled.memtable.entries(), 40_000);
        let runs = filled.memtable.runs_sorted(TABLE, Bound::Unbounded);
        assert_eq!(runs.len(), 30_000);
        for run in runs {
            let number = u64::from_be_bytes(run.key().try_into().unwrap()) / round;
            assert_eq!(run.count(), if number < 10_000 { 2 } else { 1 });
            assert_eq!(*run.entry(run.count() - 1).unwrap().payload, round.to_le_bytes());
        }
        assert!(filled.memtable.run(TABLE, &(30_001 * round).to_be_bytes()).is_none());
    }
}
