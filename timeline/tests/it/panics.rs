//! Code of the caller's own that panics at its k-th call: message codecs and wakers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};
use tidelog::{Message, Options, Pending, Result, Scan, Store, Timeline, TimelineEntry};

/// A message whose k-th encoding panics, and none after it.
#[derive(Debug, Clone)]
struct Fused {
    number: u8,
    left: Arc<AtomicU64>,
}

impl Message for Fused {
    fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        // Half of it is written when it panics.
        out.push(self.number);
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        assert!(left != 1, "a defect in a message");
        out.push(self.number);
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Fused> {
        assert_eq!(bytes[0], bytes[1], "a message is there by half");
        Ok(Fused { number: bytes[0], left: Arc::default() })
    }
}

/// A waker that panics.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a defect in a waker");
    }
}

/// Polls once, with a waker that panics.
fn touch(pending: &mut Pending<TimelineEntry<Fused>>) {
    let waker = Waker::from(Arc::new(Panics));
    let _ = Pin::new(pending).poll(&mut Context::from_waker(&waker));
}

/// A store whose file is small, since there are many of them.
fn open(path: &Path) -> Store {
    let options = Options { ring_bytes: 256 * 1024, ..Options::default() };
    Store::options().engine(options).open(path).unwrap()
}

/// Every way to write a message, by number; whether it was taken.
fn write(room: &Timeline<Fused>, message: &Fused) -> bool {
    let taken = catch_unwind(AssertUnwindSafe(|| match message.number % 5 {
        0 => room.store(message).map(drop),
        1 => room.batch(message).map(|mut pending| touch(&mut pending)),
        2 => {
            let mut pending = room.store_async(message);
            touch(&mut pending);
            Ok(())
        }
        3 => room.batch_with_callback(message, |_| {}).map(drop),
        _ => room.store_with_callback(message, |_| {}).map(drop),
    }));
    taken.is_ok_and(|taken| taken.is_ok())
}

#[test]
fn a_message_that_panics_is_written_not_at_all_and_all_others_are() {
    let mut call = 0;
    loop {
        call += 1;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("panics.tide");
        let store = open(&path);
        let table = store.table::<Fused>("t").create().unwrap();
        let room = table.timeline("room").unwrap();
        let left = Arc::new(AtomicU64::new(call));
        let message = |number| Fused { number, left: Arc::clone(&left) };
        let taken: Vec<u8> = (0..15).filter(|number| write(&room, &message(*number))).collect();
        assert!(taken.len() >= 14, "call {call}: one panic, and {taken:?} were taken");
        store.flush().unwrap();
        let found = |room: &Timeline<Fused>| -> Vec<u8> {
            let entries = room.scan(Scan::forward().limit(100)).unwrap();
            entries.map(|entry| entry.unwrap().message.number).collect()
        };
        assert_eq!(found(&room), taken, "call {call}");
        store.close().unwrap();
        drop((store, table, room));
        let store = open(&path);
        let room = store.table::<Fused>("t").open().unwrap().timeline("room").unwrap();
        assert_eq!(found(&room), taken, "call {call}, opened again");
        if taken.len() == 15 {
            assert!(call > 15, "each message is encoded once at least");
            return;
        }
    }
}
