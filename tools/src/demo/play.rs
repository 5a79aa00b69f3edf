//! Writes the day, and remembers what each inbox must hold.

use super::Random;
use super::sync::{Expected, Mismatch, Stage, sync_user};
use crate::failure::Outcome;
use indicatif::ProgressBar;
use tidelog_engine::{Durability, WriteBatch};

/// What was sent.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Messages, each one commit.
    pub(crate) messages: u64,
    /// Entries in inboxes.
    pub(crate) deliveries: u64,
    /// What each inbox must hold.
    pub(crate) inboxes: Vec<Expected>,
    /// How many entries each conversation must hold.
    pub(crate) conversations: Vec<u64>,
}

/// Plays `messages` messages of the day.
pub(crate) fn play(
    stage: &Stage<'_>,
    messages: u64,
    durability: Durability,
    day_ms: i64,
    random: &mut Random,
    progress: &ProgressBar,
) -> Outcome<Counts> {
    let Stage { engine, tables, world } = *stage;
    let mut counts = Counts {
        inboxes: vec![Expected::default(); world.inboxes.len()],
        conversations: vec![0; world.conversations.len()],
        ..Counts::default()
    };
    for index in 0..messages {
        let message = world.message(index, messages, day_ms, random);
        let conversation = &world.conversations[message.conversation];
        let mut batch = WriteBatch::new();
        let origin = std::iter::once((tables.message, &conversation.key[..]));
        let members = conversation.members.iter().map(|member| *member as usize);
        let inboxes = members.clone().map(|member| (tables.sync, &world.inboxes[member][..]));
        let targets = origin.chain(inboxes);
        batch.fan_out(targets, &message.payload, Some(message.event_ms), None, true)?;
        engine.commit(batch, durability)?;
        members.for_each(|member| counts.inboxes[member].deliver(&message.payload));
        counts.conversations[message.conversation] += 1;
        counts.messages += 1;
        counts.deliveries += conversation.members.len() as u64;
        if index == messages / 2 {
            noon(stage, &counts)?;
        }
        if index.is_multiple_of(256) {
            progress.set_position(index);
        }
    }
    progress.finish_and_clear();
    Ok(counts)
}

/// Every second user syncs, and leaves a cursor.
fn noon(stage: &Stage<'_>, counts: &Counts) -> Outcome {
    let Stage { engine, tables, world } = *stage;
    let snapshot = engine.snapshot();
    for (user, inbox) in world.inboxes.iter().enumerate().step_by(2) {
        let read = sync_user(&snapshot, &tables, inbox, None)?;
        read.compare(&counts.inboxes[user]).map_err(|what| Mismatch::new(inbox, what))?;
        let mut batch = WriteBatch::new();
        batch.put(tables.cursor, inbox, &read.encode())?;
        engine.commit(batch, Durability::Buffered)?;
    }
    Ok(())
}
