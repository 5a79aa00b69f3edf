//! `soak fanout`: one message to its conversation and to a thousand inboxes, against a copy for
//! each of them in a store of its own: bytes written, bytes kept, and the newest 20 of an inbox.

use crate::Result;
use crate::arguments::{Common, FanoutArguments};
use crate::report::{Matter, Report, note, rounded};
use crate::sample::{Gauge, joined, quantiles};
use crate::stage::{Stage, small_options};
use serde::Serialize;
use serde_json::json;
use std::time::{Duration, Instant};
use tidelog_benches::measure::{Latencies, settle};
use tidelog_benches::{Conversations, Delivery, Inboxes, Message, Random, Text, key};
use tidelog_engine::{
    Direction, Durability, Engine, Entry, Options, TableId, TableOptions, WriteBatch,
};

/// See [`FanoutArguments`].
#[derive(Debug, Clone, Serialize)]
struct Parameters {
    messages: u64,
    conversations: u32,
    members: u32,
    inboxes: u32,
    payload: usize,
    reads: u64,
    seed: u64,
}

/// Entries that a read asks for.
const LIMIT: usize = 20;

impl Parameters {
    fn new(common: &Common, asked: &FanoutArguments) -> Parameters {
        // The short form keeps what the figures hang on: a thousand copies of a kilobyte.
        let (messages, conversations, inboxes, reads) = match common.short {
            true => (60, 6, 2_000, 2_000),
            false => (2_000, 200, 50_000, 200_000),
        };
        Parameters {
            messages: asked.messages.unwrap_or(messages),
            conversations: asked.conversations.unwrap_or(conversations),
            members: asked.members.unwrap_or(1_000),
            inboxes: asked.inboxes.unwrap_or(inboxes),
            payload: asked.payload.unwrap_or(1024),
            reads: asked.reads.unwrap_or(reads),
            seed: common.seed,
        }
    }

    fn conversations(&self) -> Conversations {
        Conversations::new(self.conversations, self.members, self.inboxes, self.seed)
    }

    /// Bytes of payload that recipients see.
    fn delivered_bytes(&self) -> f64 {
        self.messages as f64 * f64::from(self.members) * self.payload as f64
    }
}

/// Runs the mode. Returns whether all was right.
pub(crate) fn run(common: &Common, arguments: &FanoutArguments) -> Result<bool> {
    let parameters = Parameters::new(common, arguments);
    let mut report = Report::new("fanout", common.strict);
    let base = match common.short {
        // The copies of a short run fill some memtables, and not a hundred of them.
        true => Options { memtable_bytes: 8 << 20, sstable_bytes: 8 << 20, ..small_options() },
        false => Options::default(),
    };
    let text = Text::new(Text::LARGE / 8, parameters.seed);
    let fill = |kind| -> Result<Filled<'_>> {
        let stage = Stage::new(common, base.clone())?;
        let filled = Filled::new(stage, kind, &parameters, &text)?;
        filled.send_all(&report)?;
        Ok(filled)
    };
    let shared = fill(Kind::Shared)?;
    let private = fill(Kind::Private)?;

    let inboxes = expected_inboxes(&parameters);
    shared.check_all(&inboxes, &report)?;
    private.check_all(&inboxes, &report)?;
    let latencies = read(&[&shared, &private], &inboxes, &parameters, &report)?;
    let [shared_reads, private_reads] = &latencies;

    let (sample, ring) = (shared.gauge.take(&shared.engine)?, shared.stage.options.ring_bytes);
    let stats = &sample.stats;
    let written = stats.flushed_bytes + stats.compacted_bytes;
    let kept = sample.allocated_bytes.saturating_sub(ring);
    let delivered = parameters.delivered_bytes();
    report.goal("written_share", written as f64 / delivered, 1.0 / 15.0, Matter::Size);
    report.goal("kept_share", kept as f64 / delivered, 1.0 / 40.0, Matter::Size);
    let slower = shared_reads.quantile(0.5) / private_reads.quantile(0.5);
    report.goal("shared_scan_p50", slower, 2.0, Matter::Speed);
    let values = json!({
        "delivered_bytes": delivered,
        "written_background_bytes": written,
        "kept_bytes": kept,
        "live_bytes": stats.sstable_bytes,
        "times_fewer_written": rounded(delivered / written as f64),
        "times_fewer_kept": rounded(delivered / kept as f64),
        "shared_scans": quantiles(shared_reads),
        "private_scans": quantiles(private_reads),
    });
    let values = joined(values, sample.json());
    shared.engine.close()?;
    private.engine.close()?;
    shared.stage.verify(&report)?;
    report.end(shared.stage.folder(), serde_json::to_value(&parameters)?, values)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// One payload for all inboxes.
    Shared,
    /// A payload of its own for each inbox.
    Private,
}

/// A store that all messages were sent through.
struct Filled<'a> {
    // The engine goes before its folder does.
    engine: Engine,
    stage: Stage,
    gauge: Gauge,
    kind: Kind,
    conversations: TableId,
    inboxes: TableId,
    parameters: &'a Parameters,
    text: &'a Text,
}

