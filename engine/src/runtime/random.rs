//! A small seeded generator (SplitMix64) for choices that must be repeatable: not for secrets.

/// A stream of numbers that depends on the seed alone.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    /// A number below `bound`; 0 where the bound is 0. The bias is below 2^-32 for bounds below
    /// 2^32, which is enough for tests and jitter.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next_u64() % bound }
    }

    /// An index below `bound`; 0 where the bound is 0.
    pub fn index(&mut self, bound: usize) -> usize {
        let drawn = self.below(bound as u64);
        usize::try_from(drawn).expect("it is below a usize")
    }

    /// True in `numerator` of `denominator` cases.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            let drawn = self.next_u64().to_le_bytes();
            piece.copy_from_slice(&drawn[..piece.len()]);
        }
    }

    /// A stream of its own, so that one consumer's draws do not move another's.
    pub fn fork(&mut self) -> Random {
        Random::new(self.next_u64())
    }
}

/// Spreads every bit of `value` over all bits of the result (the finaliser of SplitMix64).
pub(crate) fn mix(value: u64) -> u64 {
    let mut mixed = value;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::Random;

    /// The published reference values of SplitMix64, so that seeds in bug reports stay good.
    #[test]
    fn the_stream_is_splitmix() {
        let mut random = Random::new(1_234_567);
        let drawn: Vec<u64> = (0..3).map(|_| random.next_u64()).collect();
        let expected =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(drawn, expected);
    }

    #[test]
    fn bounds_hold() {
        let mut random = Random::new(7);
        assert_eq!(random.below(0), 0);
        assert_eq!(random.index(0), 0);
        assert!((0..1000).all(|_| random.below(3) < 3));
        assert!((0..100).all(|_| random.chance(1, 1)));
        assert!((0..100).all(|_| !random.chance(0, 5)));
        let mut bytes = [0; 13];
        random.fill(&mut bytes);
        assert_ne!(bytes, [0; 13]);
        assert_ne!(random.fork().next_u64(), random.next_u64());
    }
}
