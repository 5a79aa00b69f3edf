//! What the cases work on: keys, payloads, bodies of batches, rows of SSTables.

use crate::store::key;
use crate::{Random, Text};
use tidelog_engine::testing::fuzzing::batch::{assign, body};
use tidelog_engine::testing::probes::Row;
use tidelog_engine::{TableId, WriteBatch};

/// Timelines there are.
pub(super) const TIMELINES: u64 = 250;
/// Entries of each.
pub(super) const ENTRIES: u64 = 40;
/// All of them.
pub(super) const MESSAGES: u64 = TIMELINES * ENTRIES;
/// Messages of a batch.
pub(super) const BATCH: u64 = 10;
/// Entries that a read asks for.
pub(super) const LIMIT: u64 = 20;
/// The table of what is not in a store.
pub(super) const TABLE: TableId = TableId(16);

const PAYLOAD: std::ops::RangeInclusive<usize> = 96..=160;
const TEXT_BYTES: usize = 64 * 1024;
const SEED: u64 = 1;

/// The messages, in the order in which they are written: each timeline gets one a round.
pub(super) fn messages() -> impl Iterator<Item = (u64, u64)> {
    (1..=ENTRIES).flat_map(|seq| (0..TIMELINES).map(move |timeline| (shuffled(timeline), seq)))
}

/// Timelines in an order that is no order of keys.
fn shuffled(index: u64) -> u64 {
    index * 97 % TIMELINES
}

/// The text that payloads are cut from.
pub(super) fn text() -> Text {
    Text::new(TEXT_BYTES, SEED)
}

/// The payload of a message.
pub(super) fn payload(text: &Text, timeline: u64, seq: u64) -> &[u8] {
    text.payload(timeline, seq, &PAYLOAD)
}

/// The batches that write all messages to a table.
pub(super) fn batches(table: TableId) -> Vec<WriteBatch> {
    let (text, messages) = (text(), messages().collect::<Vec<_>>());
    let count = usize::try_from(BATCH).expect("a small number");
    let batch = |messages: &[(u64, u64)]| {
        let mut batch = WriteBatch::new();
        for (timeline, seq) in messages {
            batch
                .append(table, &key(*timeline), payload(&text, *timeline, *seq), None)
                .expect("the message is inside the limits");
        }
        batch
    };
    messages.chunks(count).map(batch).collect()
}

/// The bodies of these batches, as the leader hands them on.
pub(super) fn bodies() -> Vec<Vec<u8>> {
    let mut seqs = messages().map(|(_, seq)| seq);
    let settled = |mut batch: WriteBatch| {
        assign(&mut batch, |_, _| seqs.next().expect("a seq for each message"));
        body(&batch)
    };
    batches(TABLE).into_iter().map(settled).collect()
}

/// The same messages as rows of an SSTable.
pub(super) fn rows() -> Vec<Row> {
    let text = text();
    let row = |timeline, seq| Row {
        key: key(timeline).to_vec(),
        seq,
        payload: payload(&text, timeline, seq).to_vec(),
    };
    (0..TIMELINES)
        .flat_map(|timeline| (1..=ENTRIES).map(move |seq| (timeline, seq)))
        .map(|(timeline, seq)| row(timeline, seq))
        .collect()
}

/// Rows of many timelines with one entry each, for lookups; between two of their keys there is room
/// for one that is not there.
pub(super) fn short_rows(timelines: u64) -> Vec<Row> {
    let row = |timeline| Row { key: key(2 * timeline).to_vec(), seq: 1, payload: vec![1; 16] };
    (0..timelines).map(row).collect()
}

/// Keys of timelines below `bound`, drawn evenly.
pub(super) fn keys(count: u64, bound: u64) -> Vec<[u8; 8]> {
    let mut random = Random::new(SEED);
    (0..count).map(|_| key(random.below(bound))).collect()
}

/// Keys of [`short_rows`], or such as lie between them.
pub(super) fn short_keys(count: u64, timelines: u64, there: bool) -> Vec<[u8; 8]> {
    let mut random = Random::new(SEED);
    (0..count).map(|_| key(2 * random.below(timelines) + u64::from(!there))).collect()
}
