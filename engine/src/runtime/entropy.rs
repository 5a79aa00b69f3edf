//! Randomness that is not a test's: file ids, incarnations and the salts of the log.

use super::Random;
use crate::error::{Error, Result};
use crate::sync::Mutex;
use std::io;

/// A source of numbers that nobody can foretell, or, under a test, that a seed repeats.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes`, all of them or none.
    ///
    /// # Errors
    /// [`Error::Io`] where the system gives no randomness: an id must not be a guess.
    fn fill(&self, bytes: &mut [u8]) -> Result<()>;

    /// The next 64 bits.
    ///
    /// # Errors
    /// As [`Entropy::fill`].
    fn random(&self) -> Result<u64> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        fill_from_system(bytes).map_err(|error| Error::io("drawing random bytes", 0, error))
    }
}

#[cfg(target_os = "linux")]
fn fill_from_system(bytes: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let rest = &mut bytes[done..];
        match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => done += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn fill_from_system(_bytes: &mut [u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A seeded stream behind the same door.
#[derive(Debug)]
pub struct SeededEntropy {
    random: Mutex<Random>,
}

impl SeededEntropy {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> SeededEntropy {
        SeededEntropy { random: Mutex::new(Random::new(seed)) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        self.random.lock().fill(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Entropy, SeededEntropy, SystemEntropy};

    #[test]
    fn seeds_repeat_and_the_system_does_not() {
        let draw = |entropy: &dyn Entropy| {
            let mut id = [0; 40];
            entropy.fill(&mut id).unwrap();
            (id, entropy.random().unwrap())
        };
        assert_eq!(draw(&SeededEntropy::new(1)), draw(&SeededEntropy::new(1)));
        assert_ne!(draw(&SeededEntropy::new(1)), draw(&SeededEntropy::new(2)));
        assert_ne!(draw(&SystemEntropy), draw(&SystemEntropy));
    }
}
