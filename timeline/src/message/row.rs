//! [`Row`]: a free-schema message, named and typed columns.
//!
//! ```text
//! offset  size  field    notes
//!      0     1  version  1
//!      1     4  count    of columns
//!      5        columns  u32 name length, name, u8 type, value; names ascend and are not empty
//! types:   1 null, nothing       2 string, u32 length, UTF-8    3 i64, 8 bytes
//!          4 f64, 8 bytes        5 bool, 1 byte, 0 or 1         6 bytes, u32 length, bytes
//!          7 list, u32 count, strings
//! ```
//! All integers are little-endian. Names ascend, so equal rows have equal bytes.

use super::reader::Reader;
use super::{Message, put_length, put_text};
use crate::error::Result;
use std::collections::BTreeMap;

/// The value of a [`Row`]'s column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing, said explicitly.
    Null,
    /// Text.
    Text(String),
    /// A signed integer.
    Integer(i64),
    /// A floating-point number, kept bit for bit.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list of texts.
    List(Vec<String>),
}

/// Any number of named, typed columns: the original's `TimelineMessage` and `TimelineMeta`.
///
/// A getter answers `None` for a missing column and for one of another type (the original throws).
///
/// ```
/// use tidelog::{Message, Row};
/// let row = Row::new().with("text", "hello").with("likes", 3).with("to", vec!["bob".to_string()]);
/// let mut bytes = Vec::new();
/// row.encode(&mut bytes)?;
/// assert_eq!(Row::decode(&bytes)?.integer("likes"), Some(3));
/// # Ok::<(), tidelog::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    columns: BTreeMap<String, Value>,
}

impl Row {
    /// A row without columns.
    pub fn new() -> Row {
        Row::default()
    }

    /// The row with a column set.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Row {
        self.set(name, value);
        self
    }

    /// Sets a column. A column with an empty name cannot be stored.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) -> &mut Row {
        self.columns.insert(name.into(), value.into());
        self
    }

    /// Removes a column, and returns what it held.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.columns.remove(name)
    }

    /// Sets all columns of `other` here; columns that it does not name stay (the original's
    /// update).
    pub fn merge(&mut self, other: Row) {
        self.columns.extend(other.columns);
    }

    /// Whether there is such a column, null or not.
    pub fn contains(&self, name: &str) -> bool {
        self.columns.contains_key(name)
    }

    /// A column of any type.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.columns.get(name)
    }

    /// A column of text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A column of an integer.
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Value::Integer(value)) => Some(*value),
            _ => None,
        }
    }

    /// A column of a floating-point number.
    pub fn float(&self, name: &str) -> Option<f64> {
        match self.get(name) {
            Some(Value::Float(value)) => Some(*value),
            _ => None,
        }
    }

    /// A column of true or false.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            Some(Value::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    /// A column of bytes.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        match self.get(name) {
            Some(Value::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// A column of a list of texts.
    pub fn list(&self, name: &str) -> Option<&[String]> {
        match self.get(name) {
            Some(Value::List(list)) => Some(list),
            _ => None,
        }
    }

    /// Columns, ordered by name.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.columns.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// How many columns there are.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether there are no columns.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }
}

impl Message for Row {
    fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        out.push(1);
        put_length(out, "columns", self.columns.len())?;
        for (name, value) in &self.columns {
            if name.is_empty() {
                return Err(crate::Error::invalid("a column with an empty name"));
            }
            put_text(out, "column name", name)?;
            put_value(out, value)?;
        }
        Ok(())
    }

    fn retracted() -> Result<Row> {
        Ok(Row::default())
    }

    fn decode(bytes: &[u8]) -> Result<Row> {
        let mut reader = Reader::new("row", bytes);
        reader.version()?;
        let mut columns = BTreeMap::new();
        let mut last = "";
        for _ in 0..reader.count(6)? {
            let name = reader.text()?;
            reader.begin("column", name);
            if name <= last {
                return Err(reader.error("column names do not ascend"));
            }
            columns.insert(name.to_owned(), value(&mut reader)?);
            reader.finish();
            last = name;
        }
        reader.end()?;
        Ok(Row { columns })
    }

    /// The text column `__message_id`, where the original's rows of version 1 have it.
    fn message_id(&self) -> Option<&str> {
        self.text("__message_id")
    }
}

fn put_value(out: &mut Vec<u8>, value: &Value) -> Result<()> {
    match value {
        Value::Null => out.push(1),
        Value::Text(text) => {
            out.push(2);
            put_text(out, "column", text)?;
        }
        Value::Integer(value) => {
            out.push(3);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Value::Float(value) => {
            out.push(4);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        Value::Bool(value) => out.extend_from_slice(&[5, u8::from(*value)]),
        Value::Bytes(bytes) => {
            out.push(6);
            put_length(out, "column", bytes.len())?;
            out.extend_from_slice(bytes);
        }
        Value::List(list) => {
            out.push(7);
            put_length(out, "list", list.len())?;
            for text in list {
                put_text(out, "list item", text)?;
            }
        }
    }
    Ok(())
}

fn value(reader: &mut Reader<'_>) -> Result<Value> {
    Ok(match reader.u8()? {
        1 => Value::Null,
        2 => Value::Text(reader.text()?.to_owned()),
        3 => Value::Integer(reader.u64()?.cast_signed()),
        4 => Value::Float(f64::from_bits(reader.u64()?)),
        5 => match reader.u8()? {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            other => return Err(reader.error(format!("a boolean of {other}"))),
        },
        6 => Value::Bytes(reader.bytes()?.to_vec()),
        7 => {
            let count = reader.count(4)?;
            Value::List(
                (0..count).map(|_| reader.text().map(str::to_owned)).collect::<Result<_>>()?,
            )
        }
        other => return Err(reader.error(format!("a column of type {other}"))),
    })
}

macro_rules! from {
    ($($type:ty, $name:ident => $value:expr;)*) => {$(
        impl From<$type> for Value {
            fn from($name: $type) -> Value {
                $value
            }
        }
    )*};
}

from! {
    &str, text => Value::Text(text.to_owned());
    String, text => Value::Text(text);
    i32, value => Value::Integer(i64::from(value));
    u32, value => Value::Integer(i64::from(value));
    i64, value => Value::Integer(value);
    f64, value => Value::Float(value);
    bool, value => Value::Bool(value);
    &[u8], bytes => Value::Bytes(bytes.to_vec());
    Vec<u8>, bytes => Value::Bytes(bytes);
    Vec<String>, list => Value::List(list);
    &[&str], list => Value::List(list.iter().map(|text| (*text).to_owned()).collect());
}
