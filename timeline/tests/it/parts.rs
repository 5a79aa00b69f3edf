//! A fan-out in parts: each inbox gets the message once, whatever fails and whoever helps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidelog::backend::{Backend, BackendSnapshot, Batch, CommitFuture, Committed};
use tidelog::{
    Delivery, Durability, Error, ErrorKind, FanOut, MemoryBackend, MetaTable, Options, Result,
    SentInParts, Store, Table, TableId, TableOptions, TimelinePrefix,
};

/// Inboxes of the tests: some ten parts.
const INBOXES: i64 = 300;

/// A backend of small batches. The commit that makes `left` nothing answers that nobody knows what
/// became of it; whether it was written is said beforehand.
struct Small {
    inner: MemoryBackend,
    left: AtomicU64,
    is_written: bool,
}

impl Small {
    /// One that fails at that commit; 0 is never.
    fn new(left: u64, is_written: bool) -> Arc<Small> {
        let (inner, left) = (MemoryBackend::new(), AtomicU64::new(left));
        Arc::new(Small { inner, left, is_written })
    }
}

impl Backend for Small {
    fn create_table(&self, name: &str, options: &TableOptions) -> Result<TableId> {
        self.inner.create_table(name, options)
    }

    fn alter_table(&self, table: TableId, options: &TableOptions) -> Result<()> {
        self.inner.alter_table(table, options)
    }

    fn drop_table(&self, table: TableId) -> Result<()> {
        self.inner.drop_table(table)
    }

    fn table(&self, name: &str) -> Result<Option<tidelog::backend::TableDescription>> {
        self.inner.table(name)
    }

    fn tables(&self) -> Result<Vec<tidelog::backend::TableDescription>> {
        self.inner.tables()
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<Committed> {
        assert!(batch.frame_bytes() <= self.batch_bytes_max());
        if self.left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return self.inner.commit(batch, durability);
        }
        if self.is_written {
            self.inner.commit(batch, durability)?;
        }
        Err(Error::new(ErrorKind::Io, "on purpose"))
    }

    fn commit_async(&self, batch: Batch, durability: Durability) -> CommitFuture {
        self.inner.commit_async(batch, durability)
    }

    fn snapshot(&self) -> Result<Arc<dyn BackendSnapshot>> {
        self.inner.snapshot()
    }

    fn reads_block(&self) -> bool {
        false
    }

    fn batch_bytes_max(&self) -> usize {
        1000
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }

    fn close(&self) -> Result<()> {
        self.inner.close()
    }
}

/// A store over a backend, with what a fan-out needs.
struct World {
    store: Store,
    posts: Table<String>,
    homes: Table<String>,
    deliveries: MetaTable<Delivery>,
}

impl World {
    fn new(store: Store) -> World {
        let posts = store.table::<String>("post").create_or_open().unwrap();
        let homes = store.table::<String>("home").create_or_open().unwrap();
        let deliveries = store.meta::<Delivery>("delivery").create_or_open().unwrap();
        World { store, posts, homes, deliveries }
    }

    fn over(backend: &Arc<Small>) -> World {
        World::new(Store::with_backend(backend.clone()).unwrap())
    }

    fn post(&self, text: &str, inboxes: i64) -> FanOut<String> {
        let post = self.posts.fan_out("star", &text.to_owned()).unwrap();
        post.to(&self.homes, (0..inboxes).map(|id| ("fan", id))).unwrap()
    }

    fn send(&self) -> Result<SentInParts> {
        self.post("hello", INBOXES).commit_in_parts(&self.deliveries, "post-1")
    }

    /// How many inboxes there are, each with one entry, which has this text and its origin.
    fn check(&self, text: &str) -> u64 {
        let mut count = 0;
        for home in self.homes.timelines(&TimelinePrefix::all()).unwrap() {
            let home = home.unwrap();
            assert_eq!(home.latest_seq, 1, "{}", home.id);
            let entry = self.homes.timeline(&home.id).unwrap().latest().unwrap().unwrap();
            assert_eq!(entry.message, text, "{}", home.id);
            let origin = entry.origin.unwrap();
            assert_eq!((origin.table, origin.seq), (self.posts.id(), 1));
            count += 1;
        }
        count
    }
}

