//! What lies on the disks, and what of some payloads can be found there.

use super::world::World;
use std::collections::{BTreeSet, HashMap};
use tidelog_engine::testing::{CrashPolicy, SimDisk};

/// A payload is looked for by eight bytes at its front, at its end, and every so many between.
const PROBE_STEP: usize = 512;

/// What of these payloads can be found in an image of the file.
pub(crate) fn found(image: &[u8], payloads: &[(&'static str, Vec<u8>)]) -> BTreeSet<&'static str> {
    let mut probes: HashMap<[u8; 8], &'static str> = HashMap::new();
    // Most places of an image are passed over by their first two bytes.
    let mut begins = vec![false; 1 << 16];
    let begin = |bytes: &[u8]| usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
    for (what, payload) in payloads {
        let last = payload.len() - 8;
        for at in (0..last).step_by(PROBE_STEP).chain([last]) {
            let probe: [u8; 8] = payload[at..at + 8].try_into().unwrap();
            begins[begin(&probe)] = true;
            probes.insert(probe, what);
        }
    }
    let places = image.windows(8).filter(|bytes| begins[begin(bytes)]);
    places.filter_map(|bytes| probes.get(bytes).copied()).collect()
}

/// The disks as they are, and as a loss of power would leave them.
pub(crate) fn images(world: &World) -> Vec<Vec<u8>> {
    let disks: Vec<&SimDisk> = std::iter::once(&world.disk).chain(&world.cold).collect();
    let lost = |disk: &&SimDisk| disk.crash_image(&CrashPolicy::DropAll).bytes();
    disks.iter().map(lost).chain(disks.iter().map(|disk| disk.bytes())).collect()
}
