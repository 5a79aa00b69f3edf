//! `StoreClock`: what the store believes about time, given a wall clock that lies now and then.
//!
//! Two answers, because being wrong costs differently. A commit time only labels an entry; the
//! expiry time hides and destroys entries, so it is believed late. Each is a ratchet over monotonic
//! time:
//!
//! ```text
//!   believed = origin + monotonic time since the start + lead        (lead only grows)
//! ```
//!
//! 1. A wall clock at or behind the believed time changes nothing: time goes on as it ran.
//! 2. A wall clock ahead by no more than the *tolerance* is followed at once. All that is followed
//!    at once within ten minutes of monotonic time adds up to one tolerance at most, so that many
//!    small jumps are not believed where one large one would not be.
//! 3. A wall clock further ahead is *claimed* time: it is believed after ten minutes of monotonic
//!    time in which every look at the wall clock confirmed it, and only as far as every look did.
//! 4. While a change of a time to live is being written, the expiry clock stands still: the change
//!    says when it was made, and nobody hears of it before it is on the disk. What ended in between
//!    would be hidden from whoever reads meanwhile, and shown again behind a longer time to live.
//!
//! | clock  | origin                             | tolerance   |
//! |--------|------------------------------------|-------------|
//! | commit | max(wall clock, high-water mark)   | one minute  |
//! | expiry | high-water mark (wall when it is 0) | below 1 s  |
//!
//! # Invariants
//! I1. No answer is lower than an earlier answer of the same clock, on any thread.
//! I2. The expiry clock never runs ahead of high-water mark + monotonic time by more than what ten
//!     minutes have confirmed and one tolerance for each ten minutes.
//! I3. No commit time is below what the expiry clock said before.
//! I4. While the expiry clock is held, and before, nobody is told a later time than it then says.
//!
//! # Concurrency
//! Atomics only, nobody waits. Judging the wall clock is done by one thread at a time, and only
//! when it is ahead or a claim is open; whoever comes meanwhile answers with what is believed.

#[cfg(test)]
mod tests;

use super::Clock;
use crate::limits::COUNTER_MAX;
use crate::planted::Planted;
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

/// How long a jump must be confirmed, in milliseconds of monotonic time.
const CONFIRMATION_MS: u64 = 10 * 60 * 1000;
/// How far the commit clock follows the wall clock at once.
const COMMIT_TOLERANCE_MS: u64 = 60 * 1000;
/// How far the expiry clock follows the wall clock at once.
const EXPIRY_TOLERANCE_MS: u64 = 999;
/// No claim is open.
const NO_CLAIM: u64 = u64::MAX;
/// The expiry clock is not held.
const RUNS: u64 = u64::MAX;

/// The commit clock and the expiry clock of one open store.
pub(crate) struct StoreClock {
    clock: Arc<dyn Clock>,
    start_ms: u64,
    commit: Ratchet,
    expiry: Ratchet,
    /// Where the expiry clock stands still, or [`RUNS`].
    held_ms: AtomicU64,
}

/// The expiry clock stands still until this is dropped.
#[must_use = "the clock goes on when it is dropped"]
pub(crate) struct HeldExpiry<'a>(&'a StoreClock);

impl Drop for HeldExpiry<'_> {
    fn drop(&mut self) {
        self.0.held_ms.store(RUNS, Ordering::SeqCst);
    }
}

impl StoreClock {
    /// Starts from the mark that an earlier [`StoreClock::high_water`] gave; 0 for a new store.
    pub(crate) fn new(clock: Arc<dyn Clock>, persisted_high_water: u64) -> StoreClock {
        let wall = clock.wall_ms();
        let start_ms = clock.monotonic_ms();
        let expiry_origin = if persisted_high_water == 0 { wall } else { persisted_high_water };
        StoreClock {
            clock,
            start_ms,
            commit: Ratchet::new(wall.max(persisted_high_water), COMMIT_TOLERANCE_MS),
            expiry: Ratchet::new(expiry_origin, EXPIRY_TOLERANCE_MS),
            held_ms: AtomicU64::new(RUNS),
        }
    }

    /// The time of a commit made now, in milliseconds since 1970. Never behind the expiry clock,
    /// which may have confirmed a jump that no commit has looked at: an entry would be born
    /// expired.
    pub(crate) fn commit_now(&self) -> u64 {
        let (wall, elapsed) = self.look();
        let believed = self.commit.now(elapsed, wall);
        self.commit.never_lower(believed.max(self.expiry.untold(elapsed, wall)))
    }

    /// The time against which entries expire, in milliseconds since 1970.
    pub(crate) fn expiry_now(&self) -> u64 {
        let (wall, elapsed) = self.look();
        // Behind the look: see `hold_expiry`.
        match self.held_ms.load(Ordering::SeqCst) {
            RUNS => self.expiry.now(elapsed, wall),
            held_ms => held_ms.max(self.expiry.latest.load(Ordering::Relaxed)),
        }
    }

