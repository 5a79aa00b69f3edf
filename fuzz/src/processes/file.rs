//! One file: killed again and again, and looked at in between.

use super::check::check;
use super::child::{Aim, Life};
use super::counts::Counts;
use super::model::Model;
use super::setup::Setup;
use super::witness::Witness;
use std::path::Path;
use std::time::Instant;
use tidelog_engine::inspect::{Fault, Inspector};
use tidelog_engine::testing::Random;
use tidelog_engine::{Engine, ErrorKind, Options, ReadMode};

/// Kills `kills` processes over the store of one seed, and ends with one that is not killed.
///
/// # Errors
/// What does not hold. The files are left as they are then.
pub(super) fn run(
    program: &Path,
    seed: u64,
    kills: u32,
    folder: &Path,
    counts: &mut Counts,
) -> Result<(), String> {
    let setup = Setup::new(seed, folder);
    remove(&setup)?;
    let mut random = Random::new(seed ^ 0x0070_6172);
    let mut file = File { model: Model::new(&setup), setup, witness: Witness::default(), counts };
    let mut behind_a_kill = false;
    for round in 0..kills {
        let life = Life::new(program, &file.setup, round, Aim::draw(&mut random))
            .map_err(|what| format!("process {round}: {what}"))?;
        file.counts.note(&life, behind_a_kill);
        behind_a_kill = life.killed;
        file.witness.add(round, life);
        let outcome = match random.below(4) {
            // The next process is the first to open it: it may be killed while it recovers.
            0 | 1 => continue,
            2 => file.look_beside(),
            _ => {
                behind_a_kill = false;
                file.look_and_recover(random.chance(1, 2))
            }
        };
        outcome.map_err(|what| format!("behind the kill of process {round}: {what}"))?;
    }
    let life = Life::new(program, &file.setup, kills, Aim::Never)
        .map_err(|what| format!("the last process: {what}"))?;
    file.counts.note(&life, behind_a_kill);
    file.witness.add(kills, life);
    file.look_and_recover(true).map_err(|what| format!("at the end: {what}"))?;
    file.counts.files += 1;
    remove(&file.setup)
}

fn remove(setup: &Setup) -> Result<(), String> {
    let errors = setup.path.with_extension("stderr");
    for path in setup.files().into_iter().chain([errors.as_path()]) {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("{}: {error}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Waits until the system has ended the last write of a process that is gone: that write holds the
/// lock, for which a reader does not ask. What it writes would be found by a later look only.
fn wait_for_writes(path: &Path) -> Result<(), String> {
    let text = |error: std::io::Error| format!("{}: {error}", path.display());
    match std::fs::File::open(path) {
        Ok(file) => file.lock().map_err(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(text(error)),
    }
}

struct File<'a> {
    setup: Setup,
    model: Model,
    witness: Witness,
    counts: &'a mut Counts,
}

impl File<'_> {
    /// Looks at the file as the kill has left it, and writes nothing.
    fn look_beside(&mut self) -> Result<(), String> {
        wait_for_writes(&self.setup.path)?;
        self.verify()?;
        let options = Options {
            read_only: true,
            create: false,
            read_mode: ReadMode::Read,
            ..self.setup.options.clone()
        };
        let engine = match self.open(options) {
            Ok(engine) => engine,
            Err((ErrorKind::NotFound, _)) if self.witness.count() + self.model.operations == 0 => {
                return Ok(());
            }
            Err((_, what)) => return Err(format!("opening to read: {what}")),
        };
        self.check(&engine)
    }

    /// Opens it, looks, and closes it, or lets go of it.
    fn look_and_recover(&mut self, close: bool) -> Result<(), String> {
        self.verify()?;
        let engine = self.open(self.setup.options.clone()).map_err(|(_, what)| what)?;
        self.check(&engine)?;
        if close {
            engine.close().map_err(|error| format!("closing: {error}"))?;
        }
        drop(engine);
        self.verify()
    }

    fn open(&mut self, options: Options) -> Result<Engine, (ErrorKind, String)> {
        let start = Instant::now();
        let engine = Engine::open(&self.setup.path, options)
            .map_err(|error| (error.kind(), format!("opening: {error}")))?;
        let ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.counts.slowest_opening_ms = self.counts.slowest_opening_ms.max(ms);
        Ok(engine)
    }

    fn check(&mut self, engine: &Engine) -> Result<(), String> {
        let doubtful = check(&self.setup, engine, &mut self.model, &self.witness)?;
        self.counts.doubtful += doubtful;
        self.counts.checks += 1;
        self.counts.acknowledged += self.witness.count();
        self.witness = Witness::default();
        Ok(())
    }

    /// No fault in the file as it is.
    fn verify(&self) -> Result<(), String> {
        // One whose creation was cut off, or had not begun, is created anew by the next opening.
        let unfinished = self.witness.count() + self.model.operations == 0;
        match self.faults() {
            _ if unfinished => Ok(()),
            Ok(faults) if faults.is_empty() => Ok(()),
            Ok(faults) => Err(format!("verify finds {faults:?}")),
            Err(error) => Err(format!("verify: {error}")),
        }
    }

    fn faults(&self) -> Result<Vec<Fault>, tidelog_engine::Error> {
        let mut inspector = Inspector::open(&self.setup.path)?;
        if let Some(cold) = self.setup.options.cold_file.as_ref().filter(|path| path.exists()) {
            inspector = inspector.with_cold_file(cold)?;
        }
        Ok(inspector.verify()?.faults)
    }
}
