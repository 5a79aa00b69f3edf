//! W5: a 1 KB message to its conversation and to 1,000 inboxes, atomically; 2,000 messages, 200
//! conversations of 1,000 fixed random members out of 50,000 inboxes; not synced, one sync at the
//! end. Latency is per message. Logical bytes count every copy, whether or not an engine stores it.
//!
//! Behind the measurement the newest 20 of every inbox are read.

use super::{KEY_BYTES, LIMIT, Run, SEED, check};
use crate::Result;
use crate::engine::{Found, Peer, Range, Setup, Table};
use crate::measure::{Latencies, Meter, Work};
use tidelog_benches::{Conversations, Inboxes, Message};

const MESSAGES: u64 = 2_000;
const CONVERSATIONS: u32 = 200;
const MEMBERS: u32 = 1_000;
const INBOXES: u32 = 50_000;
const PAYLOAD: std::ops::RangeInclusive<usize> = 1024..=1024;

pub fn run(run: &Run) -> Result<()> {
    let peer = run.open(&Setup::default())?;
    let mut conversations = conversations();
    let mut latencies = Latencies::new();
    let mut wrong = 0;
    let operations = run.scaled(MESSAGES);

    let meter = Meter::start(&run.directory)?;
    for _ in 0..operations {
        let delivery = conversations.draw();
        let payload = payload(run, delivery.original);
        wrong += latencies.time(|| peer.fan_out(&delivery, payload))?;
    }
    peer.sync()?;
    let copies = operations * (u64::from(MEMBERS) + 1);
    let work = Work {
        workload: "w5",
        operations,
        logical_bytes: copies * (KEY_BYTES + *PAYLOAD.end() as u64),
        latencies,
        settles: true,
        ..Work::default()
    };
    let mut record = meter.finish(work)?;
    if let Some(bytes) = peer.live_bytes()? {
        record.figures.insert("live MiB".to_owned(), bytes as f64 / 1_048_576.0);
    }

    if run.engine.has_reads() {
        wrong += check_inboxes(run, &*peer, operations)?;
    }
    run.report(&*peer, record, wrong)
}

fn conversations() -> Conversations {
    Conversations::new(CONVERSATIONS, MEMBERS, INBOXES, SEED)
}

fn payload(run: &Run, original: Message) -> &[u8] {
    run.text.payload(original.timeline, original.seq, &PAYLOAD)
}

/// Wrong answers in the newest of every inbox. What they must show is drawn again, so that it takes
/// no memory while memory is measured.
fn check_inboxes(run: &Run, peer: &dyn Peer, messages: u64) -> Result<u64> {
    let mut conversations = conversations();
    let mut inboxes = Inboxes::new(INBOXES, LIMIT);
    for _ in 0..messages {
        inboxes.record(&conversations.draw());
    }
    let mut found = Found::default();
    let mut wrong = 0;
    for inbox in 0..inboxes.count() {
        found.clear();
        peer.read(Table::Inboxes, inbox, Range::Newest, LIMIT, &mut found)?;
        let expected = inboxes.newest(inbox).map(|(seq, original)| (seq, payload(run, original)));
        wrong += check::wrong(&found, expected);
    }
    Ok(wrong)
}
