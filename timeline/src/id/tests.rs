use super::*;
use proptest::prelude::*;

fn field() -> impl Strategy<Value = Field<'static>> {
    prop_oneof![
        prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..12)
            .prop_map(|bytes| Field::Bytes(bytes.into())),
        "[a\\x00\\x01,:\\\\sitxü😀]{0,8}".prop_map(|text| Field::Text(text.into())),
        prop_oneof![any::<i64>(), -3i64..3].prop_map(Field::Integer),
    ]
}

fn fields() -> impl Strategy<Value = Vec<Field<'static>>> {
    prop::collection::vec(field(), 1..=ID_FIELDS_MAX)
        .prop_filter("an empty id", |fields| fields.len() > 1 || !encoding::is_empty(&fields[0]))
}

proptest! {
    #[test]
    fn fields_come_back(fields in fields()) {
        let id = TimelineId::from_fields(&fields).unwrap();
        prop_assert_eq!(id.fields(), fields);
        prop_assert_eq!(TimelineId::from_encoded(id.as_bytes()).unwrap(), id.clone());
        prop_assert_eq!(id.to_string().parse::<TimelineId>().unwrap(), id);
    }

    #[test]
    fn ids_order_as_their_fields(left in fields(), right in fields()) {
        let (a, b) = (TimelineId::from_fields(&left), TimelineId::from_fields(&right));
        let (a, b) = (a.unwrap(), b.unwrap());
        prop_assert_eq!(a.cmp(&b), left.cmp(&right));
        prop_assert_eq!(a.starts_with(&b), left.starts_with(&right));
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(0u8..6, 0..24)) {
        if let Ok(id) = TimelineId::from_encoded(&bytes) {
            let again = TimelineId::from_fields(&id.fields()).unwrap();
            prop_assert_eq!(again.as_bytes(), &bytes);
        }
    }

    #[test]
    fn hostile_text_never_panics(text in "[ixst:,\\\\0aü]{0,8}") {
        if let Ok(id) = text.parse::<TimelineId>() {
            prop_assert_eq!(id.to_string().parse::<TimelineId>().unwrap(), id);
        }
    }
}

#[test]
fn golden_bytes() {
    let id = TimelineId::new(("a\0", 1, &[0xFFu8][..])).unwrap();
    assert_eq!(id.as_bytes(), b"\x02a\x00\xFF\x00\x01\x03\x80\0\0\0\0\0\0\x01\x01\xFF\x00\x01");
    assert_eq!(TimelineId::new(-1).unwrap().as_bytes(), b"\x03\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF");
}

#[test]
fn notation() {
    for text in ["alice", "i:-42", "x:0AFF", "t:group,i:42", "s:i:42", "t:a\\,b,s:t:x", "a,b"] {
        assert_eq!(text.parse::<TimelineId>().unwrap().to_string(), text);
    }
    for text in ["", "s:", "x:", "i:", "i:4x", "x:0", "x:zz", "t:", "t:a,b,c,d,e", "t:a\\b,c"] {
        assert_eq!(text.parse::<TimelineId>().unwrap_err().kind(), ErrorKind::InvalidUse, "{text}");
    }
}

#[test]
fn limits() {
    assert!(TimelineId::new("x".repeat(ID_LENGTH_MAX - 3)).is_ok());
    let long = TimelineId::new("x".repeat(ID_LENGTH_MAX - 2)).unwrap_err();
    assert_eq!(long.kind(), ErrorKind::TooLarge);
    assert_eq!(TimelineId::new("").unwrap_err().kind(), ErrorKind::InvalidUse);
    assert_eq!(TimelineId::new(u64::MAX).unwrap_err().kind(), ErrorKind::TooLarge);
    assert!(TimelineId::new(("", "")).is_ok());
}
