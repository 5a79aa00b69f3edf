//! Salvage after damage anywhere: right, or said to be missing.
//!
//! ```sh
//! TIDELOG_SEED=5000 TIDELOG_SEEDS=1000 \
//!     cargo test --workspace --all-features --test it salvage_sweep
//! ```

use super::histories::seeds;
use super::salvage_judge::judge;
use super::salvage_store::Store;
use tidelog_engine::ErrorKind;
use tidelog_engine::testing::Random;

/// Prints, while the test fails, the command that fails the same way.
struct Replay(u64);

impl Drop for Replay {
    #[expect(clippy::print_stderr, reason = "it is part of what a failed test prints")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!(
                "replay: TIDELOG_SEED={seed} TIDELOG_SEEDS=1 \
                 cargo test --workspace --all-features --test it salvage_sweep"
            );
        }
    }
}

/// Damages one place.
fn damage(random: &mut Random, bytes: &mut [u8], used: &[usize]) -> String {
    // Most of a small file is free: mostly a page that is in use is hit.
    let place = match random.chance(5, 6) {
        true => used[random.index(used.len())] * 4096 + random.index(4096),
        false => random.index(bytes.len()),
    };
    let end = |length: usize| (place / length * length + length).min(bytes.len());
    match random.below(4) {
        0 | 1 => {
            bytes[place] ^= 1 << random.below(8);
            format!("flipped a bit of {place}")
        }
        2 => {
            let end = end(512);
            bytes[place / 512 * 512..end].fill(0);
            format!("zeroed the sector of {place}")
        }
        _ => {
            let end = end(4096);
            let page = &mut bytes[place / 4096 * 4096..end];
            random.fill(page);
            format!("overwrote the page of {place}")
        }
    }
}

#[test]
fn salvage_sweep() {
    let mut lost = 0u64;
    let range = seeds(0, 60);
    let count = range.end - range.start;
    let mut stores: Vec<Store> = Vec::new();
    for seed in range {
        let _replay = Replay(seed);
        let kind = usize::try_from(seed % 3).unwrap();
        while stores.len() <= kind {
            stores.push(Store::with_everything(500 + stores.len() as u64));
        }
        let store = &stores[kind];
        let mut random = Random::new(seed);
        let (live, live_cold) = store.live_pages();
        let (mut bytes, mut cold) = (store.bytes.clone(), store.cold.clone());
        let mut done = Vec::new();
        for _ in 0..1 + random.below(4) {
            let second = random.chance(1, 6);
            let (file, used) = if second { (&mut cold, &live_cold) } else { (&mut bytes, &live) };
            done.push(damage(&mut random, file, used));
        }
        let context = format!("seed {seed}: {}", done.join(", "));
        match store.salvage(&bytes, &cold) {
            Ok((report, target)) => {
                lost += u64::from(!report.is_whole());
                judge(store, &bytes, (&report, &target), &context);
            }
            Err(error) => {
                // Without any copy of the superblock nothing can be salvaged; with one, all must.
                let copy = |number: usize| number * 16_384..number * 16_384 + 4096;
                let gone = (0..4).all(|number| bytes[copy(number)] != store.bytes[copy(number)]);
                assert!(gone && error.kind() == ErrorKind::Corruption, "{context}: {error}");
            }
        }
    }
    assert!(count < 20 || lost > count / 8, "{lost} of {count} lost anything");
}
