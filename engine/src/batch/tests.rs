use super::*;
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
        &[1u8, 1][..],
        &5i64.to_le_bytes(),
        &3u32.to_le_bytes(),
        b"xyz",
        &1u32.to_le_bytes(),
        &16u32.to_le_bytes(),
        &2u16.to_le_bytes(),
        &7u64.to_le_bytes(),
        b"ab",
    ]
    .concat();
    assert_eq!(batch.body(), expected);
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
    let targets = [(TableId(16), &b"room"[..]), (TableId(17), b"ann"), (TableId(17), b"bob")];
    batch.fan_out(targets, b"hi", None, None, true).unwrap();
    batch.assign(0, 9);
    let message = message_at(batch.body(), 0).unwrap();
    assert_eq!(message.origin(TableId(16), b"room"), None);
    let origin = Origin { table: TableId(16), key: b"room"[..].into(), seq: 9 };
    assert_eq!(message.origin(TableId(17), b"bob"), Some(origin));
}

#[test]
fn limits_are_named() {
    let mut batch = WriteBatch::new();
    assert!(matches!(batch.put(TableId(16), b"", b""), Err(Error::InvalidUse { .. })));
    let long = vec![0; limits::KEY_LENGTH_MAX + 1];
    let error = batch.append(TableId(16), &long, b"", None).unwrap_err();
    assert_eq!(error.to_string(), "too large: key length is 1025, the limit is 1024");
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
