//! Applying a batch to memory: everything is checked before anything changes.
//!
//! 1. Limits, tables and kinds; sequence ids, assigned from a working copy of the ends of the
//!    timelines concerned.
//! 2. Preconditions, against the state before the batch.
//! 3. Entries, values and amendments are added; what has expired for good is dropped.

use super::amendments::Place;
use super::marks::{self, Fences, Settled};
use super::state::{Key, Run, State, Version, is_expired};
use crate::backend::{
    Amendment, Batch, BatchMessage, Committed, KeyedWrite, MarkChange, Target, TimelineMark,
};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::time::Duration;
use tidelog_engine::{
    Entry, KeyedOperation, Origin, Payload, Precondition, Sequence, TableKind, limits,
};

pub(super) fn commit(state: &mut State, batch: Batch, now: u64) -> Result<Committed> {
    state.check_open()?;
    let bytes = batch.frame_bytes();
    if bytes > limits::BATCH_BYTES_MAX {
        return Err(Error::too_large("batch bytes", bytes, limits::BATCH_BYTES_MAX));
    }
    let seqs = assign(state, &batch)?;
    check_keyed(state, &batch)?;
    check_amendments(state, &batch)?;
    for precondition in &batch.preconditions {
        check_precondition(state, precondition, now)?;
    }
    check_marks(state, &batch)?;
    let Batch { messages, keyed, amendments, marks, .. } = &batch;
    if messages.is_empty() && keyed.is_empty() && amendments.is_empty() && marks.is_empty() {
        return Ok(Committed::new(state.commit, state.time_ms, seqs));
    }
    state.commit += 1;
    state.time_ms = now;
    let mut assigned = seqs.iter().copied();
    let mut marks = batch.marks.into_iter().peekable();
    for (index, message) in batch.messages.into_iter().enumerate() {
        while let Some(mark) = marks.next_if(|mark| mark.after <= index) {
            add_mark(state, mark);
        }
        add_message(state, message, &mut assigned);
    }
    marks.for_each(|mark| add_mark(state, mark));
    for write in batch.keyed {
        add_keyed(state, write);
    }
    for Amendment { table, key, seq, payload } in batch.amendments {
        state.amendments.add(((table, key), seq), state.commit, now, payload);
    }
    Ok(Committed::new(state.commit, now, seqs))
}

fn check_length(what: &str, length: usize, limit: usize) -> Result<()> {
    match length > limit {
        true => Err(Error::too_large(what, length, limit)),
        false => Ok(()),
    }
}

fn check_key(key: &[u8]) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid("an empty key or timeline id"));
    }
    check_length("key length", key.len(), limits::KEY_LENGTH_MAX)
}

fn millis(ttl: Duration) -> Option<u64> {
    u64::try_from(ttl.as_millis()).ok()
}

/// The sequence id of each target, in order.
fn assign(state: &State, batch: &Batch) -> Result<Vec<u64>> {
    for message in &batch.messages {
        check_length("payload length", message.payload.len(), limits::PAYLOAD_LENGTH_MAX)?;
        if message.targets.is_empty() {
            return Err(Error::invalid("a message needs at least one target"));
        }
        if message.ttl.is_some_and(|ttl| millis(ttl).is_none_or(|ttl_ms| ttl_ms == 0)) {
            return Err(Error::invalid("the time to live of an entry is out of bounds"));
        }
        if message.first_is_origin && message.origin.is_some() {
            return Err(Error::invalid("a message has one origin, not two"));
        }
    }
    let mut ends: HashMap<Key, u64> = HashMap::new();
    let mut seqs = Vec::with_capacity(batch.append_count());
    for target in batch.targets() {
        check_key(&target.key)?;
        let table = state.table(target.table, TableKind::Timeline)?;
        let key = (target.table, target.key.clone());
        let last = || state.timelines.get(&key).map_or(0, Run::last_seq);
        let end = ends.entry(key.clone()).or_insert_with(last);
        *end = next_seq(table.options.sequence, target, *end)?;
        seqs.push(*end);
    }
    Ok(seqs)
}

