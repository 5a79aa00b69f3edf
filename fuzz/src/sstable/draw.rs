//! What fuzzed SSTables are filled with: few long runs or many short ones, entries that are all
//! alike or of every kind, text that compresses or noise.

use crate::mutation::length;
use std::collections::BTreeSet;
use tidelog_engine::testing::Random;
use tidelog_engine::testing::fuzzing::segment::Record;
use tidelog_engine::testing::fuzzing::sstable::{Content, Contents, Row, Version};
use tidelog_engine::{Compression, KeyedOperation, Origin, TableId};

/// Longest key that the engine stores.
const KEY_LENGTH_MAX: usize = 1040;
/// Longest key of an origin in a segment.
const ORIGIN_LENGTH_MAX: usize = 1024;
const WORDS: [&str; 8] =
    ["timeline", "inbox", "message", "window", "expired", "cold", "segment", "recall"];

/// A table, of timelines or of keys.
pub(super) fn contents(random: &mut Random) -> Contents {
    if random.chance(1, 3) {
        return Contents::Keys(versions(random));
    }
    let mut records = Vec::new();
    if random.chance(1, 2) {
        for _ in 0..=random.below(20) {
            records.push(record(random));
        }
    }
    let mut rows = Vec::new();
    for key in keys(random, 30) {
        run(random, &key, records.len(), &mut rows);
    }
    Contents::Timelines { rows, records }
}

/// What is asked of the builder: a codec, and the size of its blocks.
pub(super) fn shape(random: &mut Random) -> (Compression, usize) {
    let level = u8::try_from(1 + random.below(5)).expect("it is below 6");
    let codecs = [Compression::None, Compression::Lz4, Compression::Zstd { level }];
    (codecs[random.index(3)], [300, 700, 4096, 16 * 1024][random.index(4)])
}

/// A key, which need not be there.
pub(super) fn key(random: &mut Random) -> Vec<u8> {
    let mut key = match random.below(12) {
        0 => vec![b'k'; 1 + random.index(KEY_LENGTH_MAX)],
        1..=4 => vec![b'k'; 1 + random.index(6)],
        _ => vec![0; 1 + random.index(6)],
    };
    if key[0] == 0 {
        random.fill(&mut key);
    }
    key
}

fn keys(random: &mut Random, most: usize) -> BTreeSet<Vec<u8>> {
    let mut keys = BTreeSet::new();
    for _ in 0..=length(random, most) {
        keys.insert(key(random));
    }
    keys
}

/// A number of any size.
fn number(random: &mut Random, bits: u64) -> u64 {
    let shift = 64 - bits + random.below(bits);
    random.next_u64() >> shift
}

/// The entries of one timeline.
fn run(random: &mut Random, key: &[u8], records: usize, rows: &mut Vec<Row>) {
    let most = match random.below(12) {
        0 => 300,
        1 | 2 => 60,
        _ => 4,
    };
    let is_plain = random.chance(1, 2);
    let (mut seq, mut commit) = (number(random, 62), 1 + number(random, 62));
    let mut time_ms = number(random, 62);
    for _ in 0..=random.below(most) {
        // Mostly dense, and many entries of one commit.
        seq += 1 + random.below(20) / 19 * random.below(1 << 30);
        commit += random.below(3);
        time_ms += random.below(3) * random.below(1000);
        let content = match random.below(12) {
            _ if is_plain => Content::Own(payload(random)),
            0 => Content::Erased,
            1..=4 if records > 0 => {
                let (record, is_origin) = (random.index(records), random.chance(1, 4));
                Content::Shared { record, is_origin }
            }
            _ => Content::Own(payload(random)),
        };
        // The origin of others has none itself.
        let is_origin = matches!(content, Content::Shared { is_origin: true, .. });
        let may = !is_plain && !is_origin;
        rows.push(Row {
            key: key.to_vec(),
            seq,
            commit,
            time_ms,
            event_ms: event(random).filter(|_| !is_plain),
            ttl_ms: Some(1 + number(random, 63)).filter(|_| !is_plain && random.chance(1, 6)),
            origin: origin(random, KEY_LENGTH_MAX).filter(|_| may),
            content,
        });
    }
}

fn record(random: &mut Random) -> Record {
    Record {
        event_ms: event(random),
        origin: origin(random, ORIGIN_LENGTH_MAX),
        payload: payload(random),
    }
}

fn event(random: &mut Random) -> Option<i64> {
    let event_ms = i64::from_le_bytes(random.next_u64().to_le_bytes());
    random.chance(1, 4).then_some(event_ms)
}

fn origin(random: &mut Random, length_max: usize) -> Option<Origin> {
    let mut key = vec![0; 1 + length(random, length_max - 1)];
    random.fill(&mut key);
    let origin = Origin { table: TableId(18), key: key.into(), seq: random.next_u64() };
    random.chance(1, 5).then_some(origin)
}

/// The versions of some keys.
fn versions(random: &mut Random) -> Vec<Version> {
    let mut versions = Vec::new();
    for key in keys(random, 60) {
        let (mut commit, mut index) = (number(random, 62), 0);
        let mut of_key = Vec::new();
        for _ in 0..=random.below(5) {
            let step = random.below(4);
            commit += step;
            index = if step == 0 { index + 1 } else { 0 };
            let (operation, value) = operand(random);
            let (key, time_ms) = (key.clone(), commit + 1000);
            of_key.push(Version { key, commit, index, time_ms, operation, value });
        }
        // The newest comes first.
        of_key.reverse();
        versions.extend(of_key);
    }
    versions
}

fn operand(random: &mut Random) -> (KeyedOperation, Vec<u8>) {
    let number = random.next_u64().to_le_bytes().to_vec();
    match random.below(6) {
        0 => (KeyedOperation::Delete, Vec::new()),
        1 => (KeyedOperation::Add, number),
        2 => (KeyedOperation::Max, number),
        3 => (KeyedOperation::Mark, number),
        _ => (KeyedOperation::Put, payload(random)),
    }
}

/// Text or noise, seldom long.
fn payload(random: &mut Random) -> Vec<u8> {
    let longest = if random.chance(1, 60) { 20_000 } else { 200 };
    let mut payload = vec![0; length(random, longest)];
    if random.chance(1, 3) {
        random.fill(&mut payload);
        return payload;
    }
    let mut text = Vec::new();
    while text.len() < payload.len() {
        text.extend_from_slice(WORDS[random.index(WORDS.len())].as_bytes());
        text.push(b' ');
    }
    text.truncate(payload.len());
    text
}
