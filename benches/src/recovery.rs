//! Recovery: opening a file that no writer has closed.
//!
//! The state after a kill is had without one: the file is copied while its writer still has it open
//! and idle, so the copy holds what a kill at that moment would have left.

use crate::messages::Messages;
use crate::parameters::Parameters;
use crate::scan::fill;
use crate::store::{Store, check, folder, key};
use crate::text::Text;
use std::path::PathBuf;
use tempfile::TempDir;
use tidelog_engine::{Direction, Engine};

/// A file as a kill left it, and what it holds.
pub struct Recovery {
    image: PathBuf,
    text: Text,
    messages: Messages,
    parameters: Parameters,
    folder: TempDir,
}

/// A copy of the file that is to be opened; it goes when this does.
pub struct Crashed {
    folder: TempDir,
}

impl Recovery {
    /// Fills a store and keeps its unclosed file. All messages are in the log alone if the memtable
    /// holds them.
    pub fn new(parameters: Parameters) -> Recovery {
        let store = Store::create(&parameters);
        let text = Text::new(parameters.text_bytes, parameters.seed);
        let messages = fill(&store, &text, &parameters);
        let folder = folder();
        let image = folder.path().join("image.tide");
        std::fs::copy(store.path(), &image).expect("the file can be copied");
        Recovery { image, text, messages, parameters, folder }
    }

    /// A fresh copy.
    pub fn crashed(&self) -> Crashed {
        let folder = TempDir::new_in(self.folder.path()).expect("the folder can be written");
        std::fs::copy(&self.image, folder.path().join("bench.tide"))
            .expect("the file can be copied");
        Crashed { folder }
    }

    /// Opens a copy and reads the newest entries of the hottest timeline.
    pub fn open(&self, crashed: &Crashed) -> Engine {
        let path = crashed.folder.path().join("bench.tide");
        let engine = Engine::open(path, self.parameters.options()).expect("the store opens");
        let hottest = u64::from(self.messages.zipf().hottest());
        self.check(&engine, hottest, self.parameters.limit);
        engine
    }

    /// Reads everything back. Returns the number of entries.
    pub fn check_all(&self, engine: &Engine) -> u64 {
        let timelines = self.messages.counts();
        timelines.map(|(timeline, _)| self.check(engine, timeline, usize::MAX)).sum()
    }

    fn check(&self, engine: &Engine, timeline: u64, limit: usize) -> u64 {
        let table = engine.table("message").expect("the table was created").id;
        let scan = engine
            .snapshot()
            .scan(table, &key(timeline), 1, u64::MAX, Direction::Backward)
            .expect("the timeline can be read");
        let count = self.messages.count(timeline);
        let payload = |seq| self.text.payload(timeline, seq, &self.parameters.payload);
        let read = check(scan.take(limit), (1..=count).rev(), payload);
        assert_eq!(read, count.min(limit as u64), "entries of timeline {timeline}");
        read
    }
}
