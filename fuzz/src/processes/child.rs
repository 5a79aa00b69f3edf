//! One life of the child, seen by its parent: what it said, and where it was when it was killed.

use super::line::{Line, Stage, Work};
use super::payload::Author;
use super::setup::Setup;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};
use tidelog_engine::testing::Random;

/// The first argument of a process that is to be killed.
pub(super) const VICTIM: &str = "victim-of-kills";
/// The number of the signal that nobody can catch.
const SIGKILL: i32 = 9;
/// A child that is to be killed at a moment that does not come is killed after this time.
const LIFE_MAX: Duration = Duration::from_millis(300);
/// A child that ends by itself takes no longer, also on a machine that does much else. Counted in
/// seconds that the parent lived through: where both were stopped meanwhile, that was one.
const LAST_LIFE_SECONDS: u32 = 240;

/// When the child is killed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Aim {
    /// So long after it was started.
    After(Duration),
    /// So long after it said that it is there; or after a bulk commit was begun.
    Stage(Stage, Duration),
    Bulk(Duration),
    /// Never: it ends by itself.
    Never,
}

impl Aim {
    /// A random moment; half of them at one of interest.
    pub(super) fn draw(random: &mut Random) -> Aim {
        let short = Duration::from_micros(random.below(2500));
        match random.below(12) {
            0..6 => Aim::After(Duration::from_micros(random.below(80_000))),
            6 | 7 => Aim::Stage(Stage::Opening, short),
            8 => Aim::Stage(Stage::Flushing, short),
            9 => Aim::Stage(Stage::Compacting, short * 4),
            10 => Aim::Stage(Stage::Closing, short),
            _ => Aim::Bulk(short / 8),
        }
    }

    fn is_met_by(self, line: &Line) -> Option<Duration> {
        match (self, line) {
            (Aim::Stage(stage, delay), Line::Stage(other)) if stage == *other => Some(delay),
            (Aim::Bulk(delay), Line::Bulk { .. }) => Some(delay),
            _ => None,
        }
    }
}

/// What is known of a life.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// Commit number and sequence ids of what was acknowledged.
    pub(super) acknowledged: HashMap<Author, (u64, Vec<u64>)>,
    pub(super) stage: Option<Stage>,
    /// Whether it ever came to have the store open.
    pub(super) opened: bool,
    /// Bulk commits that were begun and not acknowledged.
    pub(super) bulk: HashSet<Author>,
    /// What background work did, over all openings.
    pub(super) work: Work,
    /// What was said of the present opening.
    last_work: Work,
    pub(super) killed: bool,
    done: bool,
    failure: Option<String>,
}

impl Life {
    /// Starts a child, and kills it.
    ///
    /// # Errors
    /// It cannot be started, it failed by itself, or it did not end.
    pub(super) fn new(program: &Path, setup: &Setup, round: u32, aim: Aim) -> Result<Life, String> {
        let errors_path = setup.path.with_extension("stderr");
        let text = |error: std::io::Error| format!("{}: {error}", program.display());
        let errors = File::create(&errors_path).map_err(text)?;
        let last = if matches!(aim, Aim::Never) { "last" } else { "one" };
        let folder = setup.path.parent().unwrap_or(Path::new("."));
        let mut child = Command::new(program)
            .arg(VICTIM)
            .arg(folder)
            .args([setup.seed.to_string(), round.to_string(), last.to_owned()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(text)?;
        let lines = listen(&mut child);
        let mut life = Life::default();
        let hangs = life.hear(&mut child, &lines, round, aim);
        let status = child.wait().map_err(text)?;
        let said = || std::fs::read_to_string(&errors_path).unwrap_or_default();
        if hangs {
            return Err(format!("the child hangs at {:?}", life.stage));
        }
        life.judge(status).map_err(|what| format!("{what}\n{}", said()))?;
        Ok(life)
    }

    /// Hears what it says, and kills it in time; whether it should have ended by itself.
    fn hear(&mut self, child: &mut Child, lines: &Receiver<Line>, round: u32, aim: Aim) -> bool {
        let second = Duration::from_secs(1);
        let mut seconds = LAST_LIFE_SECONDS;
        let mut end = Instant::now()
            + match aim {
                Aim::After(delay) => delay,
                Aim::Never => second,
                Aim::Stage(..) | Aim::Bulk(_) => LIFE_MAX,
            };
        let mut aimed = false;
        loop {
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(delay) = aim.is_met_by(&line).filter(|_| !aimed) {
                        (aimed, end) = (true, Instant::now() + delay);
                    }
                    self.note(line, round);
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if matches!(aim, Aim::Never) && seconds > 0 => {
                    seconds -= 1;
                    end = Instant::now() + second;
                }
                Err(RecvTimeoutError::Timeout) => {
                    // It may have ended a moment ago: its status tells.
                    let _ = child.kill();
                    self.killed = true;
                    break;
                }
            }
        }
        // What it said before it was killed and nobody has read yet.
        lines.iter().for_each(|line| self.note(line, round));
        self.killed && matches!(aim, Aim::Never)
    }

    fn note(&mut self, line: Line, round: u32) {
        match line {
            Line::Stage(stage) => {
                self.stage = Some(stage);
                self.opened |= stage == Stage::Opened;
                if stage == Stage::Opened {
                    self.last_work = Work::default();
                }
            }
            Line::Bulk { writer, number } => {
                self.bulk.insert(Author { round, writer, number });
            }
            Line::Acknowledged { writer, number, commit, seqs } => {
                let author = Author { round, writer, number };
                self.bulk.remove(&author);
                self.acknowledged.insert(author, (commit, seqs));
            }
            Line::Work(work) => {
                let last = std::mem::replace(&mut self.last_work, work);
                self.work.flushes += work.flushes - last.flushes;
                self.work.compactions += work.compactions - last.compactions;
                self.work.moved_bytes += work.moved_bytes - last.moved_bytes;
                self.work.moves = work.moves;
            }
            Line::Done => self.done = true,
            Line::Failed(what) => self.failure = Some(what),
        }
    }

    fn judge(&self, status: ExitStatus) -> Result<(), String> {
        if let Some(what) = &self.failure {
            return Err(format!("the child failed: {what}"));
        }
        let expected = match self.killed {
            true => status.signal() == Some(SIGKILL),
            false => status.success() && self.done,
        };
        match expected {
            true => Ok(()),
            false => Err(format!("the child ended with {status} at {:?}", self.stage)),
        }
    }
}

/// The lines of a child, until its end.
fn listen(child: &mut Child) -> Receiver<Line> {
    let (send, receive) = channel();
    let output = child.stdout.take().expect("its output is a pipe");
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut text = String::new();
        while let Ok(1..) = output.read_line(&mut text) {
            let Some(whole) = text.strip_suffix('\n') else { return };
            let nonsense = || Line::Failed(format!("it said {whole:?}"));
            if send.send(Line::decode(whole).unwrap_or_else(nonsense)).is_err() {
                return;
            }
            text.clear();
        }
    });
    receive
}