/// It was refused, and the application had to find a way of its own.
#[test]
fn more_inboxes_than_a_commit_holds_get_a_message() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { ring_bytes: 256 * 1024, ..Options::default() };
    let store = Store::options().engine(options).durability(Durability::Buffered);
    let world = World::new(store.open(folder.path().join("p.tide")).unwrap());
    let refused = world.post("hello", 5000).commit().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
    let send = |text| world.post(text, 5000).commit_in_parts(&world.deliveries, "post-1");
    let sent = send("hello").unwrap();
    assert_eq!((sent.seq, sent.delivered, sent.retracted), (1, 5000, false));
    assert_eq!(world.check("hello"), 5000);
    // Again, it writes nothing; another message under its id is refused.
    let before = world.store.snapshot().unwrap().commit();
    assert_eq!(send("hello").unwrap(), sent);
    assert_eq!(send("hallo").unwrap_err().kind(), ErrorKind::Conflict);
    let fewer = world.post("hello", 4999).commit_in_parts(&world.deliveries, "post-1");
    assert_eq!(fewer.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(world.store.snapshot().unwrap().commit(), before);
    let other = World::new(Store::in_memory());
    let foreign = world.post("hello", 9).commit_in_parts(&other.deliveries, "post-2");
    assert_eq!(foreign.unwrap_err().kind(), ErrorKind::InvalidUse);
}

#[test]
fn a_delivery_goes_on_wherever_it_ended() {
    for is_written in [false, true] {
        let mut parts = 0;
        for left in 1.. {
            let backend = Small::new(left, is_written);
            let failed = World::over(&backend).send().is_err();
            let world = World::over(&backend);
            let progress = world.deliveries.get("post-1").unwrap();
            let delivered = progress.as_ref().map_or(0, |progress| progress.delivered);
            assert_eq!(world.check("hello"), delivered, "the record says what was delivered");
            let sent = world.send().unwrap();
            assert_eq!((sent.seq, sent.delivered), (1, INBOXES as u64));
            assert_eq!(world.check("hello"), INBOXES as u64);
            assert_eq!(world.posts.timeline("star").unwrap().latest_seq().unwrap(), 1);
            if !failed {
                break;
            }
            assert!(progress.is_none_or(|progress| is_written || !progress.is_complete()));
            parts += 1;
        }
        assert!(parts > 5, "{parts} commits");
    }
}

/// Begins a delivery that ends behind three commits.
fn begun() -> World {
    let backend = Small::new(4, false);
    let world = World::over(&backend);
    assert_eq!(world.send().unwrap_err().kind(), ErrorKind::Io);
    let progress = world.deliveries.get("post-1").unwrap().unwrap();
    assert!(progress.delivered > 0 && !progress.is_complete());
    world
}

#[test]
fn a_recall_and_an_edit_reach_the_inboxes_to_come() {
    let world = begun();
    let text = "hallo".to_owned();
    world.deliveries.amend_delivery("post-1", &world.posts, &text).unwrap();
    assert_eq!(world.send().unwrap().delivered, INBOXES as u64);
    assert_eq!(world.check("hallo"), INBOXES as u64);
    world.deliveries.retract_delivery("post-1", &world.posts).unwrap();
    assert_eq!(world.check(""), INBOXES as u64);

    let world = begun();
    world.deliveries.retract_delivery("post-1", &world.posts).unwrap();
    let sent = world.send().unwrap();
    assert!(sent.retracted && sent.delivered < INBOXES as u64);
    assert_eq!(world.check(""), sent.delivered);

    // By the timeline itself: it is seen when the next part is looked at.
    let world = begun();
    world.posts.timeline("star").unwrap().amend(1, &text).unwrap();
    assert_eq!(world.send().unwrap().delivered, INBOXES as u64);
    assert_eq!(world.check("hallo"), INBOXES as u64);
    let world = begun();
    world.posts.timeline("star").unwrap().retract(1).unwrap();
    assert!(world.send().unwrap().retracted);
    let unknown = world.deliveries.retract_delivery("post-2", &world.posts).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    let wrong = world.deliveries.retract_delivery("post-1", &world.homes).unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::InvalidUse);
}

/// Two that deliver the same message share the work; others that write to the conversation, and to
/// inboxes, do not hinder them.
#[test]
fn two_deliver_together() {
    let world = &World::over(&Small::new(0, false));
    std::thread::scope(|scope| {
        for sender in [(); 2].map(|()| scope.spawn(move || world.send().unwrap())) {
            assert_eq!(sender.join().unwrap().delivered, INBOXES as u64);
        }
    });
    assert_eq!(world.check("hello"), INBOXES as u64);
    assert_eq!(world.posts.timeline("star").unwrap().len().unwrap(), 1);
}

/// A condition on the conversation holds for the first part, and is not tried again.
#[test]
fn a_condition_is_of_the_first_part() {
    let world = World::over(&Small::new(0, false));
    let room = world.posts.timeline("star").unwrap();
    room.store(&"first".to_owned()).unwrap();
    let send = |latest| {
        let post = world.post("hello", 100).expect_latest(latest);
        post.commit_in_parts(&world.deliveries, "post-1")
    };
    assert_eq!(send(0).unwrap_err().kind(), ErrorKind::Conflict);
    assert!(world.deliveries.get("post-1").unwrap().is_none());
    assert_eq!(send(1).unwrap().seq, 2);
    assert_eq!(send(1).unwrap().delivered, 100, "it was sent already");
}
