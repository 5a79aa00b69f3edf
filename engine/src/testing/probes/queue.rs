//! The commit queue.

use crate::commit::CommitQueue;

/// A queue of numbers.
pub struct Queue(CommitQueue<u64>);

impl Default for Queue {
    fn default() -> Queue {
        Queue(CommitQueue::new())
    }
}

impl Queue {
    /// Pushes so many numbers, leads, and takes all of them. Gives their count.
    pub fn pass(&self, count: u64) -> u64 {
        (0..count).for_each(|number| self.0.push(number));
        let leadership = self.0.try_lead().expect("nobody else leads");
        let mut taken = 0;
        while leadership.pop().is_some() {
            taken += 1;
        }
        taken
    }
}
