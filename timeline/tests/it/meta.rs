//! Values by identifier, alone and in the commit of a message, over both backends.

use std::time::Duration;
use tidelog::{
    Append, BufferOptions, ErrorKind, FanOut, MemoryBackend, MetaTable, Options, Payload, Result,
    Row, Store, Timeline, TimelinePrefix,
};

fn text(text: impl ToString) -> String {
    text.to_string()
}

/// Runs a test over a store in memory and over one in a file.
fn over_both(test: impl Fn(&Store)) {
    test(&Store::in_memory());
    let folder = tempfile::tempdir().unwrap();
    let options = Options { ring_bytes: 256 * 1024, ..Options::default() };
    let store = Store::options().engine(options).open(folder.path().join("m.tide")).unwrap();
    test(&store);
    store.close().unwrap();
}

#[test]
fn values_are_set_read_and_taken_away() {
    over_both(|store| {
        let groups = store.meta::<String>("group").create().unwrap();
        assert_eq!(groups.get(1).unwrap(), None);
        groups.put(1, &text("one")).unwrap();
        let before = store.snapshot().unwrap();
        groups.put(1, &text("uno")).unwrap();
        groups.put_async(2, &text("two")).wait().unwrap();
        assert_eq!(groups.get_async(1).wait().unwrap(), Some(text("uno")));
        assert_eq!(groups.get_at(&before, 1).unwrap(), Some(text("one")));
        let many = groups.get_many([2, 3, 1]).unwrap();
        assert_eq!(many, [Some(text("two")), None, Some(text("uno"))]);
        groups.delete(1).unwrap();
        groups.delete(1).unwrap();
        groups.delete_async(2).wait().unwrap();
        assert_eq!(groups.get_many([1, 2]).unwrap(), [None::<String>, None]);
        let other = Store::in_memory().snapshot().unwrap();
        assert_eq!(groups.get_at(&other, 1).unwrap_err().kind(), ErrorKind::InvalidUse);
        let again = store.meta::<String>("group").ttl(Duration::from_secs(9)).create().err();
        assert_eq!(again.unwrap().kind(), ErrorKind::AlreadyExists);
        assert_eq!(store.meta::<String>("group").create_or_open().unwrap().name(), "group");
        let kind = store.table::<String>("group").open().err().unwrap().kind();
        assert_eq!(kind, ErrorKind::InvalidUse);
        store.table::<String>("message").create().unwrap();
        let kind = store.meta::<String>("message").create_or_open().err().unwrap().kind();
        assert_eq!(kind, ErrorKind::InvalidUse);
    });
}

#[test]
fn values_are_listed_by_prefix() {
    over_both(|store| {
        let table = store.meta::<String>("t").create().unwrap();
        for number in 0..200 {
            table.put(("group", number), &text(number)).unwrap();
        }
        for id in ["alice", "groups", "zoe"] {
            table.put(id, &text(id)).unwrap();
        }
        let list = |prefix: &TimelinePrefix| -> Vec<String> {
            table.list(prefix).unwrap().map(|entry| entry.unwrap().1).collect()
        };
        let groups: Vec<String> = (0..200).map(text).collect();
        assert_eq!(list(&TimelinePrefix::fields("group").unwrap()), groups);
        assert_eq!(list(&TimelinePrefix::fields(("group", 7)).unwrap()), ["7"]);
        assert_eq!(list(&TimelinePrefix::fields("nobody").unwrap()), [""; 0]);
        let all = list(&TimelinePrefix::all());
        assert_eq!((all.len(), &all[0][..], &all[202][..]), (203, "alice", "zoe"));
        let found = table.list(&TimelinePrefix::all()).unwrap().nth(1).unwrap().unwrap();
        assert_eq!(found.0.to_string(), "t:group,i:0");
    });
}

#[test]
fn a_value_is_replaced_on_condition() {
    over_both(|store| {
        let table = store.meta::<String>("t").create().unwrap();
        let (one, two) = (text("one"), text("two"));
        table.replace("k", None, Some(&one)).unwrap();
        let refused = |outcome: Result<()>| {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Conflict);
        };
        refused(table.replace("k", None, Some(&two)));
        refused(table.replace("k", Some(&two), None));
        table.replace("k", Some(&one), Some(&two)).unwrap();
        table.replace("k", Some(&two), None).unwrap();
        assert_eq!(table.get("k").unwrap(), None);
    });
}

/// Many who change a value at the same time lose none of their changes.
#[test]
fn updates_are_not_lost() {
    over_both(|store| {
        let table = store.meta::<Row>("t").create().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let change = |row: Option<Row>| {
                            let row = row.unwrap_or_default();
                            let count = row.integer("count").unwrap_or(0);
                            Some(row.with("count", count + 1))
                        };
                        table.update("k", change).unwrap();
                    }
                });
            }
        });
        assert_eq!(table.get("k").unwrap().unwrap().integer("count"), Some(100));
        assert_eq!(table.update("k", |_| None).unwrap(), None);
        assert_eq!(table.get("k").unwrap(), None);
    });
}

