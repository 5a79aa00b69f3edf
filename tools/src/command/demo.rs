//! `demo`: a day of a chat service, written, read back and checked.

use super::{arguments, store};
use crate::demo::{Counts, Random, Stage, Tables, World, check_conversations, play, sync_all};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Output, Unit};
use crate::text;
use crate::time::{self, Stopwatch};
use std::path::PathBuf;
use tidelog_engine::{Durability, Engine, Stats, TableOptions};

/// The day that is played, in UTC.
const DAY: &str = "2024-06-01";

/// Play a generated day of a chat service into a new store, read it back and check it
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// The store to create; it is left for inspection
    #[arg(long, default_value = "demo.tide")]
    file: PathBuf,
    /// Users, each with an inbox
    #[arg(long, default_value_t = 5_000, value_parser = users)]
    users: u32,
    /// Messages, each one commit
    #[arg(long, default_value_t = 400_000, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
    /// The same seed plays the same day
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// When a message counts as sent: sync, interval:MS or buffered; all is synced at the end
    #[arg(long, default_value = "buffered", value_parser = arguments::durability)]
    durability: Durability,
    #[command(flatten)]
    new_store: store::NewStore,
    /// Replace the file where there is one
    #[arg(long)]
    force: bool,
}

impl Demo {
    pub(super) fn run(self) -> Outcome {
        self.make_way()?;
        let day_ms = time::day_start_ms(DAY).expect("a fixed day");
        let mut random = Random::new(self.seed);
        let world = World::generate(self.users, &mut random).map_err(Failure::usage)?;
        let engine = store::open_for_writing(&self.file, &self.new_store)?;
        let tables = Tables {
            message: engine.create_table("message", TableOptions::timeline())?,
            sync: engine.create_table("sync", TableOptions::timeline())?,
            cursor: engine.create_table("cursor", TableOptions::keyed())?,
        };
        let stage = Stage { engine: &engine, tables, world: &world };
        let writing = Stopwatch::start();
        let bar = output::progress(self.messages, Unit::Items).with_message("messages sent");
        let counts = play(&stage, self.messages, self.durability, day_ms, &mut random, &bar)?;
        engine.sync()?;
        let write_seconds = writing.seconds();
        let reading = Stopwatch::start();
        let bar = output::progress(u64::from(self.users), Unit::Items).with_message("users synced");
        let entries_read = sync_all(&stage, &counts, &bar)?;
        check_conversations(&stage, &counts)?;
        let work = Work {
            users: world.inboxes.len() as u64,
            conversations: world.conversations.len() as u64,
            write_seconds,
            entries_read,
            read_seconds: reading.seconds(),
        };
        self.report(&engine, &counts, &work)
    }

    /// A file that is there is somebody's work, unless the user says otherwise.
    fn make_way(&self) -> Outcome {
        let name = self.file.display();
        if !self.file.exists() {
            return Ok(());
        }
        if !self.force {
            return Err(Failure::usage(format_args!("{name} is there; --force replaces it")));
        }
        std::fs::remove_file(&self.file)
            .map_err(|error| Failure::from(error).context(format_args!("removing {name}")))
    }

    fn report(&self, engine: &Engine, counts: &Counts, work: &Work) -> Outcome {
        engine.close()?;
        let mut output = Output::standard(false);
        output.table(&work_rows(counts, work, self.durability))?;
        output.line("")?;
        output.table(&space_rows(&engine.stats()))?;
        output.line("")?;
        output.line("Every inbox holds what was sent to it, in order and without a gap.")?;
        output.line(format_args!(
            "Look at it: tidelog scan {} --table sync --timeline t:user,i:0 --limit 5",
            self.file.display()
        ))?;
        Ok(output.flush()?)
    }
}

/// How long the parts took, and what they did.
struct Work {
    users: u64,
    conversations: u64,
    write_seconds: f64,
    entries_read: u64,
    read_seconds: f64,
}

fn users(text: &str) -> Result<u32, String> {
    let users = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if (2..=1_000_000).contains(&users) { Ok(users) } else { Err("2 to 1,000,000".to_owned()) }
}

fn row(name: &str, value: impl Into<String>, note: impl Into<String>) -> Vec<String> {
    vec![name.to_owned(), value.into(), note.into()]
}

fn work_rows(counts: &Counts, work: &Work, durability: Durability) -> Vec<Vec<String>> {
    let rate = |count, seconds| format!("{} a second", text::rate(count, seconds));
    let durability = arguments::durability_name(durability);
    let written = format!("{:.1} s, {durability}, synced at the end", work.write_seconds);
    let read = format!("{:.1} s, contents and order checked", work.read_seconds);
    vec![
        row("users", text::grouped(work.users), ""),
        row("conversations", text::grouped(work.conversations), ""),
        row("messages", text::grouped(counts.messages), written),
        row("", "", rate(counts.messages, work.write_seconds)),
        row("deliveries", text::grouped(counts.deliveries), ""),
        row("", "", rate(counts.deliveries, work.write_seconds)),
        row("entries synced", text::grouped(work.entries_read), read),
        row("", "", rate(work.entries_read, work.read_seconds)),
    ]
}

fn space_rows(stats: &Stats) -> Vec<Vec<String>> {
    let rest = stats.file_bytes.saturating_sub(stats.sstable_bytes + stats.free_bytes);
    vec![
        row("file", text::bytes(stats.file_bytes), ""),
        row("  SSTables", text::bytes(stats.sstable_bytes), format!("{}", stats.sstables)),
        row("  free", text::bytes(stats.free_bytes), "what comes next takes it"),
        row("  the rest", text::bytes(rest), "superblock, WAL, manifest"),
    ]
}
