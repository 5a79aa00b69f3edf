//! Payloads that say who wrote them: nothing has to be stored to know what must be there.
//!
//! ```text
//! u32 round | u8 writer | u64 number | u16 index | u32 length | bytes drawn from all of that
//! ```
//! The seed of the file goes into the bytes and not into the header, so an entry of another file is
//! no entry of this one.

use tidelog_engine::testing::Random;

/// Bytes of the header: no payload is shorter.
pub(super) const HEADER_BYTES: usize = 19;

/// One operation: the process that did it, who in it, and which of its operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Author {
    pub(super) round: u32,
    pub(super) writer: u8,
    pub(super) number: u64,
}

/// A payload, by what its bytes follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Payload {
    pub(super) author: Author,
    /// Which of the payloads of its operation.
    pub(super) index: u16,
    pub(super) length: u32,
}

impl Payload {
    /// Its bytes in the file of this seed.
    pub(super) fn bytes(&self, seed: u64) -> Vec<u8> {
        let Author { round, writer, number } = self.author;
        let length = usize::try_from(self.length).expect("a payload is small");
        let mut bytes = Vec::with_capacity(length);
        bytes.extend(round.to_le_bytes());
        bytes.push(writer);
        bytes.extend(number.to_le_bytes());
        bytes.extend(self.index.to_le_bytes());
        bytes.extend(self.length.to_le_bytes());
        let who = [u64::from(round), u64::from(writer), number, u64::from(self.index)];
        let own = who.into_iter().fold(seed, |seed, value| Random::new(seed ^ value).next_u64());
        let mut random = Random::new(own);
        bytes.resize(length, 0);
        random.fill(&mut bytes[HEADER_BYTES..]);
        bytes
    }

    /// The payload that these bytes are.
    ///
    /// # Errors
    /// They are no payload of this file: damaged, or invented.
    pub(super) fn read(seed: u64, bytes: &[u8]) -> Result<Payload, String> {
        if bytes.len() < HEADER_BYTES {
            return Err(format!("a payload of {} bytes that nobody wrote", bytes.len()));
        }
        let number = |from: usize, count: usize| {
            let mut value = [0; 8];
            value[..count].copy_from_slice(&bytes[from..from + count]);
            u64::from_le_bytes(value)
        };
        let narrow = |value: u64| u32::try_from(value).expect("it has four bytes");
        let payload = Payload {
            author: Author { round: narrow(number(0, 4)), writer: bytes[4], number: number(5, 8) },
            index: u16::try_from(number(13, 2)).expect("it has two bytes"),
            length: narrow(number(15, 4)),
        };
        if payload.length as usize != bytes.len() || payload.bytes(seed) != bytes {
            return Err(format!("a payload of {} bytes with wrong bytes", bytes.len()));
        }
        Ok(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_known_by_its_bytes_and_by_no_others() {
        let author = Author { round: 3, writer: 1, number: 77 };
        let payload = Payload { author, index: 5, length: 100 };
        let bytes = payload.bytes(9);
        assert_eq!(Payload::read(9, &bytes), Ok(payload));
        assert!(Payload::read(8, &bytes).is_err(), "of another file");
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 16;
            assert!(Payload::read(9, &damaged).is_err(), "byte {place}");
        }
        assert!(Payload::read(9, &bytes[..99]).is_err());
        assert!(Payload::read(9, &[]).is_err());
    }
}
