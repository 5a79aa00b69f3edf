//! What was acknowledged since the store was last looked at, and which operations the journals must
//! therefore hold.

use super::child::Life;
use super::payload::Author;
use super::setup::Setup;
use std::collections::HashMap;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Witness {
    /// Rounds since then, oldest first.
    rounds: Vec<u32>,
    acknowledged: HashMap<Author, (u64, Vec<u64>)>,
}

impl Witness {
    /// A life has ended.
    pub(super) fn add(&mut self, round: u32, life: Life) {
        self.rounds.push(round);
        self.acknowledged.extend(life.acknowledged);
    }

    /// Acknowledgements.
    pub(super) fn count(&self) -> u64 {
        self.acknowledged.len() as u64
    }

    /// What an operation was given, if it was acknowledged.
    pub(super) fn of(&self, author: &Author) -> Option<&(u64, Vec<u64>)> {
        self.acknowledged.get(author)
    }

    /// Operations of one writer, new in its journal, in the order of the journal: whether they are
    /// all that were acknowledged, and of the others only what can have been under way.
    ///
    /// # Errors
    /// What is missing or must not be there.
    pub(super) fn judge(&self, setup: &Setup, writer: u8, found: &[Author]) -> Result<(), String> {
        let mut found = found.iter().peekable();
        for round in &self.rounds {
            let mut next = 0;
            while let Some(author) = found.next_if(|author| author.round == *round) {
                if author.number != next {
                    return Err(format!("{author:?} is in its journal where {next} belongs"));
                }
                next += 1;
            }
            let mine = |author: &&Author| author.round == *round && author.writer == writer;
            let acknowledged = self.acknowledged.keys().filter(mine).count() as u64;
            if next < acknowledged {
                let lost = Author { round: *round, writer, number: next };
                return Err(format!("{lost:?} was acknowledged, and is lost"));
            }
            if next > acknowledged + setup.window(writer) {
                let what = format!("{next} operations, {acknowledged} acknowledged");
                return Err(format!("round {round} of writer {writer}: {what}"));
            }
        }
        match found.next() {
            None => Ok(()),
            Some(author) => Err(format!("{author:?} is of no life since the last look")),
        }
    }
}
