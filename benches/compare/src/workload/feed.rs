//! W7: feeds that do not fit into memory, in the shape of fjall's published benchmark: users with a
//! profile and 50 posts, loaded user by user (which suits B-trees best); then for five minutes one
//! thread posts (20%) or reads a profile and the newest 20 posts (80%) of Zipf-chosen users. Not
//! synced but for once a second. The data are four times the memory that the process is allowed,
//! the kernel's cache of its files included.

use super::{KEY_BYTES, LIMIT, Run, SEED, check};
use crate::Result;
use crate::engine::{Entry, Found, Peer, Range, Setup, Table};
use crate::measure::{Latencies, Meter, Work};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};
use tidelog_benches::{Random, Zipf};

/// Users at full size: with what they have, 4.3 GB.
const USERS: u64 = 108_000;
const POSTS: u64 = 50;
const POST: RangeInclusive<usize> = 640..=896;
const PROFILE: RangeInclusive<usize> = 512..=512;
/// Users of one batch while loading.
const BATCH: u64 = 20;
const POSTS_PERCENT: u64 = 20;
/// Length of the measured stretch at full size.
const SECONDS: u64 = 300;
const SYNC_EVERY: Duration = Duration::from_secs(1);

struct Feed<'a> {
    run: &'a Run,
    peer: &'a dyn Peer,
    users: u64,
    /// Posts of each user.
    counts: Vec<u64>,
    posts: Latencies,
    reads: Latencies,
    wrong: u64,
    logical_bytes: u64,
}

pub fn run(run: &Run, memory_bytes: Option<u64>) -> Result<()> {
    let peer = run.open(&Setup { memory_bytes, ..Setup::default() })?;
    let users = run.scaled(USERS);
    let mut feed = Feed {
        run,
        peer: &*peer,
        users,
        counts: vec![POSTS; usize::try_from(users)?],
        posts: Latencies::new(),
        reads: Latencies::new(),
        wrong: 0,
        logical_bytes: 0,
    };
    feed.load()?;
    let meter = Meter::start(&run.directory)?;
    let start = Instant::now();
    feed.go_on(Duration::from_millis(run.scaled(SECONDS * 1_000)).max(Duration::from_secs(2)))?;
    let duration = Some(start.elapsed());
    let Feed { posts, reads, wrong, logical_bytes, .. } = feed;
    let (post, read) = (posts.count(), reads.count());
    let work = Work {
        workload: "w7-read",
        operations: read,
        logical_bytes,
        latencies: reads,
        duration,
        is_cold: true,
        ..Work::default()
    };
    let mut record = meter.finish(work)?;
    record.figures.insert("memory allowed MiB".into(), mib(memory_bytes.unwrap_or(0)));
    record.figures.insert("logical MiB".into(), mib(logical_bytes));
    let mut of_posts = record.clone();
    run.report(&*peer, record, wrong)?;
    of_posts.workload = "w7-post".to_owned();
    of_posts.operations = post;
    of_posts.rate = post as f64 / of_posts.seconds;
    of_posts.take_latencies(&posts);
    run.report(&*peer, of_posts, 0)
}

impl Feed<'_> {
    fn load(&mut self) -> Result<()> {
        let mut first = 0;
        let mut synced = Instant::now();
        while first < self.users {
            let users = first..(first + BATCH).min(self.users);
            first = users.end;
            let profiles: Vec<_> =
                users.clone().map(|user| (user, profile(self.run, user))).collect();
            self.peer.put(&profiles)?;
            let posts = users.flat_map(|user| (1..=POSTS).map(move |seq| (user, seq)));
            let entries: Vec<Entry> = posts
                .map(|(timeline, seq)| Entry {
                    timeline,
                    seq,
                    payload: post(self.run, timeline, seq),
                })
                .collect();
            let keys = KEY_BYTES * entries.len() as u64 + 8 * profiles.len() as u64;
            let payloads: usize = entries.iter().map(|entry| entry.payload.len()).sum();
            let bodies: usize = profiles.iter().map(|(_, profile)| profile.len()).sum();
            self.logical_bytes += keys + (payloads + bodies) as u64;
            self.wrong += self.peer.append(&entries)?;
            self.sync_if_due(&mut synced)?;
        }
        self.peer.sync()
    }

    fn sync_if_due(&self, synced: &mut Instant) -> Result<()> {
        if synced.elapsed() >= SYNC_EVERY {
            self.peer.sync()?;
            *synced = Instant::now();
        }
        Ok(())
    }

    fn go_on(&mut self, length: Duration) -> Result<()> {
        let zipf = Zipf::new(u32::try_from(self.users)?, SEED);
        let mut random = Random::new(SEED + 4);
        let start = Instant::now();
        let mut synced = start;
        while start.elapsed() < length {
            let user = zipf.draw(&mut random);
            if random.below(100) < POSTS_PERCENT {
                self.post(user)?;
            } else {
                self.read(user)?;
            }
            self.sync_if_due(&mut synced)?;
        }
        Ok(())
    }

    fn post(&mut self, user: u32) -> Result<()> {
        let timeline = u64::from(user);
        self.counts[user as usize] += 1;
        let seq = self.counts[user as usize];
        let payload = post(self.run, timeline, seq);
        self.logical_bytes += KEY_BYTES + payload.len() as u64;
        let entry = Entry { timeline, seq, payload };
        self.wrong += self.posts.time(|| self.peer.append(&[entry]))?;
        Ok(())
    }

    fn read(&mut self, user: u32) -> Result<()> {
        let timeline = u64::from(user);
        let (mut own, mut feed) = (Found::default(), Found::default());
        self.reads.time(|| {
            self.peer.get(timeline, &mut own)?;
            self.peer.read(Table::Messages, timeline, Range::Newest, LIMIT, &mut feed)
        })?;
        let seqs = (1..=self.counts[user as usize]).rev().take(LIMIT);
        let expected = seqs.map(|seq| (seq, post(self.run, timeline, seq)));
        self.wrong += check::wrong(&feed, expected);
        self.wrong += check::wrong(&own, std::iter::once((0, profile(self.run, timeline))));
        Ok(())
    }
}

fn post(run: &Run, user: u64, seq: u64) -> &[u8] {
    run.text.payload(user, seq, &POST)
}

fn profile(run: &Run, user: u64) -> &[u8] {
    run.text.payload(user, 0, &PROFILE)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}
