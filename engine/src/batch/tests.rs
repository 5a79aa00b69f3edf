use super::*;
use crate::entry::OriginRef;
use crate::error::ErrorKind;
use proptest::prelude::*;

fn targets_of(body: &[u8]) -> Vec<(u32, Vec<u8>, u64)> {
    let mut found = Vec::new();
    for op in decode(body) {
        if let Op::Message(message) = op.expect("the batch wrote it") {
            found.extend(message.targets_placed().map(|(t, _)| (t.table.0, t.key.to_vec(), t.seq)));
        }
    }
    found
}

#[test]
fn golden_bytes_of_a_message() {
    let mut batch = WriteBatch::new();
    batch.append(TableId(16), b"ab", b"xyz", Some(5)).unwrap();
    batch.assign(0, 7);
    let expected = [
        &[128u8 + 32 + 1][..],
        &5i64.to_le_bytes(),
        &[3],
        b"xyz",
        &7u32.to_le_bytes(),
        &[16, 2],
        b"ab",
    ]
    .concat();
    assert_eq!(batch.body(), expected);
}

#[test]
fn golden_bytes_of_a_fan_out() {
    let mut batch = WriteBatch::new();
    let targets = [(TableId(16), &b"a"[..]), (TableId(300), b"bc")];
    batch.fan_out(targets, b"xyz", None, None, true).unwrap();
    batch.assign(0, 7);
    batch.assign(1, u64::from(u32::MAX));
    let front = [&[128u8 + 4][..], &[3], b"xyz", &[2]].concat();
    let first = [&7u32.to_le_bytes()[..], &[16, 1], b"a"].concat();
    let second = [&u32::MAX.to_le_bytes()[..], &[0xac, 0x02, 2], b"bc"].concat();
    assert_eq!(batch.body(), [&front[..], &first, &second].concat());
    // One target has one form, and a count is never larger than what there is.
    for (count, target_count) in [(0, 0), (1, 1), (3, 2)] {
        let mut body = front.clone();
        body[5] = count;
        body.extend([&first[..], &second].concat().repeat(2)[..7 * target_count].iter());
        assert!(decode(&body).next().unwrap().is_err(), "{count} targets");
    }
}

/// Messages of all shapes, marks and large payloads, in the order of the calls.
fn mixed(wide_first: bool) -> WriteBatch {
    let mut batch = WriteBatch::new().with_large_from(40);
    if wide_first {
        batch.append_at(TableId(16), b"given", 1 << 32, b"", None).unwrap();
    }
    batch.trim(TableId(16), b"ab", 3).unwrap();
    batch.append(TableId(16), b"ab", b"xyz", Some(5)).unwrap();
    let targets = [(TableId(16), &b"a"[..]), (TableId(300), b"bc"), (TableId(16), b"ab")];
    batch.fan_out(targets, &[7; 50], None, None, true).unwrap();
    batch.put(TableId(17), b"k", b"v").unwrap();
    batch.delete_timeline(TableId(16), b"bc").unwrap();
    batch.append_at(TableId(16), b"given", 77, b"some", None).unwrap();
    if !wide_first {
        batch.append_at(TableId(16), b"given", 1 << 32, b"", None).unwrap();
    }
    batch
}

#[test]
fn a_batch_made_wide_is_the_batch_built_wide() {
    // Story: the last message is the first to need a wide target, when all else is written.
    let narrow = mixed(false);
    let wide = mixed(true);
    // One has the empty message at its end, the other one at its front.
    let empty = 1 + 1 + 8 + 2 + 5;
    assert_eq!(narrow.body()[..narrow.byte_count() - empty], wide.body()[empty..]);
    for batch in [&narrow, &wide] {
        assert!(batch.holds_seq(u64::MAX));
        assert_eq!(batch.target(0).seq.max(batch.target(5).seq), 1 << 32);
        assert!(decode(batch.body()).all(|op| op.is_ok()));
    }
    for index in 0..5 {
        assert_eq!(narrow.target(index), wide.target(index + 1), "target {index}");
    }
    for index in 0..2 {
        assert_eq!(narrow.mark_at(index).0.key, wide.mark_at(index).0.key);
        assert_eq!(narrow.mark_at(index).1 + 1, wide.mark_at(index).1);
    }
    assert_eq!(narrow.large_tables(0).collect::<Vec<_>>(), [16, 300, 16].map(TableId));
}

