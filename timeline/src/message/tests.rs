use super::*;
use proptest::prelude::*;

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        ".{0,8}".prop_map(Value::Text),
        any::<i64>().prop_map(Value::Integer),
        (-1e9f64..1e9).prop_map(Value::Float),
        any::<bool>().prop_map(Value::Bool),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(Value::Bytes),
        prop::collection::vec(".{0,4}", 0..4).prop_map(Value::List),
    ]
}

proptest! {
    #[test]
    fn rows_come_back(columns in prop::collection::btree_map(".{1,5}", value(), 0..6)) {
        let mut row = Row::new();
        for (name, value) in columns {
            row.set(name, value);
        }
        let bytes = encoded(&row).unwrap();
        prop_assert_eq!(Row::decode(&bytes).unwrap(), row);
        for cut in 0..bytes.len() {
            prop_assert!(Row::decode(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn hostile_bytes_never_panic(mut bytes in prop::collection::vec(0u8..8, 0..40)) {
        if let Some(first) = bytes.first_mut() {
            *first = 1;
        }
        if let Ok(row) = Row::decode(&bytes) {
            prop_assert_eq!(encoded(&row).unwrap(), bytes.clone());
        }
        if let Ok(message) = StringMessage::decode(&bytes) {
            prop_assert_eq!(encoded(&message).unwrap(), bytes.clone());
        }
        let _ = DistinctMessage::<Row>::decode(&bytes);
    }
}

#[test]
fn golden_bytes() {
    let row = Row::new().with("b", true).with("a", 1).with("l", vec!["x".to_string()]);
    let expected = b"\x01\x03\0\0\0\x01\0\0\0a\x03\x01\0\0\0\0\0\0\0\
        \x01\0\0\0b\x05\x01\x01\0\0\0l\x07\x01\0\0\0\x01\0\0\0x";
    assert_eq!(encoded(&row).unwrap(), expected);

    let mut message = StringMessage::with_id("m", "hi");
    message.add_attribute("k", "v").unwrap();
    let expected = b"\x01\x01\x01\0\0\0m\x01\0\0\0\x01\0\0\0k\x01\0\0\0vhi";
    assert_eq!(encoded(&message).unwrap(), expected);
    assert_eq!(StringMessage::decode(expected).unwrap(), message);

    let distinct = DistinctMessage::with_id("k", vec![9u8]).unwrap();
    assert_eq!(encoded(&distinct).unwrap(), b"\x01\x01\0\0\0k\x09");
    assert_eq!(DistinctMessage::decode(b"\x01\x01\0\0\0k\x09").unwrap(), distinct);
}

#[test]
fn hostile_counts_allocate_nothing() {
    let list = b"\x01\x01\0\0\0\x01\0\0\0a\x07\xFF\xFF\xFF\xFF";
    assert_eq!(Row::decode(list).unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(Row::decode(b"\x01\xFF\xFF\xFF\xFF").unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(Row::decode(b"\x02\0\0\0\0").unwrap_err().kind(), ErrorKind::Decode);
}

/// An error says which part of the message it is of, and shows no more of a name than fits a line.
#[test]
fn errors_name_the_column_or_the_attribute() {
    let row = b"\x01\x02\0\0\0\x01\0\0\0a\x01\x01\0\0\0b\x05\x07";
    let error = Row::decode(row).unwrap_err();
    assert_eq!(error.to_string(), "row, column \"b\": a boolean of 7");
    let row = b"\x01\x01\0\0\0\x01\0\0\0a\x01\x09";
    assert_eq!(Row::decode(row).unwrap_err().to_string(), "row: 1 bytes too many");
    let message = b"\x01\0\x01\0\0\0\x01\0\0\0k\x01\0\0\0\xFF";
    let error = StringMessage::decode(message).unwrap_err();
    assert!(error.to_string().starts_with("string message, attribute \"k\": "), "{error}");
    let name = "n".repeat(100_000);
    let mut bytes = encoded(&Row::new().with(&name[..], true)).unwrap();
    *bytes.last_mut().unwrap() = 2;
    let error = Row::decode(&bytes).unwrap_err().to_string();
    assert!(error.len() < 150 && error.contains("a boolean of 2"), "{error}");
}

#[test]
fn attributes_follow_the_rules() {
    let mut attributes = Attributes::new();
    for (name, value) in [("", "v"), ("n", ""), ("__n", "v")] {
        let error = attributes.add(name, value).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidUse);
    }
    assert_eq!(attributes.update("n", "v").unwrap_err().kind(), ErrorKind::InvalidUse);
    attributes.add("n", "v").unwrap();
    attributes.update("n", "w").unwrap();
    assert_eq!(attributes.get("n"), Some("w"));
}

#[cfg(feature = "serde")]
#[test]
fn serde_types_are_messages() {
    #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Post {
        text: String,
    }
    let post = Json(Post { text: "hi".into() });
    assert_eq!(encoded(&post).unwrap(), br#"{"text":"hi"}"#);
    assert_eq!(Json::<Post>::decode(br#"{"text":"hi"}"#).unwrap(), post);
    assert_eq!(Json::<Post>::decode(b"{}").unwrap_err().kind(), ErrorKind::Decode);
}
