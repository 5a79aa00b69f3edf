use super::*;
use crate::testing::{Random, SimClock};
use std::time::Duration;

const START: u64 = 1_700_000_000_000;
const MINUTE: u64 = 60_000;
const HOUR: i64 = 3_600_000;

fn store(clock: &SimClock, high_water: u64) -> StoreClock {
    StoreClock::new(Arc::new(clock.clone()), high_water)
}

fn pass(clock: &SimClock, ms: u64) {
    clock.advance(Duration::from_millis(ms));
}

fn both(store: &StoreClock) -> (u64, u64) {
    (store.commit_now() - START, store.expiry_now() - START)
}

#[test]
fn a_new_store_believes_the_wall_clock_and_follows_it() {
    let clock = SimClock::new(START);
    let store = store(&clock, 0);
    assert_eq!(both(&store), (0, 0));
    pass(&clock, 1234);
    assert_eq!(both(&store), (1234, 1234));
    assert_eq!(store.high_water(), START + 1234);
    clock.jump_wall(900);
    assert_eq!(both(&store), (2134, 2134));
}

#[test]
fn a_fall_back_changes_nothing() {
    let clock = SimClock::new(START);
    let store = store(&clock, 0);
    clock.jump_wall(-HOUR);
    assert_eq!(both(&store), (0, 0));
    pass(&clock, 5000);
    assert_eq!(both(&store), (5000, 5000));
    clock.jump_wall(HOUR);
    assert_eq!(both(&store), (5000, 5000));
}

#[test]
fn a_running_jump_is_believed_after_ten_minutes_of_confirmation() {
    let clock = SimClock::new(START);
    let store = store(&clock, 0);
    clock.jump_wall(HOUR);
    assert_eq!(both(&store), (0, 0));
    for minute in 1..10 {
        pass(&clock, MINUTE);
        assert_eq!(both(&store), (minute * MINUTE, minute * MINUTE));
    }
    pass(&clock, MINUTE);
    let believed = 3_600_000 + 10 * MINUTE;
    assert_eq!(both(&store), (believed, believed));
    // And stays believed when the wall clock falls back again.
    clock.jump_wall(-HOUR);
    assert_eq!(both(&store), (believed, believed));
}

#[test]
fn a_jump_that_goes_back_or_shrinks_is_believed_no_further_than_confirmed() {
    let clock = SimClock::new(START);
    let store = store(&clock, 0);
    clock.jump_wall(HOUR);
    both(&store);
    pass(&clock, 9 * MINUTE);
    clock.jump_wall(-HOUR);
    assert_eq!(both(&store), (9 * MINUTE, 9 * MINUTE));
    // The claim is closed: a second jump needs ten minutes of its own.
    clock.jump_wall(2 * HOUR);
    both(&store);
    pass(&clock, 2 * MINUTE);
    assert_eq!(both(&store), (11 * MINUTE, 11 * MINUTE));
    clock.jump_wall(-HOUR);
    both(&store);
    clock.jump_wall(HOUR);
    pass(&clock, 8 * MINUTE);
    let believed = 19 * MINUTE + 3_600_000;
    assert_eq!(both(&store), (believed, believed));
}

#[test]
fn commits_follow_half_a_minute_at_once_and_expiry_does_not() {
    let clock = SimClock::new(START);
    let store = store(&clock, 0);
    clock.jump_wall(30_000);
    assert_eq!(both(&store), (30_000, 0));
    assert_eq!(store.high_water(), START);
    pass(&clock, 10 * MINUTE);
    assert_eq!(both(&store), (630_000, 630_000));
}

/// A clock that runs too fast, or is pushed a little at a time, must not slip past the fence.
#[test]
fn many_small_jumps_are_not_believed_where_a_large_one_is_not() {
    let clock = SimClock::new(START);
    let store = store(&clock, 0);
    for _ in 0..1000 {
        clock.jump_wall(900);
        pass(&clock, 1);
        both(&store);
    }
    let (commit, expiry) = both(&store);
    assert!(commit <= MINUTE + 1000, "{commit}");
    assert!(expiry <= 999 + 1000, "{expiry}");
}

