//! A store as an application uses it, over every backend.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidelog::{
    BufferOptions, ErrorKind, MemoryBackend, Pending, Result, Row, Scan, Store, StringMessage,
    TimelinePrefix,
};

fn text(text: impl ToString) -> String {
    text.to_string()
}

/// A store whose buffer waits longer than any test.
fn patient() -> Store {
    let buffer = BufferOptions { delay: Duration::from_secs(3600), ..BufferOptions::default() };
    Store::options().buffer(buffer).open_with(Arc::new(MemoryBackend::new())).unwrap()
}

fn messages(room: &tidelog::Timeline<String>) -> Vec<String> {
    room.scan(Scan::forward()).unwrap().map(|entry| entry.unwrap().message).collect()
}

#[test]
fn tables_are_created_once() {
    let store = Store::in_memory();
    let week = Duration::from_secs(7 * 86_400);
    assert_eq!(store.table::<String>("t").open().err().unwrap().kind(), ErrorKind::NotFound);
    let first = store.table::<String>("t").ttl(week).create().unwrap();
    assert_eq!(store.table::<String>("t").ttl(week).create().unwrap().id(), first.id());
    let other = store.table::<String>("t").create().err().unwrap();
    assert_eq!(other.kind(), ErrorKind::AlreadyExists);
    let opened = store.table::<String>("t").create_or_open().unwrap();
    assert_eq!(opened.options(), first.options());
    let never = store.table::<String>("n").ttl(Duration::ZERO).create().err().unwrap();
    assert_eq!(never.kind(), ErrorKind::InvalidUse);
    assert!(store.table_exists("t").unwrap() && !store.table_exists("n").unwrap());
}

#[test]
fn writes_of_one_timeline_keep_the_order_of_the_calls() {
    let store = patient();
    let table = store.table::<String>("t").create().unwrap();
    let (room, other) = (table.timeline("room").unwrap(), table.timeline("other").unwrap());
    let mut waiting: Vec<Pending<_>> = Vec::new();
    let mut expected = Vec::new();
    for round in 0..30 {
        let message = text(round);
        expected.push(message.clone());
        match round % 5 {
            0 | 1 => waiting.push(room.batch(&message).unwrap()),
            2 => waiting.push(room.store_async(&message)),
            3 => room.store_with_callback(&message, |result| assert!(result.is_ok())).unwrap(),
            _ => assert_eq!(room.store(&message).unwrap().seq, round + 1),
        }
    }
    other.store(&text("not held up")).unwrap();
    store.flush().unwrap();
    for pending in waiting {
        pending.wait().unwrap();
    }
    assert_eq!(messages(&room), expected);
    store.close().unwrap();
}

#[test]
fn flush_returns_when_futures_and_callbacks_are_done() {
    let store = patient();
    let room = store.table::<String>("t").create().unwrap().timeline("room").unwrap();
    let called = Arc::new(AtomicU32::new(0));
    for index in 0..500 {
        let called = Arc::clone(&called);
        let callback = move |result: Result<tidelog::TimelineEntry<String>>| {
            assert_eq!(result.unwrap().message, text(index));
            std::thread::sleep(Duration::from_micros(20));
            called.fetch_add(1, Ordering::Relaxed);
        };
        drop(room.batch_with_callback(&text(index), callback).unwrap());
    }
    room.flush().unwrap();
    assert_eq!(called.load(Ordering::Relaxed), 500);
    assert_eq!(room.len().unwrap(), 500);
}

#[test]
fn flush_reports_what_failed_and_one_bad_message_fails_alone() {
    let store = patient();
    let table = store.table::<String>("t").create().unwrap();
    let given = store.table::<String>("given").given_ids().create().unwrap();
    let (room, counted) = (table.timeline("room").unwrap(), given.timeline("g").unwrap());
    counted.store_at(10, &text("ten")).unwrap();
    drop(room.batch(&text("a")).unwrap());
    drop(counted.write(&text("stale")).at(3).batch().unwrap());
    let last = room.batch(&text("b")).unwrap();
    let error = store.flush().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FlushFailed);
    let [failure] = error.failures() else { panic!("one message failed: {error}") };
    assert_eq!(failure.table, "given");
    assert_eq!(failure.timeline.to_string(), "g");
    assert_eq!(failure.error.kind(), ErrorKind::Conflict);
    assert_eq!(last.wait().unwrap().seq, 2);
    store.flush().unwrap();
    drop(counted.write(&text("stale")).at(4).batch().unwrap());
    assert_eq!(store.close().unwrap_err().failures().len(), 1);
}

