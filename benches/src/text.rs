//! A text of made-up words that payloads are cut from: compressible about as chat is, and the same
//! on every machine.

use crate::random::{Random, mix};
use crate::zipf::Zipf;
use std::ops::RangeInclusive;

/// Words in the vocabulary.
const WORDS: u32 = 20_000;

/// The text, and the rule that says which piece of it an entry holds.
#[derive(Debug)]
pub struct Text {
    bytes: Vec<u8>,
}

impl Text {
    /// Bytes of the text that measurements use: more than a core's caches hold.
    pub const LARGE: usize = 8 * 1024 * 1024;

    /// A text of `length` bytes.
    pub fn new(length: usize, seed: u64) -> Text {
        let mut random = Random::new(seed);
        let words: Vec<Vec<u8>> = (0..WORDS).map(|_| word(&mut random)).collect();
        let frequency = Zipf::new(WORDS, seed);
        let mut bytes = Vec::with_capacity(length + 32);
        while bytes.len() < length {
            bytes.extend_from_slice(&words[frequency.draw(&mut random) as usize]);
            bytes.push(b' ');
        }
        bytes.truncate(length);
        Text { bytes }
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The payload of entry `seq` of a timeline: a slice whose place and length follow from the
    /// two.
    pub fn payload(&self, timeline: u64, seq: u64, lengths: &RangeInclusive<usize>) -> &[u8] {
        let mut random = Random::new(mix(timeline) ^ seq);
        let length = lengths.start() + random.index(lengths.end() - lengths.start() + 1);
        let start = random.index(self.bytes.len() - length);
        &self.bytes[start..start + length]
    }
}

/// A word of one to four syllables.
fn word(random: &mut Random) -> Vec<u8> {
    const CONSONANTS: &[u8] = b"bcdfghjklmnprstvwz";
    const VOWELS: &[u8] = b"aeiou";
    let mut word = Vec::new();
    for _ in 0..=random.index(4) {
        word.push(CONSONANTS[random.index(CONSONANTS.len())]);
        word.push(VOWELS[random.index(VOWELS.len())]);
        if random.index(3) == 0 {
            word.push(CONSONANTS[random.index(CONSONANTS.len())]);
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_follow_from_timeline_and_seq() {
        let text = Text::new(64 * 1024, 3);
        let same = Text::new(64 * 1024, 3);
        let lengths = 96..=160;
        let mut seen = std::collections::BTreeSet::new();
        for seq in 1..=1000 {
            let payload = text.payload(42, seq, &lengths);
            assert!(lengths.contains(&payload.len()));
            assert_eq!(payload, same.payload(42, seq, &lengths));
            assert_ne!(payload, text.payload(43, seq, &lengths));
            seen.insert(payload.len());
        }
        assert_eq!(seen.len(), 65, "every length occurs");
    }
}