fn next_seq(mode: Sequence, target: &Target, last: u64) -> Result<u64> {
    let seq = match (mode, target.seq) {
        (Sequence::Assigned, None) => last + 1,
        (Sequence::Given, Some(seq)) if seq > last => seq,
        (Sequence::Given, Some(seq)) => {
            let expected = format!("above {last}");
            return Err(Error::conflict("sequence id", &expected, &seq.to_string()));
        }
        (Sequence::Assigned, Some(_)) => {
            return Err(Error::invalid("a sequence id for a table that assigns them"));
        }
        (Sequence::Given, None) => {
            return Err(Error::invalid("no sequence id for a table of given ones"));
        }
    };
    match seq > limits::SEQ_MAX {
        true => Err(Error::new(crate::ErrorKind::TooLarge, "too large: sequence id")),
        false => Ok(seq),
    }
}

fn check_keyed(state: &State, batch: &Batch) -> Result<()> {
    for write in &batch.keyed {
        check_key(&write.key)?;
        check_length("value length", write.value.len(), limits::PAYLOAD_LENGTH_MAX)?;
        state.table(write.table, TableKind::Keyed)?;
        if write.operation == KeyedOperation::Mark {
            return Err(Error::invalid("marks are not written by key"));
        }
    }
    Ok(())
}

/// What is amended was written before this batch.
fn check_amendments(state: &State, batch: &Batch) -> Result<()> {
    for Amendment { table, key, seq, payload } in &batch.amendments {
        check_key(key)?;
        let length = payload.as_ref().map_or(0, |payload| payload.len());
        check_length("payload length", length, limits::PAYLOAD_LENGTH_MAX)?;
        if *seq == 0 || *seq > limits::SEQ_MAX {
            return Err(Error::new(crate::ErrorKind::TooLarge, "too large: sequence id"));
        }
        state.table(*table, TableKind::Timeline)?;
        let last = state.timelines.get(&(*table, key.clone())).map_or(0, Run::last_seq);
        if *seq > last {
            let text = format!("not found: the amended entry {seq}, the last one is {last}");
            return Err(Error::new(crate::ErrorKind::NotFound, text));
        }
    }
    Ok(())
}

fn check_marks(state: &State, batch: &Batch) -> Result<()> {
    for mark in &batch.marks {
        check_key(&mark.target.key)?;
        let table = state.table(mark.target.table, TableKind::Timeline)?;
        let given = table.options.sequence == Sequence::Given;
        let what = match mark.change {
            MarkChange::DeleteRange(from, to) if from == 0 || from > to => "an empty range of ids",
            MarkChange::TimeToLive(Some(ttl)) if ttl.as_millis() == 0 => {
                "a time to live of nothing"
            }
            MarkChange::KeepLast(Some(0)) => "keep_last of 0",
            MarkChange::KeepLast(Some(_)) if given => "keep_last on a table of given ids",
            _ => continue,
        };
        return Err(Error::invalid(what));
    }
    Ok(())
}

/// Adds a mark, and drops what nobody sees any more because of it.
fn add_mark(state: &mut State, mark: TimelineMark) {
    let (commit, time_ms, oldest) = (state.commit, state.time_ms, state.oldest_snapshot());
    let key = (mark.target.table, mark.target.key);
    let run = state.timelines.entry(key.clone()).or_default();
    run.marks.push(Settled::new(mark.change, run.last_seq(), commit, time_ms));
    if oldest == commit {
        marks::merge(&mut run.marks);
    }
    let low_water = Fences::new(&run.marks, oldest, (None, 0), 0).low_water();
    drop_front(state, &key, |entry| entry.seq < low_water);
}

fn check_precondition(state: &State, precondition: &Precondition, now: u64) -> Result<()> {
    match precondition {
        Precondition::NextSeq { table, key, seq } => {
            state.table(*table, TableKind::Timeline)?;
            let last = state.timelines.get(&(*table, key.clone())).map_or(0, Run::last_seq);
            if last + 1 != *seq {
                let found = (last + 1).to_string();
                return Err(Error::conflict("next sequence id", &seq.to_string(), &found));
            }
        }
        Precondition::Value { table, key, value } => {
            let table = state.table(*table, TableKind::Keyed)?;
            let fence = state.expired_before(table, now);
            let versions = state.keyed.get(&(table.id, key.clone()));
            let newest = versions.and_then(|versions| versions.back());
            let found = newest.filter(|version| version.time_ms >= fence);
            let found = found.and_then(|version| version.value.as_deref());
            if found != value.as_deref() {
                let text = |value: Option<&[u8]>| match value {
                    Some(value) => format!("a value of {} bytes", value.len()),
                    None => "no value".to_owned(),
                };
                let (expected, found) = (text(value.as_deref()), text(found));
                return Err(Error::conflict("value", &expected, &found));
            }
        }
    }
    Ok(())
}

