//! The whole engine over a simulated machine, against the reference of the engine's own tests.
//!
//! A run is a small store, with a second, cold disk or without, and some two hundred operations on
//! it. What is simulated: commits of every kind of write, amendments, trims, deleted ranges and
//! counts to keep among them; times to live of tables, timelines and entries, with time that
//! passes and a wall clock that jumps; data that move to the cold disk or are born there, and a
//! cold disk that fails or is absent; background work in any order, flushes, compactions,
//! snapshots that are held, tables that are altered and dropped, orderly closings, kills, and loss
//! of power at any operation of either disk, in recovery as well. What must hold:
//! 1. The store holds the commits that were acknowledged as durable, in order and whole, and a
//!    prefix of the others; after a mere kill it holds all.
//! 2. A seq is never given out twice, even if the first entry was lost; and seqs are dense as long
//!    as no power was lost.
//! 3. Every timeline reads as the reference says, each way that it can be read: what is gone is
//!    told as what it is, and what has expired does not come back.
//! 4. A snapshot goes on showing its moment.
//! 5. Where it ends, the store closes and opens again, and its files verify.
//!
//! The machine and the reference are those of `prove/whole`, and so are what must hold in detail.
//! What is done here is drawn otherwise than in the random histories there: devices of other
//! sectors, more timelines, messages that name one timeline several times, numbers at the ends of
//! what is allowed, shorter runs. Erasure, which takes minutes of passes, is left to the histories.
//!
//! - `operation`: what can be done, and how often
//! - `draw`: the writes of a batch
//! - `setup`: the machine, the store's options, and its tables
//! - `run`: one run

mod draw;
mod operation;
mod run;
mod setup;
#[cfg(test)]
mod tests;

use crate::harness::each;
use run::Run;

/// Random histories of a small store.
pub(crate) fn run(seed: u64, events: u64) -> Result<(), String> {
    each(seed, events, 256 << 20, |random| {
        let run = Run::live(random).map_err(|error| error.to_string())?;
        run.end();
        Ok(())
    })
}