#[test]
fn the_buffer_is_written_after_its_delay_and_when_full() {
    let delay = Duration::from_millis(5);
    let buffer = BufferOptions { delay, messages: 3, ..BufferOptions::default() };
    let backend = Arc::new(MemoryBackend::new());
    let store = Store::options().buffer(buffer).open_with(backend).unwrap();
    let room = store.table::<String>("t").create().unwrap().timeline("room").unwrap();
    let lone = room.batch(&text("lone")).unwrap();
    assert_eq!(lone.wait().unwrap().seq, 1);
    let full: Vec<_> = (0..3).map(|index| room.batch(&text(index)).unwrap()).collect();
    let commits: Vec<u64> = full.into_iter().map(|entry| entry.wait().unwrap().commit).collect();
    assert!(commits.iter().all(|commit| *commit == commits[0]) || commits.len() == 3);
    let none = BufferOptions { messages: 0, ..buffer };
    let refused = Store::options().buffer(none).open_with(Arc::new(MemoryBackend::new()));
    assert_eq!(refused.err().unwrap().kind(), ErrorKind::InvalidUse);
}

#[test]
fn a_panic_in_a_callback_is_caught_and_told() {
    let store = patient();
    let room = store.table::<String>("t").create().unwrap().timeline("room").unwrap();
    room.store_with_callback(&text("a"), |_| panic!("on purpose")).unwrap();
    let error = store.flush().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FlushFailed);
    assert!(error.to_string().contains("on purpose") && error.failures().is_empty());
    assert_eq!(store.callback_panics(), 1);
    let seen = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&seen);
    let callback = move |result: Result<tidelog::TimelineEntry<String>>| {
        *slot.lock().unwrap() = Some(result.unwrap().seq);
    };
    room.store_with_callback(&text("b"), callback).unwrap();
    store.flush().unwrap();
    assert_eq!(*seen.lock().unwrap(), Some(2));
}

#[test]
fn a_callback_may_write_but_not_wait_for_itself() {
    let store = patient();
    let room = store.table::<String>("t").create().unwrap().timeline("room").unwrap();
    let (inner, handle) = (room.clone(), store.clone());
    let callback = move |_: Result<tidelog::TimelineEntry<String>>| {
        drop(inner.batch(&text("b")).unwrap());
        inner.store(&text("c")).unwrap();
        assert_eq!(handle.flush().unwrap_err().kind(), ErrorKind::InvalidUse);
        assert_eq!(handle.close().unwrap_err().kind(), ErrorKind::InvalidUse);
    };
    room.store_with_callback(&text("a"), callback).unwrap();
    store.flush().unwrap();
    assert_eq!(messages(&room), ["a", "b", "c"]);
}

#[test]
fn the_last_handle_may_be_dropped_in_a_callback() {
    let store = patient();
    let room = store.table::<String>("t").create().unwrap().timeline("room").unwrap();
    let (done, told) = std::sync::mpsc::channel();
    let (gate, wait) = std::sync::mpsc::channel::<()>();
    let inner = room.clone();
    let callback = move |_: Result<tidelog::TimelineEntry<String>>| {
        wait.recv().unwrap();
        drop(inner);
        done.send(()).unwrap();
    };
    room.store_with_callback(&text("a"), callback).unwrap();
    drop((room, store));
    gate.send(()).unwrap();
    told.recv().unwrap();
}

