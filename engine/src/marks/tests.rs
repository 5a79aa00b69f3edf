use super::*;
use proptest::prelude::*;

#[test]
fn golden_bytes_of_marks() {
    let marks = TimelineMarks {
        trimmed_below: 258,
        deleted_below: 3,
        ttl: Said::Some(60_000),
        said_at_ms: 7,
        keep_last: Said::None,
        has_ranges: true,
        expired_before_ms: 5,
    };
    let expected = [
        &[7u8][..],
        &258u64.to_le_bytes(),
        &3u64.to_le_bytes(),
        &60_000u64.to_le_bytes(),
        &7u64.to_le_bytes(),
        &0u64.to_le_bytes(),
        &5u64.to_le_bytes(),
    ]
    .concat();
    assert_eq!(marks.encode(), expected);
    assert_eq!(expected.len(), TIMELINE_MARKS_BYTES);
    assert_eq!(TimelineMarks::decode(&expected).unwrap(), marks);
    assert_eq!(marks.low_water(), 258);
}

#[test]
fn golden_bytes_of_a_key_and_a_range() {
    let key = MarkKey { table: TableId(16), id: b"ab", kind: MarkKind::Range, from: 258 };
    let expected = b"\0\0\0\x10\0\x02ab\x02\0\0\0\0\0\0\x01\x02";
    assert_eq!(key.encode(), expected);
    assert_eq!(MarkKey::decode(expected), Some(key));
    assert_eq!(encode_range_end(3), [3, 0, 0, 0, 0, 0, 0, 0x80]);
    assert_eq!(decode_range_end(&encode_range_end(u64::MAX)), Some(u64::MAX));
    // The order of the values is that of the i64s which `Max` compares.
    let as_i64 = |end| i64::from_le_bytes(encode_range_end(end));
    assert!(as_i64(1) < as_i64(2) && as_i64(2) < as_i64(u64::MAX));
}

#[test]
fn what_cannot_be_a_mark_is_refused() {
    let good = TimelineMarks::default().encode();
    TimelineMarks::decode(&good).unwrap();
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        TimelineMarks::decode(&bytes)
    };
    assert!(changed(0, 8).is_err(), "an unknown flag");
    assert!(changed(17, 1).is_err(), "a time to live without its flag");
    assert!(changed(25, 1).is_err(), "a time without a time to live");
    assert!(changed(33, 1).is_err(), "a number without its flag");
    assert!(TimelineMarks::decode(&good[1..]).is_err());
    assert!(TimelineMarks::decode(&[&good[..], &[0]].concat()).is_err());
    for key in [
        &b""[..],
        b"\0\0\0\x10\0\x02a",
        b"\0\0\0\x10\0\x02ab\x03\0\0\0\0\0\0\0\x01",
        b"\0\0\0\x10\0\x02ab\x01\0\0\0\0\0\0\0\x01",
        b"\0\0\0\x10\0\x02ab\x02\0\0\0\0\0\0\0\0",
        b"\0\0\0\x10\0\x02ab\x02\0\0\0\0\0\0\0\x01\0",
    ] {
        assert_eq!(MarkKey::decode(key), None, "{key:?}");
    }
}

#[test]
fn an_expired_entry_stays_expired_when_the_time_to_live_is_raised() {
    let said = |ttl, at| TimelineMarks { ttl, said_at_ms: at, ..TimelineMarks::default() };
    let short = said(Said::Some(10), 100);
    let marks = TimelineMarks::merge(&short, &said(Said::None, 200));
    // At 200 everything committed before 191 was gone.
    assert_eq!(marks.alive_from_ms(200), short.alive_from_ms(200));
    assert_eq!(marks.alive_from_ms(10_000), 191);
    let lower = TimelineMarks { trimmed_below: 3, ..TimelineMarks::default() };
    let higher = TimelineMarks { trimmed_below: 9, ..TimelineMarks::default() };
    assert_eq!(TimelineMarks::merge(&higher, &lower).low_water(), 9, "a mark never falls");
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![Just(Said::Nothing), Just(Said::None), (1u64..50).prop_map(Said::Some)]
}

fn marks() -> impl Strategy<Value = TimelineMarks> {
    let numbers = (0u64..9, 0u64..9, 0u64..9);
    (numbers, said(), said(), 1u64..99, any::<bool>()).prop_map(
        |((trimmed_below, deleted_below, expired_before_ms), ttl, keep_last, at, has_ranges)| {
            let said_at_ms = if ttl == Said::Nothing { 0 } else { at };
            TimelineMarks {
                trimmed_below,
                deleted_below,
                ttl,
                said_at_ms,
                keep_last,
                has_ranges,
                expired_before_ms,
            }
        },
    )
}

proptest! {
    #[test]
    fn merging_is_associative(old in marks(), middle in marks(), new in marks()) {
        let merge = TimelineMarks::merge;
        prop_assert_eq!(
            merge(&merge(&old, &middle), &new),
            merge(&old, &merge(&middle, &new))
        );
    }

    #[test]
    fn what_is_encoded_is_decoded(marks in marks()) {
        prop_assert_eq!(TimelineMarks::decode(&marks.encode()).unwrap(), marks);
    }
}
