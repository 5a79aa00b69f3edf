//! Payloads, keys and numbers as people and as JSON readers want them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use tidelog::TimelineId;

/// A payload for a terminal: UTF-8 where it is, control characters escaped so that a message can
/// never steer the terminal; otherwise its length and hexadecimal beginning.
pub(crate) fn readable(payload: &[u8]) -> String {
    const HEX_BYTES_MAX: usize = 32;
    match std::str::from_utf8(payload) {
        Ok(text) => escape_controls(text),
        Err(_) => {
            let head = &payload[..payload.len().min(HEX_BYTES_MAX)];
            let more = if head.len() < payload.len() { "…" } else { "" };
            format!("<{} bytes: {}{more}>", payload.len(), hex(head))
        }
    }
}

/// Replaces control characters by their escapes.
pub(crate) fn escape_controls(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Puts a payload into an object: `payload` where it is UTF-8, else `payload_base64`.
pub(crate) fn put_payload(object: &mut Map<String, Value>, payload: &[u8]) {
    match std::str::from_utf8(payload) {
        Ok(text) => object.insert("payload".to_owned(), Value::from(text)),
        Err(_) => object.insert("payload_base64".to_owned(), Value::from(STANDARD.encode(payload))),
    };
}

/// Bytes from base64.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Upper-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The name of an encoded timeline id in the notation of the command line; bytes that are no id of
/// the timeline crate are shown as they are.
pub(crate) fn timeline_name(key: &[u8]) -> String {
    match TimelineId::from_encoded(key) {
        Ok(id) => id.to_string(),
        Err(_) => format!("raw:{}", hex(key)),
    }
}

/// `12,345,678`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.5 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// A count of a second, rounded to whole ones.
pub(crate) fn rate(count: u64, seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rate for people; it saturates"
    )]
    let each = (count as f64 / seconds.max(1e-9)).round() as u64;
    grouped(each)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_never_steer_the_terminal() {
        assert_eq!(readable("hé\u{1b}[2Jllo\n".as_bytes()), "hé\\u{1b}[2Jllo\\n");
        assert_eq!(readable(&[0xFF, 0x00]), "<2 bytes: FF00>");
        assert!(readable(&[0xFF; 40]).ends_with("…>"));
    }

    #[test]
    fn payloads_that_are_no_text_are_base64_in_json() {
        let mut object = Map::new();
        put_payload(&mut object, "é".as_bytes());
        put_payload(&mut object, &[0xFF]);
        let text = Value::Object(object).to_string();
        assert_eq!(text, r#"{"payload":"é","payload_base64":"/w=="}"#);
        assert_eq!(from_base64("/w=="), Some(vec![0xFF]));
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(rate(10, 4.0), "3");
    }
}
