//! What a caller may get wrong, or meet in a corner: it is refused, and nothing else is harmed.

use std::sync::Arc;
use std::time::Duration;
use tidelog::{
    BufferOptions, DistinctMessage, ErrorKind, MemoryBackend, Message, Scan, Store, StringMessage,
};

/// A snapshot of another store was believed, and its table of the same number was read.
#[test]
fn a_snapshot_of_another_store_is_refused() {
    let stores = [Store::in_memory(), Store::in_memory()];
    let rooms = stores.each_ref().map(|store| {
        let table = store.table::<String>("message").create().unwrap();
        table.timeline("room").unwrap()
    });
    rooms[1].store(&"of the other one".to_owned()).unwrap();
    let snapshot = stores[1].snapshot().unwrap();
    assert_eq!(rooms[1].at(&snapshot).len().unwrap(), 1);
    let view = rooms[0].at(&snapshot);
    let refused = |error: tidelog::Error| assert_eq!(error.kind(), ErrorKind::InvalidUse);
    refused(view.get(1).unwrap_err());
    refused(view.latest().unwrap_err());
    refused(view.latest_seq().unwrap_err());
    refused(view.len().unwrap_err());
    refused(view.versions(1).unwrap_err());
    refused(view.scan(Scan::forward()).unwrap().next().unwrap().unwrap_err());
    refused(view.scan_items(Scan::forward()).unwrap().next().unwrap().unwrap_err());
}

/// An amendment did not wait for the message that it names, which lay in the buffer: it was
/// refused, and the message was written behind it as it had been.
#[test]
fn an_amendment_waits_for_the_message_that_it_names() {
    let buffer = BufferOptions { delay: Duration::from_secs(3600), ..BufferOptions::default() };
    let backend = Arc::new(MemoryBackend::new());
    let store = Store::options().buffer(buffer).open_with(backend).unwrap();
    let table = store.table::<String>("t").given_ids().create().unwrap();
    let room = table.timeline("room").unwrap();
    let waiting = room.write(&"helo".to_owned()).at(10).batch().unwrap();
    room.amend(10, &"hello".to_owned()).unwrap();
    assert_eq!(waiting.wait().unwrap().seq, 10);
    assert_eq!(room.latest().unwrap().unwrap().message, "hello");
}

#[derive(Debug, Clone)]
struct Like(u8);

impl Message for Like {
    fn encode(&self, out: &mut Vec<u8>) -> tidelog::Result<()> {
        out.push(self.0);
        Ok(())
    }

    fn decode(bytes: &[u8]) -> tidelog::Result<Like> {
        match bytes {
            [stars] => Ok(Like(*stars)),
            _ => Err(tidelog::Error::decode("not a like")),
        }
    }
}

/// A message was taken back of which none is left to show: no reader could read the entry any more.
#[test]
fn what_nothing_can_stand_for_is_not_taken_back() {
    let store = Store::in_memory();
    let table = store.table::<Like>("t").create().unwrap();
    let likes = table.timeline("room").unwrap();
    likes.store(&Like(3)).unwrap();
    let refused = likes.retract(1).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidUse, "{refused}");
    assert!(refused.to_string().contains("room") && refused.to_string().contains("entry 1"));
    assert_eq!(likes.latest().unwrap().unwrap().message.0, 3);
}

/// What stands for a distinct message that was taken back has no id; written again, it could never
/// be read.
#[test]
fn a_distinct_message_without_an_id_is_not_written() {
    let gone = DistinctMessage::<StringMessage>::retracted().unwrap();
    let error = gone.encode(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidUse);
}
