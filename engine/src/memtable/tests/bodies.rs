//! Bodies that are applied: the leader's, which are not decoded, give what recovery reads of them,
//! and what cannot have been committed is refused.

use super::{KEYED, Leader, TABLE};
use crate::batch::WriteBatch;
use crate::entry::{Direction, Entry};
use crate::memtable::{Memtable, RunHint};
use std::ops::Bound;
use std::sync::Arc;

/// Recovery decodes bodies, and looks the runs of many targets up together.
#[test]
fn a_decoded_body_gives_what_an_appended_one_does() {
    let mut leader = Leader::new(1, 1);
    let recovered = Arc::new(Memtable::new(1, 1));
    for commit in 1..6u64 {
        let mut batch = WriteBatch::new();
        for index in 0..150u64 {
            // Some come twice in a row, some are new in the third body.
            let key = format!("{}", index / 2 * commit.min(3) % 61);
            let payload = format!("{commit} {index}");
            batch.append(TABLE, key.as_bytes(), payload.as_bytes(), None).unwrap();
            if index % 40 == 0 {
                batch.put(KEYED, key.as_bytes(), payload.as_bytes()).unwrap();
            }
        }
        leader.commit(batch, commit, 10 * commit);
        let body = leader.memtable.frames.get(u32::try_from(commit).unwrap() - 1);
        recovered.apply(Arc::new(body.to_vec()), commit, 10 * commit).unwrap();
    }
    assert_eq!(recovered.entries(), leader.memtable.entries());
    assert_eq!(recovered.commits(), leader.memtable.commits());
    let entries = |memtable: &Arc<Memtable>| -> Vec<Vec<Entry>> {
        let runs = memtable.runs_sorted(TABLE, Bound::Unbounded);
        let entries = runs.iter().map(|run| run.cursor(0, Direction::Forward));
        entries.map(|cursor| cursor.map(Result::unwrap).collect()).collect()
    };
    assert_eq!(entries(&recovered), entries(&leader.memtable));
    assert_eq!(entries(&recovered).len(), 61);
}

#[test]
fn what_is_appended_undecoded_is_what_decoding_gives() {
    // Story: the leader appends what its batch knows; after a crash recovery decodes the body.
    let (mut leader, recovered) = (Leader::new(5, 0), Arc::new(Memtable::new(5, 0)));
    let keys: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n; usize::from(n) + 1]).collect();
    for commit in 5..25u64 {
        let mut batch = WriteBatch::new();
        let picked = keys.iter().zip(0..).filter(|(_, n)| (commit + n) % 3 != 0);
        let picked: Vec<_> = picked.map(|(key, _)| (TABLE, &key[..])).collect();
        batch.fan_out(picked.iter().copied(), &commit.to_le_bytes(), None, None, true).unwrap();
        for (table, key) in picked.iter().rev().step_by(2) {
            batch.append(*table, key, b"alone", Some(9)).unwrap();
        }
        let frame = u32::try_from(commit - 5).unwrap();
        leader.commit(batch, commit, commit * 10);
        let body = Arc::new(leader.memtable.frames.get(frame).to_vec());
        recovered.apply(body, commit, commit * 10).unwrap();
    }
    assert_eq!(leader.memtable.entries(), recovered.entries());
    assert_eq!(leader.memtable.commits(), recovered.commits());
    for key in &keys {
        let entries = |memtable: &Arc<Memtable>| -> Vec<Entry> {
            let run = memtable.run(TABLE, key).unwrap();
            assert_eq!(run.key(), key);
            run.cursor(0, Direction::Forward).map(Result::unwrap).collect()
        };
        assert_eq!(entries(&leader.memtable), entries(&recovered));
    }
}

/// The log has both: who is told of two must never find one.
#[test]
#[should_panic(expected = "one seq and one hint a target")]
fn no_target_of_a_body_is_left_out() {
    let mut batch = WriteBatch::new();
    batch.fan_out([(TABLE, &b"a"[..]), (TABLE, b"b")], b"x", None, None, false).unwrap();
    let appends = batch.into_appends().expect("nothing but a message");
    let hints = [RunHint::new()];
    let _ = Memtable::new(1, 0).append(appends, &[1, 1], 1, 0, hints.iter());
}

#[test]
fn deltas_that_do_not_fit_are_said_beforehand() {
    let memtable = Memtable::new(100, 5000);
    let far = u64::from(u32::MAX);
    assert!(memtable.fits(100 + far, 5000 + far, 100, 1));
    assert!(!memtable.fits(101 + far, 5000, 100, 1));
    assert!(!memtable.fits(100, 5001 + far, 100, 1));
    assert!(!memtable.fits(99, 5000, 100, 1));
    assert!(!memtable.fits(100, 4999, 100, 1));
    assert!(!memtable.fits(100, 5000, 100, 200_000_000));
    assert!(memtable.fits(100, 5000, 2 * crate::limits::BATCH_BYTES_MAX, 2_500_000));
}

#[test]
fn bodies_that_cannot_be_are_refused() {
    let what = |body: Vec<u8>, commit, time_ms| {
        let memtable = Arc::new(Memtable::new(10, 10));
        let mut batch = WriteBatch::new();
        batch.append_at(TABLE, b"k", 5, b"x", None).unwrap();
        memtable.apply(Arc::new(batch.into_body()), 11, 11).unwrap();
        let result = memtable.apply(Arc::new(body), commit, time_ms).map_err(|error| error.what);
        assert_eq!(memtable.commits(), Some((11, if result.is_ok() { commit } else { 11 })));
        result
    };
    let with_seq = |seq: u64| {
        let mut batch = WriteBatch::new();
        batch.append(TABLE, b"k", b"x", None).unwrap();
        batch.widen_for([seq].into_iter());
        batch.assign(0, seq);
        batch.into_body()
    };
    assert_eq!(what(with_seq(6), 12, 11), Ok(()));
    assert_eq!(what(with_seq(5), 12, 11), Err("target seq"));
    assert_eq!(what(with_seq(0), 12, 11), Err("target seq"));
    assert_eq!(what(with_seq(u64::MAX), 12, 11), Err("target seq"));
    assert_eq!(what(with_seq(6), 11, 11), Err("commit number"));
    assert_eq!(what(with_seq(6), 9, 11), Err("commit number"));
    assert_eq!(what(with_seq(6), 12, 10), Err("commit number"));
    assert_eq!(what(with_seq(6), 12, u64::MAX), Err("commit number"));
    assert_eq!(what(vec![9], 12, 11), Err("record kind"));
    assert_eq!(what(with_seq(6)[..9].to_vec(), 12, 11), Err("target key"));
}
