//! The messages of a frozen memtable, frame by frame: for the flush, which stores what the entries
//! of one message share once.

use super::Memtable;
use super::arena::{pack, unpack};
use crate::batch::{Content, Message, MessageRef, Op, decode, message_at};
use crate::segment::RecordRef;
use std::sync::Arc;

/// The name of a message inside its memtable. They rise in the order of the commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MessagePlace(pub(super) u64);

impl Memtable {
    /// The messages of frame `number`, and its bytes; `None` behind the last frame.
    pub(crate) fn messages(
        &self,
        number: u32,
    ) -> Option<(usize, impl Iterator<Item = (MessagePlace, Message<'_>)>)> {
        let body = self.frames.get_if_there(number)?;
        let messages = decode(body).filter_map(move |op| {
            match op.expect("the body was decoded when it was applied") {
                Op::Message(message) => {
                    let offset = u32::try_from(message.offset).expect("bodies are below 4 GiB");
                    Some((MessagePlace(pack(number, offset)), message))
                }
                Op::Keyed { .. } | Op::Mark { .. } | Op::Amend { .. } => None,
            }
        });
        Some((body.len(), messages))
    }

    /// What the entries of a message share, whose payload is not large.
    pub(crate) fn record(&self, place: MessagePlace) -> RecordRef<'_> {
        let (body, message) = self.message(place);
        let Content::Inline(payload) = &message.content else {
            unreachable!("a large payload has a segment of its own")
        };
        RecordRef {
            event_ms: message.event_ms,
            origin: message.shared_origin(),
            payload: &body[payload.clone()],
        }
    }

    /// The first byte of a message, for those who will want more of it soon.
    pub(super) fn touch(&self, MessagePlace(place): MessagePlace) -> u8 {
        let (frame, offset) = unpack(place);
        self.frames.get(frame).get(offset as usize).copied().unwrap_or_default()
    }

    pub(super) fn message(
        &self,
        MessagePlace(place): MessagePlace,
    ) -> (&Arc<Vec<u8>>, MessageRef<'_>) {
        let (frame, offset) = unpack(place);
        let body = self.frames.get(frame);
        let message =
            message_at(body, offset as usize).expect("the body was decoded when it was applied");
        (body, message)
    }
}
