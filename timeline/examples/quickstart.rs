//! A group message: one commit, delivered to two inboxes, read by one of them.

use tidelog::{Scan, Store, StringMessage};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = Store::options().open(folder.path().join("chat.tide"))?;
    let history = store.table::<StringMessage>("message").create()?;
    let inbox = store.table::<StringMessage>("sync").create()?;
    let hello = StringMessage::with_id("m-1", "hello");
    let sent = history.fan_out(("group", 42), &hello)?.to(&inbox, ["alice", "bob"])?.commit()?;
    let seen = 0; // the last entry that bob's device has
    for entry in inbox.timeline("bob")?.scan(Scan::forward().from(seen + 1).limit(100))? {
        assert_eq!(entry?.origin.map(|origin| origin.seq), Some(sent.seq));
    }
    Ok(store.close()?)
}
