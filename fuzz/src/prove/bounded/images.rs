//! What the devices may hold at a crash point, and what is asked of it.

use super::base::{Run, with_own_clock};
use crate::prove::Counts;
use crate::prove::whole::crash_sweep::{check_recovery_crash, go_on};
use std::collections::BTreeSet;
use tidelog_engine::testing::CrashPolicy;

/// Of each so manieth image recovery is cut off as well.
const RECOVERY_CRASH_EACH: u64 = 10;

/// Every policy for so many operations that were not synced.
pub(super) fn policies(pending: usize) -> Vec<CrashPolicy> {
    let mut policies = vec![CrashPolicy::Kill, CrashPolicy::LengthsAlone, CrashPolicy::BytesAlone];
    policies.extend((0..=pending).map(CrashPolicy::Prefix));
    for index in 0..pending {
        policies.extend([
            CrashPolicy::DropOne(index),
            CrashPolicy::KeepOne(index),
            CrashPolicy::DamageSector { index, sector: 0 },
            CrashPolicy::DamageSector { index, sector: usize::MAX },
        ]);
    }
    policies
}

/// Opens every image of a crash point, compares it with the reference, goes on, and verifies it.
/// `turn` says which operations of recovery are cut off.
pub(super) fn look(run: &Run, turn: u64, context: &str, counts: &mut Counts) {
    counts.add("crash_points", 1);
    let mut seen: BTreeSet<(u64, u64)> = BTreeSet::new();
    for policy in policies(run.world.disk.pending_count()) {
        counts.add("images", 1);
        let context = format!("{context}, {policy:?}");
        let power_losses = u64::from(policy != CrashPolicy::Kill);
        let left = run.world.after(&policy);
        if !seen.insert((power_losses, left.disk.content_hash())) {
            continue;
        }
        counts.add("disk_states", 1);
        let number = counts.get("disk_states");
        if number.is_multiple_of(RECOVERY_CRASH_EACH) {
            let image = with_own_clock(left.clone(), &run.world.clock);
            let at = turn + number / RECOVERY_CRASH_EACH;
            let again = check_recovery_crash(&image, &run.reached, (power_losses, at), &context);
            counts.add("double_crashes", u64::from(again > 0));
            counts.add("images_of_double_crashes", again as u64);
        }
        let image = with_own_clock(left, &run.world.clock);
        let sim = go_on(image, &run.reached, power_losses, &context);
        sim.expect("the store has its tables").end();
    }
}
