//! What a run did, in numbers that add up.

use super::child::Life;
use super::line::Stage;
use std::fmt;

macro_rules! counts {
    ($($(#[$about:meta])* $name:ident: $merge:ident),* $(,)?) => {
        /// See the module.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$about])* pub $name: u64,)*
        }

        impl Counts {
            /// Names and numbers.
            pub fn fields(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }

            /// Adds those of another run.
            pub fn add(&mut self, other: &Counts) {
                $(self.$name = $merge(self.$name, other.$name);)*
            }
        }
    };
}

counts! {
    /// Files, each with a store of its own.
    files: sum,
    /// Processes that were killed.
    kills: sum,
    /// Of these, before the store was open for the first time, behind another kill.
    kills_in_recovery: sum,
    /// In a later opening, or in one behind an orderly end.
    kills_in_opening: sum,
    /// In a flush that was asked for.
    kills_in_flush: sum,
    /// In a compaction that was asked for.
    kills_in_compaction: sum,
    /// While a move to the cold tier was due or being done.
    kills_in_moves: sum,
    /// While the store was being closed.
    kills_in_closing: sum,
    /// With a bulk commit under way that nobody wanted synced.
    kills_in_bulk: sum,
    /// Acknowledged commits that were looked for, and found.
    acknowledged: sum,
    /// Commits that were found, whole, though nobody had acknowledged them.
    doubtful: sum,
    /// Looks at a store, every entry of it.
    checks: sum,
    /// Flushes of the processes that were killed.
    flushes: sum,
    /// Compactions of theirs.
    compactions: sum,
    /// Bytes that they moved to the cold tier.
    moved_bytes: sum,
    /// Milliseconds of the slowest opening behind a kill: of the wall clock, which goes on where a
    /// machine stops its processes.
    slowest_opening_ms: larger,
}

fn sum(one: u64, other: u64) -> u64 {
    one + other
}

fn larger(one: u64, other: u64) -> u64 {
    one.max(other)
}

impl Counts {
    /// Counts a life that was ended; `behind_a_kill`: so was the one before.
    pub(super) fn note(&mut self, life: &Life, behind_a_kill: bool) {
        self.flushes += life.work.flushes;
        self.compactions += life.work.compactions;
        self.moved_bytes += life.work.moved_bytes;
        if !life.killed {
            return;
        }
        self.kills += 1;
        self.kills_in_bulk += u64::from(!life.bulk.is_empty());
        self.kills_in_moves += u64::from(life.work.moves > 0);
        let count = match life.stage {
            Some(Stage::Opening) if behind_a_kill && !life.opened => &mut self.kills_in_recovery,
            Some(Stage::Opening) => &mut self.kills_in_opening,
            Some(Stage::Flushing) => &mut self.kills_in_flush,
            Some(Stage::Compacting) => &mut self.kills_in_compaction,
            Some(Stage::Closing) => &mut self.kills_in_closing,
            _ => return,
        };
        *count += 1;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.fields();
        let fields: Vec<_> = fields.iter().map(|(name, n)| format!("\"{name}\":{n}")).collect();
        f.write_str(&fields.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_are_told() {
        let counts = Counts { kills: 3, slowest_opening_ms: 9, files: 1, ..Counts::default() };
        let mut all = Counts { slowest_opening_ms: 4, kills: 1, ..Counts::default() };
        all.add(&counts);
        assert_eq!(all, Counts { kills: 4, slowest_opening_ms: 9, files: 1, ..all });
        assert!(all.to_string().contains("\"kills\":4"), "{all}");
    }
}
