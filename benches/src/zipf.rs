//! Zipf's law by Walker's alias method: exact, and one table look-up a draw, so that the harness
//! does not show in what it measures.

use crate::random::Random;

/// Draws ids below a count: a few often, most seldom.
///
/// The rank of an id has nothing to do with its number: ids are permuted, so that neighbours in the
/// key space are not neighbours in popularity.
#[derive(Debug, Clone)]
pub struct Zipf {
    /// A slot keeps its own rank with this probability, and gives way to its alias otherwise.
    keep: Vec<f64>,
    alias: Vec<u32>,
    /// The id of each rank.
    ids: Vec<u32>,
}

impl Zipf {
    /// The exponent of all workloads here, as in YCSB.
    pub const EXPONENT: f64 = 0.99;

    /// The law over ids `0..count`, permuted by `seed`.
    pub fn new(count: u32, seed: u64) -> Zipf {
        assert!(count > 0, "there is nothing to draw");
        let weights = (1..=count).map(|rank| f64::from(rank).powf(-Zipf::EXPONENT));
        let (keep, alias) = alias_table(&weights.collect::<Vec<f64>>());
        Zipf { keep, alias, ids: permutation(count, seed) }
    }

    /// An id.
    pub fn draw(&self, random: &mut Random) -> u32 {
        let slot = random.index(self.keep.len());
        let kept = random.unit() < self.keep[slot];
        let rank = if kept { slot } else { self.alias[slot] as usize };
        self.ids[rank]
    }

    /// The id drawn most often.
    pub fn hottest(&self) -> u32 {
        self.ids[0]
    }
}

/// Vose's construction: every slot takes its own share up to the mean, and is filled up by one
/// other.
fn alias_table(weights: &[f64]) -> (Vec<f64>, Vec<u32>) {
    let scale = weights.len() as f64 / weights.iter().sum::<f64>();
    let mut keep: Vec<f64> = weights.iter().map(|weight| weight * scale).collect();
    let mut alias = vec![0; keep.len()];
    let (mut below, mut above): (Vec<usize>, Vec<usize>) =
        (0..keep.len()).partition(|&slot| keep[slot] < 1.0);
    while let (Some(&poor), Some(&rich)) = (below.last(), above.last()) {
        below.pop();
        alias[poor] = u32::try_from(rich).expect("the count is a u32");
        keep[rich] -= 1.0 - keep[poor];
        if keep[rich] < 1.0 {
            above.pop();
            below.push(rich);
        }
    }
    // What is left differs from the mean by rounding alone.
    for slot in below.into_iter().chain(above) {
        keep[slot] = 1.0;
    }
    (keep, alias)
}

fn permutation(count: u32, seed: u64) -> Vec<u32> {
    let mut random = Random::new(seed);
    let mut ids: Vec<u32> = (0..count).collect();
    for last in (1..ids.len()).rev() {
        ids.swap(last, random.index(last + 1));
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_law() {
        let zipf = Zipf::new(1000, 7);
        let mut random = Random::new(8);
        let mut counts = vec![0_u32; 1000];
        for _ in 0..200_000 {
            counts[zipf.draw(&mut random) as usize] += 1;
        }
        // H(1000, 0.99) is 7.73, so rank 1 has 12.9% of the draws and rank 10 has 1.32%.
        let share = |rank: usize| f64::from(counts[zipf.ids[rank] as usize]) / 200_000.0;
        assert!((share(0) - 0.129).abs() < 0.005, "rank 1 has {}", share(0));
        assert!((share(9) - 0.0132).abs() < 0.002, "rank 10 has {}", share(9));
    }

    #[test]
    fn ids_are_permuted() {
        let mut ids = Zipf::new(500, 1).ids;
        assert_ne!(ids[..8], [0, 1, 2, 3, 4, 5, 6, 7]);
        ids.sort_unstable();
        assert!(ids.into_iter().eq(0..500));
    }
}
