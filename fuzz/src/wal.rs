//! The ring of the write-ahead log: what is replayed is a prefix of what was written, and holds
//! everything that was acknowledged.

use crate::harness::{each, ensure};
use crate::mutation::{length, overwrite};
use tidelog_engine::testing::fuzzing::wal::{Group, Head, Log, RING_OFFSET};
use tidelog_engine::testing::{CrashPolicy, Random, SimDisk, SimOptions};
use tidelog_engine::{Disk, Error, ErrorKind};

/// A log and what was written to it since its head.
struct History {
    disk: SimDisk,
    log: Log,
    written: Vec<Group>,
    /// Groups, from the head on, that must survive a loss of power.
    acknowledged: usize,
    /// Bodies of the group whose write failed.
    failed: Option<Vec<Vec<u8>>>,
    /// Whether every group was written durably.
    all_durable: bool,
}

/// A log is written over some laps; then power is lost, or bytes are changed.
pub(crate) fn run(seed: u64, events: u64) -> Result<(), String> {
    each(seed, events, 16 << 20, |random| {
        let mut history = start(random)?;
        let crash = random.chance(1, 2);
        if crash {
            history.disk.crash_at(history.disk.operation_count() + random.below(60));
        }
        for _ in 0..random.below(60) {
            if step(random, &mut history).is_err() {
                break;
            }
        }
        match crash {
            true => crashed(random, &history),
            false => {
                let text = |error: Error| error.to_string();
                let all = history.log.head().replay(&history.disk).map_err(text)?;
                check_prefix(&history, &all, history.written.len())?;
                rot(random, &history)?;
                lie(random, &history)
            }
        }
    })
}

fn start(random: &mut Random) -> Result<History, String> {
    let options = SimOptions {
        alignment: [512, 4096][random.index(2)],
        sector: [512, 4096][random.index(2)],
        ..SimOptions::default()
    };
    let disk = SimDisk::new(options);
    let blocks = 8 + random.below(40);
    disk.allocate(0, RING_OFFSET + blocks * 4096 + 4096).map_err(|error| error.to_string())?;
    disk.sync().map_err(|error| error.to_string())?;
    let log = Log::new(&disk, blocks, random.below(1 << 30), random.next_u64());
    let all_durable = random.chance(1, 2);
    Ok(History { disk, log, written: Vec::new(), acknowledged: 0, failed: None, all_durable })
}

fn step(random: &mut Random, history: &mut History) -> Result<(), Error> {
    let log = &mut history.log;
    match random.below(10) {
        0 => {
            log.sync()?;
            history.acknowledged = history.written.len();
        }
        1 => log.note_synced(),
        2 | 3 => {
            log.sync()?;
            log.release();
            history.written.clear();
            history.acknowledged = 0;
        }
        _ => {
            let count = 1 + length(random, 5);
            let bodies: Vec<Vec<u8>> = (0..count).map(|_| body(random)).collect();
            if !log.fits(&bodies) {
                return Ok(());
            }
            let durable = history.all_durable || random.chance(1, 3);
            history.failed = Some(bodies.clone());
            let group = log.append(random.next_u64(), &bodies, durable)?;
            history.failed = None;
            history.written.push(group);
            if durable {
                history.acknowledged = history.written.len();
            }
        }
    }
    Ok(())
}

fn body(random: &mut Random) -> Vec<u8> {
    let mut body = vec![0; length(random, 3000)];
    random.fill(&mut body);
    body
}

/// Power was lost, or the process was killed.
fn crashed(random: &mut Random, history: &History) -> Result<(), String> {
    let random_policy = CrashPolicy::Random { seed: random.next_u64() };
    let policies = [CrashPolicy::DropAll, CrashPolicy::KeepAll, CrashPolicy::Kill, random_policy];
    for policy in policies {
        let least = match policy {
            CrashPolicy::Kill => history.written.len(),
            _ => history.acknowledged,
        };
        let image = history.disk.crash_image(&policy);
        let replayed = history.log.head().replay(&image);
        let replayed = replayed.map_err(|error| format!("{policy:?}: {error}"))?;
        check_prefix(history, &replayed, least).map_err(|what| format!("{policy:?}: {what}"))?;
    }
    Ok(())
}

/// What was replayed is a prefix of at least `least` groups; the group whose write failed may be
/// there as well.
fn check_prefix(history: &History, replayed: &[Group], least: usize) -> Result<(), String> {
    let common = replayed.len().min(history.written.len());
    ensure(replayed[..common] == history.written[..common], || {
        "a replayed group is not the one that was written".to_owned()
    })?;
    let (count, written) = (replayed.len(), history.written.len());
    ensure(count >= least, || format!("{count} groups are left, {least} were acknowledged"))?;
    match (&replayed[common..], &history.failed) {
        ([], _) => Ok(()),
        ([last], Some(failed)) if last.bodies == *failed => Ok(()),
        _ => Err(format!("{count} groups are replayed, {written} were written")),
    }
}

