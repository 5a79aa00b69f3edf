//! Children of fork have a copy of everything that is open, and none of the threads.

use super::helper::Helper;

fn well(mode: &str) {
    let folder = tempfile::tempdir().unwrap();
    let helper = Helper::start(mode, &folder.path().join("fork.tide"));
    // What a child has to complain of comes first.
    helper.expect("well");
    assert!(helper.end().success());
}

#[test]
fn a_child_of_fork_is_refused_everything_and_harms_nothing() {
    well("fork");
}

#[test]
fn a_child_of_fork_waits_for_no_thread_of_its_parent_s_store() {
    well("fork-store");
}
