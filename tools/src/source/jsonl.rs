//! One JSON object a line: `{"timeline", "id"?, "time_ms"?, "payload" or "payload_base64"}`.
//!
//! `timeline` is in the notation of the command line. `id` is the sequence id, for tables whose ids
//! the caller gives. A field that is not known is an error: nothing is left out in silence.

use super::Row;
use crate::text::from_base64;
use serde_json::{Map, Value};
use tidelog::TimelineId;

/// Takes a line apart. The error says what is wrong with it.
pub(crate) fn parse(line: &[u8]) -> Result<Row, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let Value::Object(mut object) = value else {
        return Err("not a JSON object".to_owned());
    };
    let timeline = match object.remove("timeline") {
        Some(Value::String(text)) => {
            text.parse::<TimelineId>().map_err(|error| error.to_string())?
        }
        Some(_) => return Err("\"timeline\" is not a string".to_owned()),
        None => return Err("\"timeline\" is missing".to_owned()),
    };
    let seq = number(&mut object, "id", Value::as_u64)?;
    let event_ms = number(&mut object, "time_ms", Value::as_i64)?;
    let payload = payload(&mut object)?;
    if let Some((name, _)) = object.into_iter().next() {
        return Err(format!("the field {name:?} is not known"));
    }
    Ok(Row { timeline: timeline.as_bytes().to_vec(), seq, event_ms, payload })
}

fn number<T>(
    object: &mut Map<String, Value>,
    name: &str,
    read: fn(&Value) -> Option<T>,
) -> Result<Option<T>, String> {
    match object.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => read(&value)
            .map(Some)
            .ok_or_else(|| format!("{name:?} is {value}, not a fitting integer")),
    }
}

fn payload(object: &mut Map<String, Value>) -> Result<Vec<u8>, String> {
    match (object.remove("payload"), object.remove("payload_base64")) {
        (Some(Value::String(text)), None) => Ok(text.into_bytes()),
        (None, Some(Value::String(text))) => {
            from_base64(&text).ok_or_else(|| "\"payload_base64\" is not base64".to_owned())
        }
        (None, None) => Err("\"payload\" is missing".to_owned()),
        (Some(_), Some(_)) => Err("\"payload\" and \"payload_base64\" together".to_owned()),
        _ => Err("the payload is not a string".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_read() {
        let row = parse(br#"{"timeline":"i:42","id":7,"time_ms":-5,"payload":"h\u00e9"}"#).unwrap();
        assert_eq!((row.seq, row.event_ms), (Some(7), Some(-5)));
        assert_eq!(row.payload, "hé".as_bytes());
        let row = parse(br#"{"timeline":"a","payload_base64":"/w=="}"#).unwrap();
        assert_eq!((row.seq, row.event_ms, row.payload), (None, None, vec![0xFF]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |line: &str, expected: &str| {
            let error = parse(line.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check("", "EOF");
        check("[1]", "not a JSON object");
        check(r#"{"payload":"x"}"#, "timeline");
        check(r#"{"timeline":"a"}"#, "payload");
        check(r#"{"timeline":"i:x","payload":"x"}"#, "");
        check(r#"{"timeline":"a","payload":"x","tume_ms":1}"#, "tume_ms");
        check(r#"{"timeline":"a","payload":"x","id":-1}"#, "-1");
        check(r#"{"timeline":"a","payload":"x","time_ms":1.5}"#, "1.5");
    }

    proptest! {
        #[test]
        fn no_line_panics(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&line);
            let _ = super::super::irc::parse(&line);
        }
    }
}
