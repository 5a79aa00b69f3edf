//! Payloads that no compression makes smaller: random bytes that follow from timeline and seq.

use tidelog_benches::{Random, mix};

/// Fills `payload` with the bytes of an entry.
pub(crate) fn fill(payload: &mut [u8], seed: u64, timeline: u64, seq: u64) {
    let mut random = Random::new(seed ^ mix(timeline) ^ seq);
    for piece in payload.chunks_mut(8) {
        piece.copy_from_slice(&random.next_u64().to_le_bytes()[..piece.len()]);
    }
}

/// Whether these are the bytes of an entry of `length` bytes.
pub(crate) fn is_right(found: &[u8], length: usize, seed: u64, timeline: u64, seq: u64) -> bool {
    let mut random = Random::new(seed ^ mix(timeline) ^ seq);
    found.len() == length
        && found.chunks(8).all(|piece| *piece == random.next_u64().to_le_bytes()[..piece.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts() {
        let mut payload = [0; 100];
        fill(&mut payload, 1, 42, 7);
        assert!(is_right(&payload, 100, 1, 42, 7));
        assert!(!is_right(&payload, 100, 1, 42, 8));
        assert!(!is_right(&payload, 100, 1, 43, 7));
        assert!(!is_right(&payload, 100, 2, 42, 7));
        assert!(!is_right(&payload[..99], 100, 1, 42, 7));
        for index in 0..100 {
            payload[index] ^= 1;
            assert!(!is_right(&payload, 100, 1, 42, 7), "byte {index}");
            payload[index] ^= 1;
        }
    }
}