/// Changed bytes: an error, or the groups before the first that is damaged, which must reach what
/// is known to be synced. Where every group was durable, a whole group behind the damage tells that
/// it is no torn tail.
fn rot(random: &mut Random, history: &History) -> Result<(), String> {
    let whole = history.disk.bytes();
    let head = history.log.head();
    let ring = usize::try_from(RING_OFFSET).expect("a small number")..whole.len() - 4096;
    for _ in 0..4 {
        let mut changed = whole.clone();
        let range = damaged_range(random, history, &head, &ring);
        overwrite(random, &mut changed[range]);
        let disk = SimDisk::from_bytes(SimOptions::default(), &changed);
        let damaged: Vec<bool> = history
            .written
            .iter()
            .map(|group| is_damaged(group, &head, &whole, &changed))
            .collect();
        let first = damaged.iter().position(|damaged| *damaged);
        let left = first.unwrap_or(damaged.len());
        let known = |group: &&Group| group.end <= head.synced_lsn;
        let synced = history.written.iter().filter(known).count();
        // Rings are small here: what stands behind the damage is always within the look-ahead.
        let whole_behind = damaged[left..].contains(&false);
        let must_fail = left < synced || (history.all_durable && whole_behind);
        match head.replay(&disk) {
            Ok(replayed) => ensure(!must_fail && replayed == history.written[..left], || {
                let (count, written) = (replayed.len(), damaged.len());
                format!("{count} of {written} groups, the first damaged is {first:?}")
            })?,
            Err(error) => ensure(first.is_some() && error.kind() == ErrorKind::Corruption, || {
                error.to_string()
            })?,
        }
        head.list(&disk).map_err(|error| format!("listing: {error}"))?;
    }
    Ok(())
}

/// Whether a byte of the group that a checksum covers was changed. Padding is not covered.
fn is_damaged(group: &Group, head: &Head, whole: &[u8], changed: &[u8]) -> bool {
    let frames: usize = group.bodies.iter().map(|body| 8 + body.len()).sum();
    (group.lsn..group.lsn + 96 + frames as u64).any(|lsn| {
        let place = usize::try_from(head.place(lsn)).expect("a small file");
        whole[place] != changed[place]
    })
}

/// Most of a ring is free: damage is better aimed at a group.
fn damaged_range(
    random: &mut Random,
    history: &History,
    head: &Head,
    ring: &std::ops::Range<usize>,
) -> std::ops::Range<usize> {
    let Some(group) = history.written.get(random.index(history.written.len() + 1)) else {
        return ring.clone();
    };
    let start = usize::try_from(head.place(group.lsn)).expect("a small file");
    start..(start + [96, 200, 4096][random.index(3)]).min(ring.end)
}

/// A changed group whose checksums hold: any typed outcome, and bounded memory.
fn lie(random: &mut Random, history: &History) -> Result<(), String> {
    let whole = history.disk.bytes();
    let head = history.log.head();
    for group in history.written.iter().take(8) {
        let mut changed = whole.clone();
        let start = usize::try_from(head.place(group.lsn)).expect("a small file");
        let end = (start + [96, 128, 512][random.index(3)]).min(whole.len() - 4096);
        // Behind magic, so that it stays a header.
        let from = (start + 12).min(end);
        overwrite(random, &mut changed[from..end]);
        head.repair(&mut changed, group.lsn);
        let disk = SimDisk::from_bytes(SimOptions::default(), &changed);
        match head.replay(&disk) {
            Ok(groups) => {
                let bytes: usize =
                    groups.iter().flat_map(|group| &group.bodies).map(Vec::len).sum();
                ensure(bytes <= changed.len(), || format!("{bytes} bytes from a smaller ring"))?;
            }
            Err(error) => ensure(typed(&error), || error.to_string())?,
        }
        if let Err(error) = head.list(&disk) {
            ensure(typed(&error), || error.to_string())?;
        }
    }
    Ok(())
}

fn typed(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corruption | ErrorKind::Unsupported)
}

/// The ring begins with these bytes, and the checksums of its first group are repaired.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), String> {
    let (disk, log) = written(&[])?;
    let mut file = disk.bytes();
    let start = usize::try_from(log.head().place(0)).expect("a small file");
    let count = bytes.len().min(file.len() - 4096 - start);
    file[start..start + count].copy_from_slice(&bytes[..count]);
    log.head().repair(&mut file, 0);
    let disk = SimDisk::from_bytes(SimOptions::default(), &file);
    if let Err(error) = log.head().replay(&disk) {
        ensure(typed(&error), || error.to_string())?;
    }
    match log.head().list(&disk) {
        Err(error) => ensure(typed(&error), || error.to_string()),
        Ok(_) => Ok(()),
    }
}

/// A group of one frame, and one of three.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for bodies in [&[&b"hello"[..]][..], &[b"a", b"", b"bodies of frames"]] {
        let bodies: Vec<Vec<u8>> = bodies.iter().map(|body| body.to_vec()).collect();
        let (disk, log) = written(&bodies).expect("there is room for a group");
        let start = usize::try_from(log.head().place(0)).expect("a small file");
        let bytes: usize = bodies.iter().map(|body| 8 + body.len()).sum();
        seeds.push(disk.bytes()[start..start + 96 + bytes].to_vec());
    }
    seeds
}

/// A ring with a group of these bodies; without any, one that is empty.
fn written(bodies: &[Vec<u8>]) -> Result<(SimDisk, Log), String> {
    let disk = SimDisk::new(SimOptions::default());
    disk.allocate(0, RING_OFFSET + 8 * 4096 + 4096).map_err(|error| error.to_string())?;
    let mut log = Log::new(&disk, 8, 0, 7);
    if !bodies.is_empty() {
        log.append(1000, bodies, true).map_err(|error| error.to_string())?;
    }
    Ok((disk, log))
}
