//! The command line.

use crate::engine::EngineName;
use crate::workload::WorkloadName;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Compares Tidelog with other engines.
#[derive(Parser)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Run workloads on engines and print what was measured.
    Run(RunOptions),
    /// One run in this process: started by `run`.
    #[command(hide = true)]
    Child(ChildOptions),
}

/// Options of `run`.
#[derive(Args)]
pub struct RunOptions {
    /// Workloads, separated by commas. W4 and W6 read what W1 left, so they bring W1 with them.
    #[arg(long, value_delimiter = ',', default_value = "w1,w2,w3,w4,w5,w6")]
    pub workload: Vec<WorkloadName>,
    /// Engines, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "tidelog,fjall,rawlog")]
    pub engine: Vec<EngineName>,
    /// How often each engine runs each workload; the table shows medians.
    #[arg(long, default_value_t = 3)]
    pub repeat: u32,
    /// A folder on the disk to be measured. Databases lie in a folder of their own inside, which is
    /// deleted at the end.
    #[arg(long)]
    pub directory: PathBuf,
    /// Size of the workloads; 1 is the full size.
    #[arg(long, default_value_t = 1.0, value_parser = scale)]
    pub scale: f64,
}

/// Options of one run in a process of its own.
#[derive(Args)]
pub struct ChildOptions {
    /// The workload.
    #[arg(long)]
    pub workload: WorkloadName,
    /// The engine.
    #[arg(long)]
    pub engine: EngineName,
    /// The folder of the database.
    #[arg(long)]
    pub directory: PathBuf,
    /// As in `run`.
    #[arg(long, value_parser = scale)]
    pub scale: f64,
}

fn scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if scale > 0.0 && scale <= 100.0 => Ok(scale),
        _ => Err("a number above 0, at most 100".to_owned()),
    }
}
