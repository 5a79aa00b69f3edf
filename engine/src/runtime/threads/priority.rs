//! The priority of a worker's thread.
//!
//! Commits are short and somebody waits for them; flushes and compactions compute for long. With as
//! many busy threads as processors, a commit would wait for the end of a time slice, which is
//! milliseconds. A thread of lower priority is interrupted sooner, and still gets its share: about
//! a third of that of a normal thread.

/// On Linux a priority is that of a thread; elsewhere it is the whole process's, and left alone.
#[cfg(target_os = "linux")]
pub(super) fn lower() {
    /// Of -20 (most) to 19; 0 is normal. Lowering one's own needs no privilege.
    const PRIORITY: i32 = 5;
    // Where it fails nothing is lost but time. A user's own lower priority is kept.
    if rustix::process::getpriority_process(None).is_ok_and(|now| now < PRIORITY) {
        let _ = rustix::process::setpriority_process(None, PRIORITY);
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn lower() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the priority is that of a thread of its own")]
    fn a_thread_lowers_its_own_priority_and_no_other() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let before = priority();
        let lowered = std::thread::spawn(move || {
            super::lower();
            priority()
        });
        assert_eq!(lowered.join().unwrap(), before.max(5));
        assert_eq!(priority(), before);
    }
}