#[test]
fn a_long_timeline_gets_wide_targets_in_time() {
    let mut batch = WriteBatch::new();
    batch.append(TableId(16), b"ab", b"xyz", None).unwrap();
    batch.widen_for([1, (1 << 31) - 1].into_iter());
    assert!(batch.holds_seq(u64::from(u32::MAX)) && !batch.holds_seq(1 << 32));
    let narrow = batch.byte_count();
    batch.widen_for([1, 1 << 31].into_iter());
    assert_eq!(batch.byte_count(), narrow + 4);
    batch.assign(0, 1 << 40);
    assert_eq!((batch.seq(0), batch.target(0).seq), (1 << 40, 1 << 40));
    assert_eq!(targets_of(batch.body()), [(16, b"ab".to_vec(), 1 << 40)]);
}

#[test]
fn golden_bytes_of_a_message_with_a_time_to_live() {
    let mut batch = WriteBatch::new();
    let origin = Origin { table: TableId(300), key: b"room"[..].into(), seq: 5 };
    let options = AppendOptions {
        event_ms: Some(-1),
        ttl: Some(Duration::from_secs(1)),
        origin: Some(&origin),
        first_is_origin: false,
    };
    batch.append_with([(TableId(16), &b"a"[..])], b"x", &options).unwrap();
    let expected = [
        &[128u8 + 32 + 11][..],
        &(-1i64).to_le_bytes(),
        &[0xe8, 0x07],
        &5u64.to_le_bytes(),
        &[0xac, 0x02, 4],
        b"room",
        &[1],
        b"x",
        &0u32.to_le_bytes(),
        &[16, 1],
        b"a",
    ]
    .concat();
    assert_eq!(batch.body(), expected);
    assert_eq!(message_at(batch.body(), 0).unwrap().ttl_ms, Some(1000));
    let mut nothing = expected;
    nothing[9..11].copy_from_slice(&[0x80, 0x00]);
    assert!(decode(&nothing).next().unwrap().is_err());
    nothing.remove(9);
    assert!(decode(&nothing).next().unwrap().is_err(), "a time to live of nothing");
}

#[test]
fn golden_bytes_of_a_keyed_write() {
    let mut batch = WriteBatch::new();
    batch.put(TableId(17), b"k", b"vv").unwrap();
    let expected = [
        &[2u8, 1][..],
        &17u32.to_le_bytes(),
        &1u16.to_le_bytes(),
        b"k",
        &2u32.to_le_bytes(),
        b"vv",
    ]
    .concat();
    assert_eq!(batch.body(), expected);
    let Some(Ok(Op::Keyed { index: 0, operation, table, key, value })) =
        decode(batch.body()).next()
    else {
        panic!("a keyed write");
    };
    assert_eq!((operation, table), (KeyedOperation::Put, TableId(17)));
    assert_eq!((&batch.body()[key], &batch.body()[value]), (&b"k"[..], &b"vv"[..]));
}

