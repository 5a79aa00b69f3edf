//! Whole SSTables: everything that was put in comes out by every path, and damage never does.

mod damage;
mod golden;
mod hostile;
mod keyed;
mod plain;
mod references;
mod remains;
mod timelines;
