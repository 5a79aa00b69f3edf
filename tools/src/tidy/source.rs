//! The repository's text files, and what of each Rust file is production code.

use super::mask::mask;
use std::io;
use std::path::{Path, PathBuf};

/// One text file of the repository.
#[derive(Debug, Clone)]
pub struct File {
    /// Path from the root, with forward slashes.
    pub path: String,
    /// The text as it is.
    pub text: String,
    /// Rust only: the text with comments, string contents and test items blanked out; as many lines
    /// as before, so that places agree. Empty for other files and for test files.
    pub production: String,
    /// Lines of the test items in that text.
    pub test_lines: usize,
}

/// All text files that belong to the project.
#[derive(Debug, Clone, Default)]
pub struct Repository {
    /// In order of path.
    pub files: Vec<File>,
}

impl File {
    /// A file with the given text.
    pub fn new(path: &str, text: &str) -> File {
        let is_production = path.ends_with(".rs") && !is_test_path(path);
        let (production, test_lines) =
            if is_production { without_test_items(&mask(text)) } else { (String::new(), 0) };
        File { path: path.to_owned(), text: text.to_owned(), production, test_lines }
    }

    /// Whether this is Rust source that is built into a product.
    pub fn is_production(&self) -> bool {
        !self.production.is_empty()
    }
}

impl Repository {
    /// The root of the repository that this crate was built in.
    pub fn root() -> PathBuf {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR"));
        tools.parent().expect("the package lies in a folder of the repository").to_owned()
    }

    /// Reads all Rust, Markdown and TOML files below `root`, hidden folders and build output aside.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn load(root: &Path) -> io::Result<Repository> {
        let mut files = Vec::new();
        collect(root, root, &mut files)?;
        files.sort_by(|a: &File, b: &File| a.path.cmp(&b.path));
        Ok(Repository { files })
    }

    /// Files below a folder (`engine/src/`), or one file.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| file.path.starts_with(prefix))
    }
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<File>) -> io::Result<()> {
    for item in std::fs::read_dir(folder)? {
        let item = item?;
        let path = item.path();
        let name = item.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "target" || name == "node_modules" {
            continue;
        }
        if item.file_type()?.is_dir() {
            collect(root, &path, files)?;
        } else if [".rs", ".md", ".toml"].iter().any(|end| name.ends_with(end)) {
            let place = path.strip_prefix(root).expect("walked from the root");
            let place = place.to_string_lossy().replace('\\', "/");
            files.push(File::new(&place, &std::fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

/// Test code by its place: whole files that only tests build.
fn is_test_path(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    name == "tests.rs"
        || name.ends_with("_tests.rs")
        || name == "build.rs"
        || folder
            .split('/')
            .any(|part| matches!(part, "tests" | "testing" | "benches" | "examples" | "fuzz"))
}

/// Blanks every item under `#[cfg(test)]`, `#[cfg(all(test, ..))]`, `#[cfg(any(test, ..))]` or
/// `#[cfg(loom)]`, and counts their lines.
fn without_test_items(masked: &str) -> (String, usize) {
    let mut bytes = masked.as_bytes().to_vec();
    let mut lines = 0;
    let markers =
        ["#[cfg(test", "#[cfg(all(test", "#[cfg(any(test", "#[cfg(loom)", "#[cfg(all(loom"];
    for marker in markers {
        let mut from = 0;
        while let Some(found) = find(&bytes, marker.as_bytes(), from) {
            let end = item_end(&bytes, found);
            lines += 1;
            for byte in &mut bytes[found..end] {
                if *byte == b'\n' {
                    lines += 1;
                } else {
                    *byte = b' ';
                }
            }
            from = end;
        }
    }
    let code = String::from_utf8(bytes).expect("an item begins and ends with ASCII");
    (code, lines)
}

fn find(bytes: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    bytes[from..].windows(needle.len()).position(|window| window == needle).map(|at| at + from)
}

/// Where the item that begins with an attribute at `start` ends: behind its `;`, or the brace that
/// closes its body. Commas end a field or an enum variant.
fn item_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut seen_attribute = false;
    for (place, byte) in bytes.iter().enumerate().skip(start) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => {
                if depth == 0 {
                    return place;
                }
                depth -= 1;
                if depth == 0 && *byte == b'}' {
                    return place + 1;
                }
                seen_attribute = true;
            }
            b';' | b',' if depth == 0 && seen_attribute => return place + 1,
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_items_are_not_production_code() {
        let text =
            "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { x.unwrap() }\n}\nfn c() {}\n";
        let file = File::new("engine/src/a.rs", text);
        assert!(file.production.contains("fn a") && file.production.contains("fn c"));
        assert!(!file.production.contains("fn b"));
        assert_eq!(file.production.lines().count(), text.lines().count());
    }

    #[test]
    fn test_modules_in_files_of_their_own_end_at_the_semicolon() {
        let file = File::new("engine/src/a.rs", "#[cfg(test)]\nmod tests;\nuse crate::x;\n");
        assert!(file.production.contains("use crate::x"));
        assert!(!File::new("engine/src/a/tests.rs", "fn b() {}").is_production());
    }
}