#[test]
fn after_a_restart_commits_believe_the_wall_clock_and_expiry_waits() {
    let clock = SimClock::new(START + 3_600_000);
    let reopened = store(&clock, START);
    assert_eq!(both(&reopened), (3_600_000, 0));
    pass(&clock, 1000);
    assert_eq!(both(&reopened), (3_601_000, 1000));
    assert_eq!(reopened.high_water(), START + 1000);
    pass(&clock, 10 * MINUTE);
    assert_eq!(both(&reopened), (4_201_000, 4_201_000));

    // The wall clock is behind the mark: both go on from the mark.
    let reopened = store(&clock, START + 100_000_000);
    pass(&clock, 5);
    assert_eq!(both(&reopened), (100_000_005, 100_000_005));

    reopened.commits_seen(START + 200_000_000);
    assert_eq!(both(&reopened), (200_000_000, 100_000_005));
}

#[test]
fn absurd_times_do_not_overflow() {
    let clock = SimClock::new(u64::MAX - 1);
    let reopened = store(&clock, u64::MAX);
    pass(&clock, 100);
    // The mark goes into the superblock, and no opening believes more than this.
    assert_eq!(reopened.commit_now(), COUNTER_MAX);
    assert_eq!(reopened.expiry_now(), COUNTER_MAX);
    let fresh = store(&SimClock::new(0), 0);
    assert_eq!((fresh.commit_now(), fresh.expiry_now()), (0, 0));
}

/// Random jumps: answers never fall, and expiry stays behind everything that was ever confirmed.
#[test]
fn answers_never_fall() {
    for seed in 0..50 {
        let mut random = Random::new(seed);
        let clock = SimClock::new(START);
        let store = store(&clock, START);
        let (mut commit, mut expiry) = (0, 0);
        for _ in 0..200 {
            let jump = i64::try_from(random.below(20_000_000)).unwrap() - 10_000_000;
            if random.chance(1, 3) {
                clock.jump_wall(jump >> random.below(20));
            }
            pass(&clock, random.below(3 * MINUTE));
            let (new_commit, new_expiry) = (store.commit_now(), store.expiry_now());
            assert!(new_commit >= commit && new_expiry >= expiry, "seed {seed}");
            (commit, expiry) = (new_commit, new_expiry);
        }
    }
}

#[test]
fn threads_never_see_time_fall() {
    let clock = SimClock::new(START);
    let store = store(&clock, 0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = (0, 0);
                for _ in 0..5000 {
                    let now = both(&store);
                    assert!(now.0 >= last.0 && now.1 >= last.1);
                    last = now;
                }
            });
        }
        for step in 0..2000 {
            clock.jump_wall(if step % 2 == 0 { 700 } else { -650 });
            pass(&clock, 100);
        }
    });
}

/// A clock whose reader is held up behind its first look at either time.
struct HeldUp {
    clock: SimClock,
    ms: AtomicU64,
}

impl HeldUp {
    fn pass(&self, time: u64) -> u64 {
        pass(&self.clock, self.ms.swap(0, Ordering::Relaxed));
        time
    }
}

impl Clock for HeldUp {
    fn wall_ms(&self) -> u64 {
        self.pass(self.clock.wall_ms())
    }

    fn monotonic_ms(&self) -> u64 {
        self.pass(self.clock.monotonic_ms())
    }
}

#[test]
fn a_thread_that_is_held_up_between_two_looks_makes_nobody_fast() {
    // Story: monotonic time was read first. A thread that lost the processor before it read the
    // wall clock found that one ahead, and the store's clocks were so far ahead from then on:
    // entries expired before their time.
    let clock = SimClock::new(START);
    let held_up = Arc::new(HeldUp { clock: clock.clone(), ms: AtomicU64::new(0) });
    let store = StoreClock::new(Arc::clone(&held_up) as Arc<dyn Clock>, 0);
    for look in [StoreClock::commit_now, StoreClock::expiry_now] {
        held_up.ms.store(40, Ordering::Relaxed);
        look(&store);
        pass(&clock, 1);
        assert_eq!(look(&store), clock.wall_ms());
    }
}

#[test]
fn an_expiry_clock_that_is_held_stands_still_and_then_goes_on() {
    let clock = SimClock::new(START);
    let store = store(&clock, 0);
    pass(&clock, 1000);
    let held = store.hold_expiry();
    pass(&clock, 500);
    assert_eq!(both(&store), (1500, 1000));
    assert_eq!(store.high_water(), START + 1000);
    drop(held);
    assert_eq!(both(&store), (1500, 1500));
}
