//! What the documents show is there: the program of the README is the example that is built and
//! run, and a link to another document leads to one.

use super::Fault;
use super::source::{File, Repository};

/// The program that the README shows.
const EXAMPLE: &str = "timeline/examples/quickstart.rs";

/// Shown programs that are no example, and links that lead nowhere.
pub fn check(repository: &Repository) -> Vec<Fault> {
    let mut faults = Vec::new();
    check_program(repository, &mut faults);
    for file in repository.files.iter().filter(|file| file.path.ends_with(".md")) {
        check_links(repository, file, &mut faults);
    }
    faults
}

fn check_program(repository: &Repository, faults: &mut Vec<Fault>) {
    let text = |path: &str| repository.files.iter().find(|f| f.path == path).map(|f| &f.text[..]);
    let shown = text("README.md").and_then(|readme| {
        let (_, rest) = readme.split_once("```rust\n")?;
        Some(rest.split_once("```")?.0)
    });
    let built = text(EXAMPLE).map(|example| {
        let header = example.lines().take_while(|line| line.starts_with("//!"));
        example[header.map(|line| line.len() + 1).sum()..].trim_start()
    });
    if shown.is_none() || shown != built {
        let what = format!("its program is not {EXAMPLE} (without the comment at the top)");
        faults.push(Fault::new("README.md", 0, what));
    }
}

/// Links to Markdown files of this repository. Others, and code, are not looked at.
fn check_links(repository: &Repository, file: &File, faults: &mut Vec<Fault>) {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    for (index, line) in file.text.lines().enumerate() {
        for rest in line.split("](").skip(1) {
            let link = rest.split([')', '#']).next().unwrap_or_default();
            if link.contains("://") || !link.ends_with(".md") {
                continue;
            }
            let path = resolve(folder, link);
            if !repository.files.iter().any(|other| other.path == path) {
                let what = format!("the link {link} leads nowhere");
                faults.push(Fault::new(&file.path, index + 1, what));
            }
        }
    }
}

/// A relative link, seen from a folder, as a path from the root.
fn resolve(folder: &str, link: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(readme: &str) -> Vec<String> {
        let files = vec![
            File::new("README.md", readme),
            File::new("docs/A.md", "# A\n\n[up](../README.md#a) [out](https://example.org/x.md)\n"),
            File::new(EXAMPLE, "//! What it is.\n\nfn main() {}\n"),
        ];
        check(&Repository { files }).iter().map(Fault::to_string).collect()
    }

    #[test]
    fn the_shown_program_is_the_example() {
        assert_eq!(faults("# T\n```rust\nfn main() {}\n```\n"), Vec::<String>::new());
        assert_eq!(faults("# T\n```rust\nfn main() { }\n```\n").len(), 1);
        assert_eq!(faults("# T\n").len(), 1);
    }

    #[test]
    fn links_lead_somewhere() {
        let readme = "# T\n```rust\nfn main() {}\n```\n";
        assert_eq!(faults(&format!("{readme}[a](docs/A.md#b)\n")), Vec::<String>::new());
        assert!(faults(&format!("{readme}[b](docs/B.md)\n"))[0].contains("docs/B.md"));
    }
}