    /// Lets the expiry clock stand still, until what is returned is dropped. One at a time.
    pub(crate) fn hold_expiry(&self) -> HeldExpiry<'_> {
        let (wall, elapsed) = self.look();
        self.held_ms.store(self.expiry.untold(elapsed, wall), Ordering::SeqCst);
        // Whoever has seen it running still has looked at the clock before this.
        let (wall, elapsed) = self.look();
        self.held_ms.store(self.expiry.now(elapsed, wall), Ordering::SeqCst);
        HeldExpiry(self)
    }

    /// What to persist, so that the next opening goes on from here. It is the expiry clock's: a
    /// wall clock that only commits have believed must not become believed by a restart.
    pub(crate) fn high_water(&self) -> u64 {
        self.expiry_now()
    }

    /// Commit times never fall below this: the newest commit time that recovery found.
    pub(crate) fn commits_seen(&self, newest_commit_ms: u64) {
        self.commit.latest.fetch_max(newest_commit_ms.min(COUNTER_MAX), Ordering::Relaxed);
    }

    /// The wall clock, and monotonic time since the start. In this order: a thread that is held up
    /// between the two sees the wall clock behind, which changes nothing. The other way round it
    /// would see it ahead, and all would believe that for ever.
    fn look(&self) -> (u64, u64) {
        let wall = self.clock.wall_ms();
        (wall, self.clock.monotonic_ms().saturating_sub(self.start_ms))
    }
}

impl std::fmt::Debug for StoreClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreClock")
            .field("commit", &self.commit)
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}

/// One believed time. All `lead`s are milliseconds ahead of origin + elapsed time.
#[derive(Debug)]
struct Ratchet {
    origin: u64,
    tolerance: u64,
    /// The highest answer given.
    latest: AtomicU64,
    /// What is believed.
    lead: AtomicU64,
    /// What was believed when the present ten minutes of small steps began, and when that was.
    step_base: AtomicU64,
    step_since: AtomicU64,
    /// The least lead that every look since the jump has shown, and the time of the first look.
    claim: AtomicU64,
    claim_since: AtomicU64,
    /// A thread is judging: the fields above, but for the first two atomics, are its own.
    judging: AtomicBool,
}

impl Ratchet {
    fn new(origin: u64, tolerance: u64) -> Ratchet {
        let origin = origin.min(COUNTER_MAX);
        Ratchet {
            origin,
            tolerance,
            latest: AtomicU64::new(origin),
            lead: AtomicU64::new(0),
            step_base: AtomicU64::new(0),
            step_since: AtomicU64::new(0),
            claim: AtomicU64::new(0),
            claim_since: AtomicU64::new(NO_CLAIM),
            judging: AtomicBool::new(false),
        }
    }

    fn now(&self, elapsed: u64, wall: u64) -> u64 {
        self.never_lower(self.believed(elapsed, wall))
    }

    /// What `now` would say. It counts as no answer.
    fn untold(&self, elapsed: u64, wall: u64) -> u64 {
        self.believed(elapsed, wall).max(self.latest.load(Ordering::Relaxed))
    }

    fn believed(&self, elapsed: u64, wall: u64) -> u64 {
        let running = self.origin.saturating_add(elapsed);
        let shown = wall.saturating_sub(running);
        let ahead = shown > self.lead.load(Ordering::Relaxed);
        if ahead || self.claim_since.load(Ordering::Relaxed) != NO_CLAIM {
            self.judge_alone(elapsed, shown);
        }
        let believed = running.saturating_add(self.lead.load(Ordering::Relaxed));
        // Whatever the wall clock says: what is persisted must be believed by the next opening.
        believed.min(COUNTER_MAX)
    }

    /// Most calls fall into the same millisecond as the one before: they only load.
    fn never_lower(&self, believed: u64) -> u64 {
        let latest = self.latest.load(Ordering::Relaxed);
        if believed <= latest {
            return latest;
        }
        self.latest.fetch_max(believed, Ordering::Relaxed).max(believed)
    }

    fn judge_alone(&self, elapsed: u64, shown: u64) {
        // Acquire and release order the plain loads and stores of one judge before the next one's.
        if self.judging.swap(true, Ordering::Acquire) {
            return;
        }
        self.judge(elapsed, shown);
        self.judging.store(false, Ordering::Release);
    }

    fn judge(&self, elapsed: u64, shown: u64) {
        let lead = self.lead.load(Ordering::Relaxed);
        let step_since = self.step_since.load(Ordering::Relaxed);
        if elapsed.saturating_sub(step_since) >= CONFIRMATION_MS {
            self.step_since.store(elapsed, Ordering::Relaxed);
            self.step_base.store(lead, Ordering::Relaxed);
        }
        let tolerance = if Planted::JumpBelieved.is_on() { u64::MAX } else { self.tolerance };
        let small = self.step_base.load(Ordering::Relaxed).saturating_add(tolerance);
        if shown <= small.max(lead) {
            // Followed at once, or behind: either way nothing is left to confirm.
            self.claim_since.store(NO_CLAIM, Ordering::Relaxed);
            self.lead.store(shown.max(lead), Ordering::Relaxed);
            return;
        }
        let claim_since = self.claim_since.load(Ordering::Relaxed);
        if claim_since == NO_CLAIM {
            self.claim.store(shown, Ordering::Relaxed);
            self.claim_since.store(elapsed, Ordering::Relaxed);
            return;
        }
        let claim = self.claim.load(Ordering::Relaxed).min(shown);
        self.claim.store(claim, Ordering::Relaxed);
        if elapsed.saturating_sub(claim_since) >= CONFIRMATION_MS {
            self.believe(elapsed, claim);
        }
    }

    /// A confirmed claim becomes the new base; what the wall clock shows beyond it is a new claim.
    fn believe(&self, elapsed: u64, claim: u64) {
        self.lead.fetch_max(claim, Ordering::Relaxed);
        self.step_base.store(self.lead.load(Ordering::Relaxed), Ordering::Relaxed);
        self.step_since.store(elapsed, Ordering::Relaxed);
        self.claim_since.store(NO_CLAIM, Ordering::Relaxed);
    }
}
