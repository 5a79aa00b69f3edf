//! Damage for bytes that are otherwise right: decoders get further into almost valid bytes than
//! into noise.

use tidelog_engine::testing::Random;

/// Numbers at which comparisons and sums go wrong.
const EXTREMES: [u64; 8] = [0, 1, 0x7f, 0xff, 0xffff, u32::MAX as u64, i64::MAX as u64, u64::MAX];

/// Bytes of a random length up to `length_max`.
pub(crate) fn noise(random: &mut Random, length_max: usize) -> Vec<u8> {
    let mut bytes = vec![0; random.index(length_max + 1)];
    random.fill(&mut bytes);
    bytes
}

/// A length up to `max`: small ones and the largest come more often.
pub(crate) fn length(random: &mut Random, max: usize) -> usize {
    match random.below(8) {
        0 => max,
        1 => 0,
        2 | 3 => random.index(max.min(4) + 1),
        4 | 5 => random.index(max.min(64) + 1),
        _ => random.index(max + 1),
    }
}

/// Changes some bytes in place, one to four times; the length stays.
pub(crate) fn overwrite(random: &mut Random, bytes: &mut [u8]) {
    if bytes.is_empty() {
        return;
    }
    for _ in 0..=random.below(4) {
        overwrite_once(random, bytes);
    }
}

fn overwrite_once(random: &mut Random, bytes: &mut [u8]) {
    let place = random.index(bytes.len());
    let rest = bytes.len() - place;
    match random.below(6) {
        0 | 1 => bytes[place] ^= 1 << random.below(8),
        2 => {
            let noise = random.next_u64().to_le_bytes();
            bytes[place] = noise[0];
        }
        3 | 4 => {
            // A hostile length: an extreme number, or one beside it, in one of the usual widths.
            let extreme = EXTREMES[random.index(EXTREMES.len())];
            let number = extreme.wrapping_add(random.below(3)).wrapping_sub(1).to_le_bytes();
            let width = [1, 2, 4, 8][random.index(4)].min(rest);
            bytes[place..place + width].copy_from_slice(&number[..width]);
        }
        _ => {
            let count = (1 + random.index(64)).min(rest);
            let from = random.index(bytes.len() - count + 1);
            bytes.copy_within(from..from + count, place);
        }
    }
}

/// Changes some bytes; may cut, extend or join as well.
pub(crate) fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    overwrite(random, bytes);
    match random.below(6) {
        0 => bytes.truncate(random.index(bytes.len() + 1)),
        1 => bytes.extend(noise(random, 40)),
        2 => {
            let start = random.index(bytes.len() + 1);
            let end = start + random.index(bytes.len() - start + 1);
            bytes.drain(start..end);
        }
        _ => {}
    }
}
