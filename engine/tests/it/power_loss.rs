//! Power is lost at operations of small workloads: the sweeps that a test run does.

use super::crash_sweep::{
    Plan, durable, everything, intervals, lasting, mixed, passing, requiring, sweep,
};

#[test]
fn power_is_lost_at_every_operation_of_durable_commits() {
    let plan = Plan { two_disks: false, create: lasting, count: 40, step: durable };
    let (points, images, second) = sweep(1, &plan, 1);
    assert!(points > 100 && images > 500 && second > 100, "{points} {images} {second}");
}

#[test]
fn power_is_lost_at_operations_of_mixed_commits() {
    let plan = Plan { two_disks: false, create: lasting, count: 100, step: mixed };
    let (points, images, second) = sweep(2, &plan, 3);
    assert!(points > 50 && images > 300 && second > 100, "{points} {images} {second}");
}

#[test]
fn power_is_lost_at_every_operation_of_interval_commits() {
    let plan = Plan { two_disks: false, create: lasting, count: 60, step: intervals };
    let (points, images, second) = sweep(4, &plan, 1);
    assert!(points > 100 && images > 500 && second > 100, "{points} {images} {second}");
}

/// Each commit would be refused if it did not find what the one before has written.
#[test]
fn power_is_lost_at_every_operation_of_commits_that_require_a_value() {
    let plan = Plan { two_disks: false, create: lasting, count: 30, step: requiring };
    let (points, images, second) = sweep(6, &plan, 1);
    assert!(points > 40 && images > 200 && second > 20, "{points} {images} {second}");
}

#[test]
fn power_is_lost_while_everything_passes() {
    let plan = Plan { two_disks: true, create: passing, count: 90, step: everything };
    let whole = plan.world(7);
    let seen = plan.run(&whole).seen;
    assert!(seen.dropped > 5 && seen.moved > 0, "windows expire and move: {seen:?}");
    assert!(seen.segments_gone > 0, "and segments go with them: {seen:?}");
    let (points, images, second) = sweep(7, &plan, 19);
    assert!(points > 50 && images > 300 && second > 50, "{points} {images} {second}");
}

#[test]
fn the_same_seed_gives_the_same_disk_operations() {
    let plan = Plan { two_disks: true, create: passing, count: 40, step: everything };
    let hash = || {
        let world = plan.world(3);
        plan.run(&world);
        let of_each =
            world.disks().into_iter().map(|disk| (disk.log_hash(), disk.operation_count()));
        of_each.collect::<Vec<_>>()
    };
    assert_eq!(hash(), hash());
}