#[test]
fn close_writes_the_buffer_and_refuses_what_comes_later() {
    let backend = MemoryBackend::new();
    let store = Store::with_backend(Arc::new(backend.clone())).unwrap();
    let room = store.table::<String>("t").create().unwrap().timeline("room").unwrap();
    let buffered = room.batch(&text("a")).unwrap();
    store.close().unwrap();
    store.close().unwrap();
    assert_eq!(buffered.wait().unwrap().seq, 1);
    assert_eq!(room.store(&text("b")).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(room.batch(&text("b")).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(room.store_async(&text("b")).wait().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(room.get_async(1).wait().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(room.latest().unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn dropping_the_store_writes_the_buffer() {
    let backend = Arc::new(MemoryBackend::new());
    let first = Store::with_backend(backend.clone()).unwrap();
    let room = first.table::<String>("t").create().unwrap().timeline("room").unwrap();
    drop(room.batch(&text("a")).unwrap());
    drop((first, room));
    let second = Store::with_backend(backend).unwrap();
    let room = second.table::<String>("t").open().unwrap().timeline("room").unwrap();
    assert_eq!(messages(&room), ["a"]);
}

#[test]
fn scans_are_lazy_inclusive_and_filtered() {
    let store = Store::in_memory();
    let room = store.table::<String>("t").create().unwrap().timeline("room").unwrap();
    for index in 1..=250 {
        room.store(&text(index)).unwrap();
    }
    let seqs = |scan: Scan| -> Vec<u64> {
        room.scan(scan).unwrap().map(|entry| entry.unwrap().seq).collect()
    };
    assert_eq!(seqs(Scan::forward()), (1..=250).collect::<Vec<_>>());
    assert_eq!(seqs(Scan::backward().page(7)), (1..=250).rev().collect::<Vec<_>>());
    assert_eq!(seqs(Scan::forward().from(5).to(7)), [5, 6, 7]);
    assert_eq!(seqs(Scan::backward().from(7).to(5).limit(2)), [7, 6]);
    for bad in
        [Scan::forward().from(2).to(1), Scan::backward().to(1).from(0), Scan::forward().limit(0)]
    {
        assert_eq!(room.scan(bad).err().unwrap().kind(), ErrorKind::InvalidUse);
    }
    let hundreds = room.scan(Scan::forward().limit(2)).unwrap();
    let hundreds = hundreds.matching(|entry| entry.message.ends_with("00"));
    let hundreds: Vec<u64> = hundreds.map(|entry| entry.unwrap().seq).collect();
    assert_eq!(hundreds, [100, 200]);
    let both = room.scan(Scan::forward()).unwrap().matching(|entry| entry.seq > 100);
    let both = both.matching(|entry| entry.message.ends_with("00"));
    let both: Vec<u64> = both.map(|entry| entry.unwrap().seq).collect();
    assert_eq!(both, [200], "a filter takes no earlier one's place");
    let mut running = room.scan(Scan::forward().from(249)).unwrap();
    room.store(&text(251)).unwrap();
    assert_eq!(running.by_ref().count(), 2, "a scan shows the moment of its call");
}

#[test]
fn what_does_not_decode_is_an_item_of_its_own() {
    let store = Store::in_memory();
    let bytes = store.table::<Vec<u8>>("t").create().unwrap().timeline("room").unwrap();
    bytes.store(&b"fine".to_vec()).unwrap();
    bytes.store(&vec![0xFF]).unwrap();
    bytes.store(&b"fine too".to_vec()).unwrap();
    let room = store.table::<String>("t").open().unwrap().timeline("room").unwrap();
    let found: Vec<_> = room.scan(Scan::forward()).unwrap().collect();
    assert_eq!(found.len(), 3);
    assert_eq!(found[1].as_ref().unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(room.get(2).unwrap_err().kind(), ErrorKind::Decode);
}

#[test]
fn asynchronous_reads_answer_like_the_others() {
    let store = Store::in_memory();
    let room = store.table::<StringMessage>("t").create().unwrap().timeline(7u64).unwrap();
    for index in 0..5 {
        room.store(&StringMessage::new(index.to_string())).unwrap();
    }
    assert_eq!(room.get_async(2).wait().unwrap().unwrap().message.content(), "1");
    assert_eq!(room.latest_async().wait().unwrap().unwrap().seq, 5);
    assert_eq!((room.latest_seq_async().wait().unwrap(), room.len_async().wait().unwrap()), (5, 5));
    assert_eq!(room.read_page_async(Scan::backward().limit(3)).wait().unwrap().len(), 3);
}

#[test]
fn fan_out_delivers_once_and_names_its_origin() {
    let store = Store::in_memory();
    let history = store.table::<Row>("message").create().unwrap();
    let inbox = store.table::<Row>("sync").create().unwrap();
    let message = Row::new().with("text", "hello").with("from", "alice");
    let sent = history.fan_out(("group", 42), &message).unwrap();
    let sent = sent.to(&inbox, ["alice", "bob", "alice"]).unwrap().event_time(9).commit().unwrap();
    let to: Vec<_> = sent.inboxes.iter().map(|to| (to.timeline.to_string(), to.seq)).collect();
    assert_eq!(to, [("alice".to_string(), 1), ("bob".to_string(), 1)]);
    let entry = inbox.timeline("bob").unwrap().latest().unwrap().unwrap();
    assert_eq!((entry.commit, entry.event_time), (sent.commit, Some(9)));
    assert_eq!(entry.message, message);
    let origin = entry.origin.unwrap();
    assert_eq!((origin.table, origin.seq), (history.id(), sent.seq));
    let stale = history.fan_out(("group", 42), &message).unwrap().expect_latest(0);
    assert_eq!(stale.commit().unwrap_err().kind(), ErrorKind::Conflict);
    let groups = history.timelines(&TimelinePrefix::fields("group").unwrap()).unwrap();
    let groups: Vec<_> = groups.map(|timeline| timeline.unwrap()).collect();
    assert_eq!((groups.len(), groups[0].latest_seq), (1, 1));
    let crowd = (0..1_000_000i64).map(|id| ("user", id));
    let crowd = history.fan_out("big", &message).unwrap().to(&inbox, crowd).unwrap();
    assert_eq!(crowd.commit().unwrap_err().kind(), ErrorKind::TooLarge);
}

/// A memory backend that says that its reads block, so that they go to the store's threads; what is
/// known of a timeline called `damaged` it cannot read.
struct Blocking(MemoryBackend);

impl tidelog::Backend for Blocking {
    fn create_table(
        &self,
        name: &str,
        options: &tidelog::TableOptions,
    ) -> Result<tidelog::TableId> {
        self.0.create_table(name, options)
    }

    fn alter_table(&self, table: tidelog::TableId, options: &tidelog::TableOptions) -> Result<()> {
        self.0.alter_table(table, options)
    }

    fn drop_table(&self, table: tidelog::TableId) -> Result<()> {
        self.0.drop_table(table)
    }

    fn table(&self, name: &str) -> Result<Option<tidelog::backend::TableDescription>> {
        self.0.table(name)
    }

    fn tables(&self) -> Result<Vec<tidelog::backend::TableDescription>> {
        self.0.tables()
    }

    fn commit(
        &self,
        batch: tidelog::backend::Batch,
        durability: tidelog::Durability,
    ) -> Result<tidelog::backend::Committed> {
        let damaged = tidelog::TimelineId::new("damaged").unwrap();
        if batch.places().any(|(_, key)| key == damaged.as_bytes()) {
            return Err(tidelog::Error::new(ErrorKind::Corruption, "its state cannot be read"));
        }
        self.0.commit(batch, durability)
    }

    /// Answers from another thread, a little later.
    fn commit_async(
        &self,
        batch: tidelog::backend::Batch,
        durability: tidelog::Durability,
    ) -> tidelog::backend::CommitFuture {
        let result = self.0.commit(batch, durability);
        let mut thread = None;
        Box::pin(std::future::poll_fn(move |context: &mut std::task::Context<'_>| {
            if thread.is_some() {
                return std::task::Poll::Ready(result.clone());
            }
            let waker = context.waker().clone();
            thread = Some(std::thread::spawn(move || waker.wake()));
            std::task::Poll::Pending
        }))
    }

    fn snapshot(&self) -> Result<Arc<dyn tidelog::backend::BackendSnapshot>> {
        self.0.snapshot()
    }

    fn reads_block(&self) -> bool {
        true
    }

    fn batch_bytes_max(&self) -> usize {
        self.0.batch_bytes_max()
    }

    fn sync(&self) -> Result<()> {
        self.0.sync()
    }

    fn close(&self) -> Result<()> {
        self.0.close()
    }
}

fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        let mut context = std::task::Context::from_waker(&waker);
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn reads_that_block_go_to_the_stores_threads() {
    let store = Store::with_backend(Arc::new(Blocking(MemoryBackend::new()))).unwrap();
    let room = store.table::<String>("t").create().unwrap().timeline("room").unwrap();
    for index in 0..250 {
        room.batch(&text(index)).map(drop).unwrap();
    }
    store.flush().unwrap();
    assert_eq!(room.get_async(3).wait().unwrap().unwrap().message, "2");
    let found = block_on(async {
        let mut stream = room.scan_async(Scan::forward().from(2).page(10)).unwrap();
        let mut found = Vec::new();
        while let Some(entry) = stream.next().await {
            found.push(entry.unwrap().seq);
        }
        found
    });
    assert_eq!(found, (2..=250).collect::<Vec<_>>());
    let abandoned = room.scan_async(Scan::forward()).unwrap();
    drop(abandoned);
    // A filter that comes while a page is being read was forgotten.
    let mut stream = room.scan_async(Scan::forward()).unwrap();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let _ = stream.poll_next(&mut context);
    let mut stream = stream.matching(|entry| entry.seq > 249);
    assert_eq!(block_on(stream.next()).unwrap().unwrap().seq, 250);
    store.close().unwrap();
}

/// A timeline whose state cannot be read failed all messages that were written with its own.
#[test]
fn one_unreadable_timeline_fails_alone() {
    let buffer = BufferOptions { delay: Duration::from_secs(3600), ..BufferOptions::default() };
    let backend = Arc::new(Blocking(MemoryBackend::new()));
    let store = Store::options().buffer(buffer).open_with(backend).unwrap();
    let table = store.table::<String>("t").create().unwrap();
    let waiting = ["one", "damaged", "two"].map(|id| {
        let timeline = table.timeline(id).unwrap();
        timeline.batch(&text("hello")).unwrap()
    });
    assert_eq!(store.flush().unwrap_err().failures().len(), 1);
    let outcomes = waiting.map(|pending| pending.wait().map(|entry| entry.seq));
    assert_eq!((*outcomes[0].as_ref().unwrap(), *outcomes[2].as_ref().unwrap()), (1, 1));
    assert_eq!(outcomes[1].as_ref().unwrap_err().kind(), ErrorKind::Corruption);
}

#[test]
fn a_commit_that_takes_its_time_calls_back() {
    let store = Store::with_backend(Arc::new(Blocking(MemoryBackend::new()))).unwrap();
    let room = store.table::<String>("t").create().unwrap().timeline("room").unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    for index in 0..50 {
        let slot = Arc::clone(&seen);
        let callback = move |result: Result<tidelog::TimelineEntry<String>>| {
            slot.lock().unwrap().push(result.unwrap().seq);
        };
        room.store_with_callback(&text(index), callback).unwrap();
    }
    assert_eq!(room.store_async(&text("last")).wait().unwrap().seq, 51);
    store.close().unwrap();
    let mut seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.sort_unstable();
    assert_eq!(seen, (1..=50).collect::<Vec<_>>());
}

/// A message whose decoder panics.
#[derive(Debug, Clone)]
struct Trap;

impl tidelog::Message for Trap {
    fn encode(&self, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn decode(_: &[u8]) -> Result<Trap> {
        panic!("a trap")
    }
}

#[test]
fn a_panic_in_a_decoder_does_not_end_the_threads_of_reads() {
    let store = Store::with_backend(Arc::new(Blocking(MemoryBackend::new()))).unwrap();
    let room = store.table::<Trap>("t").create().unwrap().timeline("room").unwrap();
    room.store(&Trap).unwrap();
    for _ in 0..5 {
        assert_eq!(room.latest_async().wait().unwrap_err().kind(), ErrorKind::Panicked);
    }
    assert_eq!(room.len_async().wait().unwrap(), 1);
}

#[test]
fn many_threads_share_one_buffer() {
    let store = patient();
    let table = store.table::<String>("t").create().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let room = table.timeline(("room", writer)).unwrap();
            scope.spawn(move || {
                for index in 0..300 {
                    match index % 7 {
                        3 => assert_eq!(room.store(&text(index)).unwrap().seq, index + 1),
                        5 => room.flush().unwrap(),
                        _ => {}
                    }
                    if index % 7 != 3 {
                        drop(room.batch(&text(index)).unwrap());
                    }
                }
            });
        }
    });
    store.flush().unwrap();
    for writer in 0..4 {
        let room = table.timeline(("room", writer)).unwrap();
        assert_eq!(messages(&room), (0..300).map(text).collect::<Vec<_>>());
    }
}
