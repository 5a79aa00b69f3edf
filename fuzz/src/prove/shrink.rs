//! What fails after many steps is tried with fewer: ever smaller pieces of them are left out, as
//! long as it fails without them.

/// The steps that are left when no piece can be spared any more, or when so many tries are over.
/// They fail as well, if all of them do. Panics of the tries are not told.
pub(super) fn shrink(steps: &[u64], tries: usize, fails: impl Fn(&[u64]) -> bool) -> Vec<u64> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let left = without_pieces(steps, tries, fails);
    std::panic::set_hook(hook);
    left
}

fn without_pieces(steps: &[u64], mut tries: usize, fails: impl Fn(&[u64]) -> bool) -> Vec<u64> {
    let mut left = steps.to_vec();
    let mut piece = left.len().div_ceil(2);
    while piece > 0 {
        let (mut at, mut spared) = (0, false);
        while at < left.len() {
            if tries == 0 {
                return left;
            }
            tries -= 1;
            let end = left.len().min(at + piece);
            let fewer = [&left[..at], &left[end..]].concat();
            if fails(&fewer) {
                (left, spared) = (fewer, true);
            } else {
                at = end;
            }
        }
        // What could not be spared may be, once another piece is gone.
        if !spared {
            piece /= 2;
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_that_fail_together_are_left() {
        let steps: Vec<u64> = (0..250).collect();
        let fails = |steps: &[u64]| [3, 17, 204].iter().all(|step| steps.contains(step));
        assert_eq!(shrink(&steps, 1000, fails), [3, 17, 204]);
        assert_eq!(shrink(&steps, 0, fails), steps);
        let some = shrink(&steps, 20, fails);
        assert!(some.len() < steps.len() && fails(&some), "{some:?}");
        assert!(shrink(&steps, 1000, |_| true).is_empty());
    }

    /// One step is needed only as long as another one is there.
    #[test]
    fn a_step_that_another_one_needed_goes_after_it() {
        let fails =
            |steps: &[u64]| steps.contains(&9) && (!steps.contains(&8) || steps.contains(&1));
        assert_eq!(shrink(&(0..10).collect::<Vec<_>>(), 100, fails), [9]);
    }
}