#[test]
fn golden_bytes_of_amendments() {
    let mut batch = WriteBatch::new();
    batch.amend(TableId(17), b"k", 9, b"vv").unwrap();
    batch.retract(TableId(18), b"kk", 8).unwrap();
    let expected = [
        &[3u8][..],
        &9u64.to_le_bytes(),
        &[17, 1],
        b"k",
        &3u32.to_le_bytes(),
        b"\x01vv",
        &[3u8],
        &8u64.to_le_bytes(),
        &[18, 2],
        b"kk",
        &1u32.to_le_bytes(),
        b"\x02",
    ]
    .concat();
    assert_eq!(batch.body(), expected);
    assert!(batch.has_amendments() && !batch.has_keyed_writes());
    assert_eq!(batch.append_count(), 0);
    let found: Vec<_> = decode(batch.body())
        .map(|op| match op {
            Ok(Op::Amend { index, target, value }) => (index, target, &batch.body()[value]),
            other => panic!("{other:?}"),
        })
        .collect();
    let target = |table, key, seq| Target { table: TableId(table), key, seq };
    assert_eq!(found[0], (0, target(17, b"k", 9), &b"\x01vv"[..]));
    assert_eq!(found[1], (1, target(18, b"kk", 8), &b"\x02"[..]));
}

#[test]
fn records_that_nobody_could_have_written_are_refused() {
    let mut batch = WriteBatch::new();
    batch.amend(TableId(17), b"k", 9, b"vv").unwrap();
    let refused = |place: usize, byte: u8| {
        let mut body = batch.body().to_vec();
        body[place] = byte;
        decode(&body).next().unwrap().is_err()
    };
    assert!(refused(1, 0), "seq 0");
    assert!(refused(16, 3), "neither replaced nor retracted");
    assert!(refused(16, 2), "retracted, with a payload");
    assert!(refused(12, 0), "no value");
    assert!(!refused(17, 0));
}

#[test]
fn golden_bytes_of_a_mark() {
    let mut batch = WriteBatch::new();
    batch.delete_range(TableId(16), b"ab", 5..=300).unwrap();
    batch.settle_mark(0, 258, 0);
    batch.settle_mark(1, 258, 0);
    let head = |kind: u8, from: u64| {
        [&[4u8, kind][..], &16u32.to_le_bytes(), &2u16.to_le_bytes(), &from.to_le_bytes(), b"ab"]
            .concat()
    };
    let expected =
        [head(1, 0), [&[4u8][..], &[0; 48]].concat(), head(2, 5), vec![2, 1, 0, 0, 0, 0, 0, 0x80]]
            .concat();
    assert_eq!(batch.body(), expected);
    let read: Vec<_> = decode(batch.body()).map(Result::unwrap).collect();
    let [Op::Mark { index: 0, .. }, Op::Mark { index: 1, mark }] = &read[..] else {
        panic!("two marks: {read:?}");
    };
    assert_eq!((mark.table, mark.key, mark.from), (TableId(16), &b"ab"[..], 5));
    for at in [1, 16, 17, 18] {
        let mut damaged = expected.clone();
        damaged[at] = 99;
        let kept = at == 16 || at == 17;
        assert_eq!(decode(&damaged).all(|op| op.is_ok()), kept, "byte {at}");
    }
    // Marks of the engine's own tables cannot be.
    let mut foreign = expected.clone();
    foreign[2] = 3;
    assert!(decode(&foreign).next().unwrap().is_err());
}

#[test]
fn a_fan_out_names_its_first_target_as_origin() {
    let mut batch = WriteBatch::new();
    let targets = [(TableId(16), &b"room"[..]), (TableId(17), b"ann"), (TableId(16), b"room")];
    batch.fan_out(targets, b"hi", None, None, true).unwrap();
    batch.assign(0, 9);
    let message = message_at(batch.body(), 0).unwrap();
    let first = OriginRef { table: TableId(16), key: b"room", seq: 9 };
    assert!(message.is_origin(first));
    assert_eq!(message.origin(first), None);
    let copies = [OriginRef { seq: 10, ..first }, OriginRef { table: TableId(17), ..first }];
    for copy in copies {
        assert!(!message.is_origin(copy));
        assert_eq!(message.origin(copy), Some(first));
    }
}

