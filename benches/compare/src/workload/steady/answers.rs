//! What a read of the newest entries may answer while messages expire.

use crate::engine::Expiry;

/// What the harness knows of a timeline at the moment of a read.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// Messages that were written, from 1 on.
    pub count: u64,
    /// The oldest that must be there, if it was written at all.
    pub oldest_alive: u64,
    /// The newest that must not be there any more; 0 if there is none.
    pub newest_dead: u64,
    /// Most entries that were asked for.
    pub limit: usize,
}

/// Wrong answers among those given, newest first: each a seq, and whether its payload is right.
///
/// None that is surely alive may be missing. Where the engine hides what has expired, none of these
/// may be there, and there are no holes: what has expired is older than all else. One that drops
/// them sooner or later may have dropped any of them.
pub fn wrong(
    expiry: Expiry,
    expected: &Expected,
    given: impl ExactSizeIterator<Item = (u64, bool)>,
) -> u64 {
    let &Expected { count, oldest_alive, newest_dead, limit } = expected;
    let may_have_holes = expiry.is_lazy();
    let is_full = given.len() == limit;
    let mut wrong = u64::from(given.len() > limit);
    let mut next = count;
    for (seq, is_right) in given {
        let is_hole = seq < next && (next >= oldest_alive || !may_have_holes);
        let is_dead = expiry == Expiry::Exact && seq <= newest_dead;
        wrong += u64::from(seq == 0 || seq > next || is_hole || is_dead || !is_right);
        next = seq.saturating_sub(1);
    }
    // Everything from here on must be allowed to be gone, or beyond what was asked for.
    wrong + u64::from(!is_full && next > 0 && next >= oldest_alive)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(expiry: Expiry, seqs: &[u64]) -> u64 {
        let expected = Expected { count: 9, oldest_alive: 7, newest_dead: 4, limit: 5 };
        wrong(expiry, &expected, seqs.iter().map(|seq| (*seq, true)))
    }

    #[test]
    fn what_is_alive_is_there_and_what_has_expired_may_not_come_back() {
        for expiry in [Expiry::Exact, Expiry::ByApplication] {
            assert_eq!(of(expiry, &[9, 8, 7]), 0);
            assert_eq!(of(expiry, &[9, 8, 7, 6, 5]), 0, "they may be there");
            assert_eq!(of(expiry, &[9, 8]), 1, "7 is alive");
            assert_eq!(of(expiry, &[9, 7]), 1, "8 is alive");
            assert_eq!(of(expiry, &[9, 8, 7, 5]), 1, "nothing is hidden above what is shown");
            assert_eq!(of(expiry, &[9, 9, 8, 7]), 1);
            assert_eq!(of(expiry, &[10, 9, 8, 7]), 1);
            assert_eq!(of(expiry, &[9, 8, 7, 6, 5, 0]), 2, "more than asked for, and no seq");
        }
        let expected = Expected { count: 5, oldest_alive: 6, newest_dead: 4, limit: 5 };
        let given = || [(5, true), (4, true)].into_iter();
        assert_eq!(wrong(Expiry::Exact, &expected, given()), 1);
        assert_eq!(wrong(Expiry::ByApplication, &expected, given()), 0);
        assert_eq!(wrong(Expiry::Exact, &expected, [(5, false)].into_iter()), 1, "other bytes");
    }

    #[cfg(feature = "rocksdb")]
    #[test]
    fn who_drops_sooner_or_later_may_have_dropped_any() {
        assert_eq!(of(Expiry::Lazy, &[9, 8, 7, 5, 2]), 0);
        assert_eq!(of(Expiry::Lazy, &[9, 7, 5]), 1, "8 is alive");
    }
}
