//! The harness itself: every engine that was built in runs every workload, small, and every answer
//! is right. Figures of it mean nothing.

use std::path::Path;
use std::process::Command;

#[test]
fn every_engine_runs_every_workload_without_a_wrong_answer() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("short");
    let output = Command::new(env!("CARGO_BIN_EXE_tidelog-compare"))
        .args(["short", "--directory"])
        .arg(&directory)
        .output()
        .expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("its output is text");
    let remarks = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{remarks}");
    let mut engines = vec!["tidelog", "fjall", "redb", "heed", "rusqlite"];
    if cfg!(feature = "rocksdb") {
        engines.push("rocksdb");
    }
    // Every table is there, with a row of every engine; few have asynchronous commits.
    let report = text.split("## Engines").nth(1).expect("there is a report");
    for heading in ["W1 ", "W2 ", "W3 ", "W3q ", "W3a ", "W4 newest", "W4C newest", "W5 ", "W6 "] {
        let table = report.split(&format!("\n## {heading}")).nth(1);
        let table = table.unwrap_or_else(|| panic!("no table {heading}:\n{report}\n{remarks}"));
        let rows: Vec<&str> = table.lines().take_while(|line| !line.starts_with("## ")).collect();
        for engine in &engines {
            let row = format!("| {engine} |");
            let is_there = rows.iter().any(|line| line.starts_with(&row));
            assert!(
                is_there || (heading == "W3a " && *engine != "tidelog"),
                "no row of {engine} in {heading}:\n{report}"
            );
        }
    }
}
