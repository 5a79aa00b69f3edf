//! The messages of a frozen memtable, frame by frame: for the flush, which stores what the entries
//! of one message share once.

use super::Memtable;
use super::arena::{pack, unpack};
use super::frames::Frame;
use crate::batch::{Content, Message, MessageRef, Op, decode, message_at, plain_payload};
use crate::segment::RecordRef;

/// Two lines of a processor's cache.
const TOUCHED_BYTES: usize = 128;

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

    /// Bytes of the front of a message, for those who will want more of it soon: the processor
    /// fetches two lines of its cache at once.
    pub(super) fn message_front(
        &self,
        MessagePlace(place): MessagePlace,
    ) -> impl Iterator<Item = &u8> {
        let (frame, offset) = unpack(place);
        let body = self.frames.get(frame);
        let offset = offset as usize;
        body.get(offset).into_iter().chain(body.get(offset + TOUCHED_BYTES))
    }

    /// See [`Run::plain`](super::Run::plain).
    pub(super) fn plain(&self, MessagePlace(place): MessagePlace) -> Option<&[u8]> {
        let (frame, offset) = unpack(place);
        plain_payload(self.frames.get(frame), offset as usize)
    }

    pub(super) fn message(&self, MessagePlace(place): MessagePlace) -> (&Frame, MessageRef<'_>) {
        let (frame, offset) = unpack(place);
        let body = self.frames.get(frame);
        let message =
            message_at(body, offset as usize).expect("the body was decoded when it was applied");
        (body, message)
    }
}
