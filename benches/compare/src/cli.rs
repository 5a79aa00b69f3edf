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
    /// Run what grows: threads, timelines, bytes.
    Scaling(ScalingOptions),
    /// Every engine on every workload in a small size, to see that all of it works: no figures.
    Short(ShortOptions),
    /// Print the report of a file of results.
    Report {
        /// The file of results.
        results: PathBuf,
    },
    /// Draw the plots of a file of results, and a page that shows them.
    Plots(PlotsOptions),
    /// One run in this process: started by the others.
    #[command(hide = true)]
    Child(ChildOptions),
}

/// Options of `run`.
#[derive(Args)]
pub struct RunOptions {
    /// Workloads, separated by commas. What reads the database of W1 brings W1 with it.
    #[arg(long, value_delimiter = ',', default_values_t = WorkloadName::IN_ONE_RUN)]
    pub workload: Vec<WorkloadName>,
    /// Engines, separated by commas.
    #[arg(long, value_delimiter = ',', default_values_t = EngineName::all())]
    pub engine: Vec<EngineName>,
    /// How often each engine runs each workload; the tables show medians.
    #[arg(long, default_value_t = 3)]
    pub repeat: u32,
    /// Where and how.
    #[command(flatten)]
    pub common: CommonOptions,
}

/// Options of `scaling`.
#[derive(Args)]
pub struct ScalingOptions {
    /// What grows, separated by commas.
    #[arg(long, value_delimiter = ',', default_values_t = WorkloadName::SCALING)]
    pub workload: Vec<WorkloadName>,
    /// Engines, separated by commas.
    #[arg(long, value_delimiter = ',', default_values_t = [EngineName::Tidelog])]
    pub engine: Vec<EngineName>,
    /// How often each engine runs each step.
    #[arg(long, default_value_t = 1)]
    pub repeat: u32,
    /// Where and how.
    #[command(flatten)]
    pub common: CommonOptions,
}

/// Where and how runs go.
#[derive(Args, Clone)]
pub struct CommonOptions {
    /// A folder on the disk to be measured. Databases lie in a folder of their own inside, which is
    /// deleted at the end.
    #[arg(long)]
    pub directory: PathBuf,
    /// The file of results, a line of JSON each: what it has is not run again. By default
    /// `compare.jsonl` in the folder.
    #[arg(long)]
    pub results: Option<PathBuf>,
    /// Forget what the file of results has.
    #[arg(long)]
    pub fresh: bool,
    /// Size of the workloads; 1 is the full size.
    #[arg(long, default_value_t = 1.0, value_parser = scale)]
    pub scale: f64,
}

/// Options of `short`.
#[derive(Args)]
pub struct ShortOptions {
    /// Engines, separated by commas.
    #[arg(long, value_delimiter = ',', default_values_t = EngineName::all())]
    pub engine: Vec<EngineName>,
    /// A folder for the databases.
    #[arg(long)]
    pub directory: PathBuf,
}

/// Options of `plots`.
#[derive(Args)]
pub struct PlotsOptions {
    /// The folder of `run`, with the file of results `compare.jsonl` in it.
    #[arg(long)]
    pub directory: Option<PathBuf>,
    /// The file of results, where it is another one.
    #[arg(long)]
    pub results: Option<PathBuf>,
    /// The folder for the plots.
    #[arg(long)]
    pub output: PathBuf,
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
    /// What grows, in a workload of scaling.
    #[arg(long, default_value_t = 0)]
    pub parameter: u64,
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