impl<'a> Filled<'a> {
    fn new(
        stage: Stage,
        kind: Kind,
        parameters: &'a Parameters,
        text: &'a Text,
    ) -> Result<Filled<'a>> {
        let engine = stage.open()?;
        Ok(Filled {
            conversations: engine.create_table("conversation", TableOptions::timeline())?,
            inboxes: engine.create_table("inbox", TableOptions::timeline())?,
            gauge: Gauge::new(&stage.path())?,
            engine,
            stage,
            kind,
            parameters,
            text,
        })
    }

    /// Sends everything; then all goes to SSTables, and what there is to compact is compacted.
    fn send_all(&self, report: &Report) -> Result<()> {
        let mut conversations = self.parameters.conversations();
        let mut latencies = Latencies::new();
        let mut second = Instant::now();
        for message in 1..=self.parameters.messages {
            let delivery = conversations.draw();
            let seqs = latencies.time(|| self.send(&delivery))?;
            let all = std::iter::once(&delivery.original).chain(&delivery.inboxes);
            if !seqs.iter().copied().eq(all.map(|message| message.seq)) {
                report.wrong.add(format_args!("{:?} has other seqs", delivery.original));
            }
            if second.elapsed() >= Duration::from_secs(1) || message == self.parameters.messages {
                second = Instant::now();
                self.interval(report, "sending", message, &latencies)?;
                latencies.clear();
            }
        }
        for (phase, work) in [
            ("flushed", Engine::flush as fn(&Engine) -> tidelog_engine::Result<()>),
            ("compacted", Engine::compact),
        ] {
            work(&self.engine)?;
            settle()?;
            self.interval(report, phase, self.parameters.messages, &latencies)?;
        }
        Ok(())
    }

    fn interval(
        &self,
        report: &Report,
        phase: &str,
        messages: u64,
        latencies: &Latencies,
    ) -> Result<()> {
        let values = json!({
            "payloads": self.kind, "phase": phase, "messages": messages,
            "commits": quantiles(latencies),
        });
        report.interval(joined(values, self.gauge.take(&self.engine)?.json()))
    }

    fn payload(&self, original: Message) -> &[u8] {
        let length = self.parameters.payload;
        self.text.payload(original.timeline, original.seq, &(length..=length))
    }

    fn send(&self, delivery: &Delivery) -> Result<Vec<u64>> {
        let Delivery { original, inboxes } = delivery;
        let payload = self.payload(*original);
        let conversation = key(original.timeline);
        let keys: Vec<[u8; 8]> = inboxes.iter().map(|inbox| key(inbox.timeline)).collect();
        let mut batch = WriteBatch::new();
        match self.kind {
            Kind::Shared => {
                let first = [(self.conversations, &conversation[..])];
                let rest = keys.iter().map(|key| (self.inboxes, &key[..]));
                batch.fan_out(first.into_iter().chain(rest), payload, None, None, true)?;
            }
            Kind::Private => {
                batch.append(self.conversations, &conversation, payload, None)?;
                for key in &keys {
                    batch.append(self.inboxes, key, payload, None)?;
                }
            }
        }
        Ok(self.engine.commit(batch, Durability::Buffered)?.seqs)
    }

    /// Reads the newest of every inbox.
    fn check_all(&self, inboxes: &Inboxes, report: &Report) -> Result<()> {
        for inbox in 0..inboxes.count() {
            let found = self.newest(inbox)?;
            self.check(inbox, &found, inboxes, report);
        }
        note(format_args!("soak fanout: every inbox of {:?} payloads was read", self.kind));
        Ok(())
    }

    fn newest(&self, inbox: u64) -> Result<Vec<Entry>> {
        let snapshot = self.engine.snapshot();
        let scan = snapshot.scan(self.inboxes, &key(inbox), 1, u64::MAX, Direction::Backward)?;
        Ok(scan.take(LIMIT).collect::<Result<Vec<Entry>, _>>()?)
    }

    fn check(&self, inbox: u64, found: &[Entry], inboxes: &Inboxes, report: &Report) {
        let expected = inboxes.newest(inbox);
        if found.len() != expected.len() {
            let (found, expected) = (found.len(), expected.len());
            report.wrong.add(format_args!("inbox {inbox} has {found} newest, not {expected}"));
            return;
        }
        for (entry, (seq, original)) in found.iter().zip(expected) {
            let origin =
                entry.origin.as_ref().map(|origin| (origin.table, &origin.key[..], origin.seq));
            let conversation = key(original.timeline);
            let named = (self.conversations, &conversation[..], original.seq);
            let is_right = entry.seq == seq
                && *entry.payload == *self.payload(original)
                && origin == (self.kind == Kind::Shared).then_some(named);
            if !is_right {
                report.wrong.add(format_args!("inbox {inbox} shows {entry:?} for {original:?}"));
            }
        }
    }
}

fn expected_inboxes(parameters: &Parameters) -> Inboxes {
    let mut conversations = parameters.conversations();
    let mut inboxes = Inboxes::new(parameters.inboxes, LIMIT);
    for _ in 0..parameters.messages {
        inboxes.record(&conversations.draw());
    }
    inboxes
}

/// Newest 20 of random inboxes, warm. The stores take turns, so that what changes on the machine
/// meets both.
fn read(
    stores: &[&Filled<'_>; 2],
    inboxes: &Inboxes,
    parameters: &Parameters,
    report: &Report,
) -> Result<[Latencies; 2]> {
    const TURN: u64 = 1_000;
    let mut latencies = [Latencies::new(), Latencies::new()];
    for turn in 0..parameters.reads.div_ceil(TURN) {
        for (store, latencies) in stores.iter().zip(&mut latencies) {
            let mut random = Random::new(parameters.seed + 100 + turn);
            for _ in 0..TURN.min(parameters.reads) {
                let inbox = random.below(inboxes.count());
                let found = latencies.time(|| store.newest(inbox))?;
                store.check(inbox, &found, inboxes, report);
            }
        }
    }
    Ok(latencies)
}
