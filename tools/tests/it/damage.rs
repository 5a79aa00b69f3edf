use super::Bench;
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A store with something in SSTables, closed in order.
fn store() -> Bench {
    let bench = Bench::new();
    let lines: String = (0..500).map(|number| format!("line {number}\n")).collect();
    bench.good_with("append a.tide --table t --timeline a --durability buffered", lines.as_bytes());
    bench.good_with("append a.tide --table t --timeline b --durability buffered", lines.as_bytes());
    bench
}

fn blocks(bench: &Bench) -> Vec<Value> {
    bench.json("dump a.tide table t --json")
}

#[test]
fn a_sound_store_is_good() {
    let bench = store();
    assert!(bench.good("verify a.tide").ends_with("good\n"));
    let summary = bench.json("verify a.tide --json").pop().unwrap();
    assert_eq!((&summary["faults"], &summary["tables"]), (&0.into(), &1.into()));
    assert_eq!(summary["sstable_timelines"], 2);
}

#[test]
fn a_flipped_byte_in_any_block_is_found_and_named() {
    let sound = store();
    let pristine = std::fs::read(sound.path("a.tide")).unwrap();
    let found = blocks(&sound);
    let kinds: Vec<&Value> = found.iter().filter(|it| it.get("block").is_some()).collect();
    assert!(kinds.len() >= 5, "{found:?}");
    for block in kinds {
        let offset = block["offset"].as_u64().unwrap() + block["length"].as_u64().unwrap() / 3;
        sound.write("a.tide", &pristine);
        sound.flip(offset);
        let run = sound.run("verify a.tide");
        assert_eq!(run.code, Some(1), "{block}: {run:?}");
        assert!(run.stdout.contains("at offset"), "{run:?}");
    }
}

#[test]
fn one_rotten_superblock_copy_is_named_and_the_store_still_opens() {
    let bench = store();
    bench.flip(16 * 1024 + 100);
    let run = bench.run("verify a.tide");
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stdout.contains("superblock copy at offset 16384"), "{run:?}");
    let run = bench.run("dump a.tide superblock --json");
    assert_eq!(run.code, Some(1), "{run:?}");
    let copies: Vec<Value> =
        run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let states: Vec<&str> = copies.iter().map(|copy| copy["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["valid", "damaged", "valid", "valid"]);
    bench.good("scan a.tide --table t --timeline a --limit 1");
    // A writer heals it.
    bench.good_with("append a.tide --table t --timeline a", b"more\n");
    bench.good("verify a.tide");
}

#[test]
fn a_damaged_manifest_is_dumped_as_far_as_it_can_be_read() {
    let bench = store();
    let records = bench.json("dump a.tide manifest --json");
    assert!(records.len() >= 2, "{records:?}");
    let last = records.last().unwrap()["offset"].as_u64().unwrap();
    bench.flip(last + 40);
    let run = bench.run("dump a.tide manifest --json");
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(run.stdout.lines().count(), records.len(), "{run:?}");
    assert!(run.stdout.lines().last().unwrap().contains("damage"), "{run:?}");
    assert_eq!(bench.run("verify a.tide").code, Some(1));
    assert_eq!(bench.run("scan a.tide --table t --timeline a").code, Some(1));
}

#[test]
fn a_file_that_was_cut_short_is_found() {
    let bench = store();
    let path = bench.path("a.tide");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 4096]).unwrap();
    let run = bench.run("verify a.tide");
    assert_eq!(run.code, Some(1), "{run:?}");
}

#[test]
fn a_block_is_shown_in_words() {
    let bench = store();
    let found = blocks(&bench);
    let block = found.iter().find(|it| it.get("block").is_some()).unwrap();
    let address = block["offset"].as_u64().unwrap() + 17;
    assert!(bench.good(&format!("dump a.tide block {address}")).contains("SSTable"));
    bench.bad("dump a.tide block 0", 2);
    assert!(bench.good("dump a.tide table t --entries").contains("line 499"));
}

/// A writer in another process that appends until it is told to stop.
struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
    child: Child,
}

impl Busy {
    fn start(bench: &Bench) -> Busy {
        let arguments = "append a.tide --table busy --timeline b --durability buffered";
        let mut child = bench.live_append(arguments);
        let stop = Arc::new(AtomicBool::new(false));
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let stopped = Arc::clone(&stop);
        let feed = std::thread::spawn(move || {
            let line = format!("{}\n", "a line that is not short ".repeat(20));
            while !stopped.load(Ordering::Relaxed) {
                input.write_all(line.as_bytes()).unwrap();
            }
        });
        let drain = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while output.read(&mut buffer).unwrap() > 0 {}
        });
        Busy { stop, threads: vec![feed, drain], child }
    }

    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn a_store_is_verified_at_a_pace_while_another_process_writes_it() {
    let bench = store();
    let block = blocks(&bench).into_iter().find(|it| it.get("block").is_some()).unwrap();
    let place = block["offset"].as_u64().unwrap() + 40;
    let busy = Busy::start(&bench);
    let mut bytes = 0;
    for pace in ["64MiB", "2MiB", "1MiB", "4MiB"] {
        let run = bench.run(&format!("verify a.tide --json --pace {pace}"));
        assert_eq!(run.code, Some(0), "{pace}: {run:?}");
        let summary: Value = serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap();
        bytes += summary["read_bytes"].as_u64().unwrap();
    }
    assert!(bytes > 1 << 20, "{bytes}");
    let file =
        std::fs::OpenOptions::new().read(true).write(true).open(bench.path("a.tide")).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 4], place).unwrap();
    let run = bench.run("verify a.tide --pace 8MiB");
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stdout.contains("SSTable") && run.stdout.contains("checksum"), "{run:?}");
    file.write_all_at(&byte, place).unwrap();
    busy.end();
    bench.good("verify a.tide");
}

#[test]
fn a_pace_that_is_none_is_refused() {
    let bench = store();
    assert!(bench.bad("verify a.tide --pace 1kb", 2).contains("not a number of bytes"));
    let complaint = bench.bad("verify a.tide --pace 1KiB", 2);
    assert!(complaint.contains("1024") && complaint.contains("65536"), "{complaint}");
}
