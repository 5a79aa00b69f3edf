//! One case in a child under callgrind.

use super::Result;
use std::process::{Command, Stdio};
use tidelog_benches::structures::{Case, all};

/// The function whose instructions are counted, and those of what it calls.
const COUNTED: &str = "*operated_under_callgrind*";

/// What the child says on its first line.
const FEATURES: &str = "processor features: ";

/// The version of valgrind, if it is installed.
pub(crate) fn version() -> Option<String> {
    let output = Command::new("valgrind").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

/// Runs a case once, in this process; without a name, says what the processor can do.
pub(crate) fn run_case(name: &str) -> Result<()> {
    if name.is_empty() {
        println!("{FEATURES}{}", processor_features());
        return Ok(());
    }
    let case = all().into_iter().find(|case| case.full_name() == name);
    let case = case.ok_or_else(|| format!("there is no case {name}"))?;
    let mut operation = case.prepare();
    case.run(&mut operation);
    Ok(())
}

/// Instructions an element.
pub(crate) fn count(case: &Case) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("callgrind.out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--quiet"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe()?)
        .args(["run", &case.full_name()])
        .stdout(Stdio::null())
        .output()?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} under callgrind:\n{errors}", case.full_name()).into());
    }
    let total = total(&std::fs::read_to_string(&file)?);
    let total = total.ok_or_else(|| format!("nothing was counted of {}", case.full_name()))?;
    Ok(total as f64 / case.elements as f64)
}

/// The features of the processor as a program sees them under callgrind, which has not all.
pub(crate) fn features() -> Result<String> {
    let output = Command::new("valgrind")
        .args(["--tool=none", "--quiet"])
        .arg(std::env::current_exe()?)
        .args(["run", ""])
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().find_map(|line| line.strip_prefix(FEATURES));
    Ok(line.ok_or("the child under valgrind said nothing")?.to_owned())
}

/// The line `totals: N` of callgrind's file; 0 instructions were not counted at all.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("totals:"))?;
    line.trim().parse().ok().filter(|total| *total > 0)
}

#[cfg(target_arch = "x86_64")]
fn processor_features() -> String {
    let features = [
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
        ("ermsb", is_x86_feature_detected!("ermsb")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("vpclmulqdq", is_x86_feature_detected!("vpclmulqdq")),
    ];
    let there: Vec<&str> =
        features.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
    there.join(" ")
}

#[cfg(not(target_arch = "x86_64"))]
fn processor_features() -> String {
    std::env::consts::ARCH.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_found_and_nothing_counted_is_no_count() {
        assert_eq!(total("events: Ir\nsummary: 5\ntotals: 12345\n"), Some(12345));
        assert_eq!(total("totals: 0\n"), None);
        assert_eq!(total("fn=main\n"), None);
    }
}
