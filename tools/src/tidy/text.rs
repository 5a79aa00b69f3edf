//! Width, trailing spaces, and one first-level heading a Markdown file.

use super::Fault;
use super::source::{File, Repository};

/// Most characters of a line of Rust. A line with an address in it may be longer.
pub const LINE_WIDTH_MAX: usize = 100;

/// Untidy text.
pub fn check(repository: &Repository) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in &repository.files {
        check_lines(file, &mut faults);
        if file.path.ends_with(".md") {
            check_headings(file, &mut faults);
        }
    }
    faults
}

fn check_lines(file: &File, faults: &mut Vec<Fault>) {
    for (index, line) in file.text.lines().enumerate() {
        if line.ends_with([' ', '\t']) {
            faults.push(Fault::new(&file.path, index + 1, "trailing space"));
        }
        let width = line.chars().count();
        if file.path.ends_with(".rs") && width > LINE_WIDTH_MAX && !line.contains("://") {
            let what = format!("{width} columns, the limit is {LINE_WIDTH_MAX}");
            faults.push(Fault::new(&file.path, index + 1, what));
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        faults.push(Fault::new(&file.path, 0, "the last line has no end"));
    }
}

fn check_headings(file: &File, faults: &mut Vec<Fault>) {
    let mut fenced = false;
    let mut titles = 0;
    for line in file.text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced && line.starts_with("# ") {
            titles += 1;
        }
    }
    if titles != 1 {
        let what = format!("{titles} first-level headings, it must have one");
        faults.push(Fault::new(&file.path, 0, what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(path: &str, text: &str) -> usize {
        check(&Repository { files: vec![File::new(path, text)] }).len()
    }

    #[test]
    fn lines_are_measured_in_characters() {
        assert_eq!(faults("a.rs", &format!("{}\n", "é".repeat(100))), 0);
        assert_eq!(faults("a.rs", &format!("{}\n", "x".repeat(101))), 1);
        assert_eq!(faults("a.toml", &format!("{}\n", "x".repeat(101))), 0);
        assert_eq!(faults("a.rs", "x \ny"), 2);
    }

    #[test]
    fn a_markdown_file_has_one_title() {
        assert_eq!(faults("a.md", "# A\n\n```sh\n# a comment\n```\n"), 0);
        assert_eq!(faults("a.md", "# A\n# B\n"), 1);
        assert_eq!(faults("a.md", "## A\n"), 1);
    }
}