fn add_message(state: &mut State, message: BatchMessage, seqs: &mut impl Iterator<Item = u64>) {
    let payload = message.payload;
    let mut first: Option<Origin> = None;
    for target in message.targets {
        let seq = seqs.next().expect("a seq was assigned to each target");
        let origin = message.origin.clone().or_else(|| first.clone());
        if message.first_is_origin && first.is_none() {
            first = Some(Origin { table: target.table, key: target.key.clone(), seq });
        }
        let entry = Entry {
            seq,
            commit: state.commit,
            time_ms: state.time_ms,
            event_ms: message.event_ms,
            ttl_ms: message.ttl.and_then(millis),
            origin,
            payload: payload.clone(),
            revision: None,
            erased: false,
        };
        let table = state.table(target.table, TableKind::Timeline).expect("checked by assign");
        let fence = state.expired_before(table, state.time_ms);
        let oldest = state.oldest_snapshot();
        let key = (target.table, target.key);
        state.amendments.entry_added(&entry);
        let run = state.timelines.entry(key.clone()).or_default();
        if run.born == 0 {
            run.born = state.commit;
        }
        run.entries.push_back(entry);
        drop_gone(state, &key, fence, oldest);
    }
}

/// Drops the entries of a timeline that nobody can read any more.
fn drop_gone(state: &mut State, key: &Key, fence: u64, oldest: u64) {
    let now = state.time_ms;
    let gone =
        |entry: &Entry| (entry.time_ms < fence || is_expired(entry, now)) && entry.commit <= oldest;
    drop_front(state, key, gone);
}

/// Drops the oldest entries of a timeline as far as they are `gone`, and their amendments.
pub(super) fn drop_front(state: &mut State, key: &Key, gone: impl Fn(&Entry) -> bool) {
    while let Some(run) = state.timelines.get_mut(key)
        && run.entries.front().is_some_and(&gone)
        && let Some(entry) = run.entries.pop_front()
    {
        run.forgotten = entry.seq;
        let timelines = &state.timelines;
        let is_kept = |(key, seq): &Place| timelines.get(key).is_some_and(|run| run.keeps(*seq));
        state.amendments.entry_dropped(key, &entry, is_kept);
    }
}

fn add_keyed(state: &mut State, write: KeyedWrite) {
    let (commit, time_ms) = (state.commit, state.time_ms);
    let oldest = state.oldest_snapshot();
    let table = state.table(write.table, TableKind::Keyed).expect("checked by check_keyed");
    let fence = state.expired_before(table, time_ms);
    let versions = state.keyed.entry((write.table, write.key)).or_default();
    let newest = versions.back().filter(|version| version.time_ms >= fence);
    let counter = newest.and_then(|version| version.value.as_deref()).and_then(counter);
    let given = || counter_of(&write.value);
    let value = match write.operation {
        KeyedOperation::Put => Some(write.value),
        KeyedOperation::Delete | KeyedOperation::Mark => None,
        KeyedOperation::Add => {
            Some(counter.unwrap_or(0).wrapping_add(given()).to_le_bytes().to_vec())
        }
        KeyedOperation::Max => {
            Some(counter.map_or(given(), |old| old.max(given())).to_le_bytes().to_vec())
        }
    };
    if versions.back().is_some_and(|newest| newest.commit == commit) {
        versions.pop_back();
    }
    versions.push_back(Version { commit, time_ms, value: value.map(Payload::from_vec) });
    // The oldest snapshot sees the last version at or before it: those before that one are unseen.
    while versions.get(1).is_some_and(|second| second.commit <= oldest) {
        versions.pop_front();
    }
}

fn counter(value: &[u8]) -> Option<i64> {
    value.try_into().ok().map(i64::from_le_bytes)
}

fn counter_of(value: &[u8]) -> i64 {
    counter(value).unwrap_or(0)
}