#[test]
fn limits_are_named() {
    let mut batch = WriteBatch::new();
    assert!(matches!(batch.put(TableId(16), b"", b""), Err(Error::InvalidUse { .. })));
    let long = vec![0; limits::KEY_LENGTH_MAX + 1];
    let error = batch.append(TableId(16), &long, b"", None).unwrap_err();
    assert_eq!(error.to_string(), "too large: key length is 1025, the limit is 1024");
    let error = batch.retract(TableId(16), b"k", 0).unwrap_err();
    assert!(error.to_string().starts_with("too large: sequence id is 0"), "{error}");
    assert!(batch.amend(TableId(16), b"", 1, b"").is_err());
    assert!(batch.is_empty());
}

proptest! {
    #[test]
    fn what_is_written_is_read(messages in prop::collection::vec(
        (prop::collection::vec((1u32..9, prop::collection::vec(any::<u8>(), 1..20)), 1..5),
         prop::collection::vec(any::<u8>(), 0..50), any::<Option<i64>>()), 0..8)) {
        let mut batch = WriteBatch::new();
        let mut expected = Vec::new();
        for (targets, payload, event) in &messages {
            let list = targets.iter().map(|(table, key)| (TableId(*table), &key[..]));
            batch.fan_out(list, payload, *event, None, false).unwrap();
            expected.extend(targets.iter().map(|(table, key)| (*table, key.clone(), 0)));
        }
        prop_assert_eq!(targets_of(batch.body()), expected);
    }

    #[test]
    fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for op in decode(&bytes) {
            if let Ok(Op::Message(message)) = op {
                prop_assert!(message.targets_placed().count() == message.target_count);
                prop_assert!(message_at(&bytes, message.offset).is_ok());
            }
        }
    }
}

#[test]
fn many_messages_are_what_each_of_them_is() {
    let keys: Vec<String> = (0..300).map(|number| format!("key {number}")).collect();
    let payloads: Vec<Vec<u8>> = (0..300).map(|number| vec![7; number * 5]).collect();
    for (wide, large_from) in [(false, usize::MAX), (true, usize::MAX), (false, 1000)] {
        let empty = || {
            let mut batch = WriteBatch::new().with_large_from(large_from);
            if wide {
                batch.append_at(TableId(17), b"wide", 1 << 40, b"x", None).unwrap();
            }
            batch
        };
        let (mut together, mut one_by_one) = (empty(), empty());
        let messages = || keys.iter().zip(payloads.iter().map(|payload| &payload[..]));
        together.append_all(TableId(16), messages()).unwrap();
        for (key, payload) in messages() {
            one_by_one.append(TableId(16), key.as_bytes(), payload, None).unwrap();
        }
        let options = AppendOptions::default();
        let mut in_full = empty();
        for (key, payload) in messages() {
            in_full.append_with([(TableId(16), key.as_bytes())], payload, &options).unwrap();
        }
        for batch in [&one_by_one, &in_full] {
            assert_eq!(together.body(), batch.body());
            assert_eq!(together.append_count(), batch.append_count());
            assert_eq!(together.input_bytes(), batch.input_bytes());
            assert_eq!(together.large_count(), batch.large_count());
        }
        // One that is refused takes those before it along.
        let refused = messages().map(|(key, payload)| (&key[..], payload)).chain([("", &b"x"[..])]);
        together.append_all(TableId(16), refused).unwrap_err();
        assert_eq!(together.body(), in_full.body());
        assert_eq!(together.targets().count(), in_full.targets().count());
        assert_eq!(together.input_bytes(), in_full.input_bytes());
        assert_eq!(together.large_count(), in_full.large_count());
    }
    let mut nothing = WriteBatch::new();
    nothing.append_all(TableId(16), std::iter::empty::<(&[u8], &[u8])>()).unwrap();
    assert!(nothing.is_empty());
}

#[test]
fn messages_without_an_end_are_refused() {
    let mut batch = WriteBatch::new();
    batch.append(TableId(16), b"before", b"x", None).unwrap();
    let before = batch.body().to_vec();
    let error = batch.append_all(TableId(16), std::iter::repeat(("key", &[7; 1000][..])));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!((batch.body(), batch.append_count()), (&before[..], 1));
}
