//! What a [`TimelineId`] can be made from.

use super::{Field, TimelineId, integer_too_large};
use crate::error::Result;
use std::borrow::Cow;

/// What one field of a [`TimelineId`] can be made from.
pub trait IntoField {
    /// The field.
    ///
    /// # Errors
    /// [`TooLarge`](crate::ErrorKind::TooLarge) for an integer above `i64::MAX`.
    fn to_field(&self) -> Result<Field<'_>>;
}

/// What a [`TimelineId`] can be made from: a field, a tuple of up to four fields, or an id.
pub trait IntoTimelineId {
    /// The id.
    ///
    /// # Errors
    /// As [`TimelineId::new`].
    fn into_timeline_id(self) -> Result<TimelineId>;
}

macro_rules! field {
    ($($type:ty, $self:ident => $field:expr;)*) => {$(
        impl IntoField for $type {
            fn to_field(&self) -> Result<Field<'_>> {
                let $self = self;
                $field
            }
        }
        impl IntoTimelineId for $type {
            fn into_timeline_id(self) -> Result<TimelineId> {
                TimelineId::from_fields(&[self.to_field()?])
            }
        }
    )*};
}

field! {
    &str, text => Ok(Field::Text(Cow::Borrowed(text)));
    String, text => Ok(Field::Text(Cow::Borrowed(text)));
    &String, text => Ok(Field::Text(Cow::Borrowed(text)));
    &[u8], bytes => Ok(Field::Bytes(Cow::Borrowed(bytes)));
    Vec<u8>, bytes => Ok(Field::Bytes(Cow::Borrowed(bytes)));
    &Vec<u8>, bytes => Ok(Field::Bytes(Cow::Borrowed(bytes)));
    i32, value => Ok(Field::Integer(i64::from(*value)));
    u32, value => Ok(Field::Integer(i64::from(*value)));
    i64, value => Ok(Field::Integer(*value));
    u64, value => i64::try_from(*value).map(Field::Integer).map_err(|_| integer_too_large(value));
    Field<'_>, field => Ok(field.clone());
}

impl<const N: usize> IntoField for &[u8; N] {
    fn to_field(&self) -> Result<Field<'_>> {
        Ok(Field::Bytes(Cow::Borrowed(self.as_slice())))
    }
}

impl<const N: usize> IntoTimelineId for &[u8; N] {
    fn into_timeline_id(self) -> Result<TimelineId> {
        self.as_slice().into_timeline_id()
    }
}

impl IntoTimelineId for TimelineId {
    fn into_timeline_id(self) -> Result<TimelineId> {
        Ok(self)
    }
}

impl IntoTimelineId for &TimelineId {
    fn into_timeline_id(self) -> Result<TimelineId> {
        Ok(self.clone())
    }
}

macro_rules! tuple {
    ($($name:ident)+) => {
        impl<$($name: IntoField),+> IntoTimelineId for ($($name,)+) {
            #[expect(non_snake_case, reason = "the fields are named as their types")]
            fn into_timeline_id(self) -> Result<TimelineId> {
                let ($($name,)+) = &self;
                TimelineId::from_fields(&[$($name.to_field()?),+])
            }
        }
    };
}

tuple!(A);
tuple!(A B);
tuple!(A B C);
tuple!(A B C D);