/// A message and what is known of its conversation could not be written together.
#[test]
fn a_value_is_written_with_a_message_or_not_at_all() {
    over_both(|store| {
        let history = store.table::<String>("message").create().unwrap();
        let inbox = store.table::<String>("sync").create().unwrap();
        let last = store.meta::<String>("last").create().unwrap();
        let room = history.timeline("room").unwrap();
        let send = |message: &str, latest| {
            let sent = history.fan_out("room", &text(message)).unwrap();
            let sent = sent.to(&inbox, ["ann"]).unwrap();
            sent.put(&last, "room", &text(message)).unwrap().expect_latest(latest).commit()
        };
        assert_eq!(send("one", 0).unwrap().seq, 1);
        assert_eq!(last.get("room").unwrap(), Some(text("one")));
        assert_eq!(send("late", 0).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(last.get("room").unwrap(), Some(text("one")));
        let two = text("two");
        room.write(&two).put(&last, "room", &two).unwrap().store().unwrap();
        assert_eq!(last.get("room").unwrap(), Some(two.clone()));
        let late = room.write(&two).put(&last, "room", &text("late")).unwrap().expect_latest(9);
        assert_eq!(late.store().unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(last.get("room").unwrap(), Some(two));
        foreign(&room, history.fan_out("room", &text("x")).unwrap());
    });
}

/// A value of another store is refused.
fn foreign(room: &Timeline<String>, sent: FanOut<String>) {
    let other: MetaTable<String> = Store::in_memory().meta("last").create().unwrap();
    let message = text("x");
    let refused = sent.put(&other, "room", &message).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::InvalidUse);
    let write: Result<Append<'_, String>> = room.write(&message).put(&other, "room", &message);
    assert_eq!(write.err().unwrap().kind(), ErrorKind::InvalidUse);
}

/// In the batch buffer each message takes its value along, in the order of the calls.
#[test]
fn values_go_through_the_buffer_with_their_messages() {
    let buffer = BufferOptions { delay: Duration::from_secs(3600), ..BufferOptions::default() };
    let backend = std::sync::Arc::new(MemoryBackend::new());
    let store = Store::options().buffer(buffer).open_with(backend).unwrap();
    let room = store.table::<String>("t").create().unwrap().timeline("room").unwrap();
    let last = store.meta::<String>("last").create().unwrap();
    for number in 0..5 {
        let message = text(number);
        drop(room.write(&message).put(&last, "room", &message).unwrap().batch().unwrap());
    }
    assert_eq!(last.get("room").unwrap(), None);
    store.flush().unwrap();
    assert_eq!((room.len().unwrap(), last.get("room").unwrap()), (5, Some(text(4))));
}

/// A value that was set by itself came before one that waited in the batch buffer, and was set back
/// by it: the newer of two writes of one thread was lost.
#[test]
fn a_value_waits_for_those_before_it_in_the_buffer() {
    let buffer = BufferOptions { delay: Duration::from_secs(3600), ..BufferOptions::default() };
    let backend = std::sync::Arc::new(MemoryBackend::new());
    let store = Store::options().buffer(buffer).open_with(backend).unwrap();
    let room = store.table::<String>("t").create().unwrap().timeline("room").unwrap();
    let last = store.meta::<String>("last").create().unwrap();
    let buffered = |value: &str| {
        let message = text(value);
        drop(room.write(&message).put(&last, "room", &message).unwrap().batch().unwrap());
    };
    buffered("1");
    last.put("room", &text("2")).unwrap();
    assert_eq!(last.get("room").unwrap(), Some(text("2")));
    buffered("3");
    last.delete("room").unwrap();
    buffered("4");
    last.put_async("room", &text("5")).wait().unwrap();
    store.flush().unwrap();
    assert_eq!((room.len().unwrap(), last.get("room").unwrap()), (3, Some(text("5"))));
}

#[test]
fn a_value_that_does_not_decode_is_named() {
    let store = Store::in_memory();
    let bytes = store.meta::<Payload>("t").create().unwrap();
    for (id, value) in [("a", &b"fine"[..]), ("b", &b"\xFF"[..]), ("c", &b"fine"[..])] {
        bytes.put(id, &Payload::from_vec(value.to_vec())).unwrap();
    }
    let table = store.meta::<String>("t").open().unwrap();
    let error = table.get("b").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().starts_with("table t, the value of b: a text message"), "{error}");
    let found: Vec<_> = table.list(&TimelinePrefix::all()).unwrap().collect();
    assert_eq!(found.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
}
