use super::Bench;
use serde_json::Value;

/// A store with something in SSTables, closed in order.
fn store() -> Bench {
    let bench = Bench::new();
    let lines: String = (0..500).map(|number| format!("line {number}\n")).collect();
    bench.good_with("append a.tide --table t --timeline a --durability buffered", lines.as_bytes());
    bench.good_with("append a.tide --table t --timeline b --durability buffered", lines.as_bytes());
    bench
}

fn flip(bench: &Bench, offset: u64) {
    let path = bench.path("a.tide");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[usize::try_from(offset).unwrap()] ^= 0x40;
    std::fs::write(&path, bytes).unwrap();
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
        flip(&sound, offset);
        let run = sound.run("verify a.tide");
        assert_eq!(run.code, Some(1), "{block}: {run:?}");
        assert!(run.stdout.contains("at offset"), "{run:?}");
    }
}

#[test]
fn one_rotten_superblock_copy_is_named_and_the_store_still_opens() {
    let bench = store();
    flip(&bench, 16 * 1024 + 100);
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
    flip(&bench, last + 40);
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
