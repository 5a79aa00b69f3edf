//! The paths that a Rust file names: `use` trees flattened, `crate::`, `self::` and `super::`
//! resolved against the file's own module.

/// A path as written out in full, such as `crate::file::Extent` or `std::time::Duration`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPath {
    /// Line, from 1.
    pub line: usize,
    /// Segments joined by `::`.
    pub path: String,
}

/// All paths of two or more segments in masked code.
pub fn named_paths(file: &str, production: &str) -> Vec<NamedPath> {
    let module = module_of(file);
    let mut found = Vec::new();
    let mut end = 0;
    for token in roots(production) {
        if token < end {
            continue;
        }
        let line = production[..token].matches('\n').count() + 1;
        let mut reader = Reader { text: production, place: token };
        let mut leaves = Vec::new();
        reader.tree(String::new(), &mut leaves, 0);
        end = reader.place;
        for leaf in leaves {
            found.push(NamedPath { line, path: resolve(&module, &leaf) });
        }
    }
    found
}

/// The module that a file of `<crate>/src/` holds, as `crate::a::b`.
pub fn module_of(file: &str) -> String {
    let inside = file.split_once("/src/").map_or(file, |(_, inside)| inside);
    let inside = inside.trim_end_matches(".rs");
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    if inside == "lib" || inside == "main" || inside == "mod" {
        return "crate".to_owned();
    }
    format!("crate::{}", inside.replace('/', "::"))
}

/// Places where a path begins: a word followed by `::` that is not itself behind `::`.
fn roots(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let mut places = Vec::new();
    for (separator, _) in text.match_indices("::") {
        let start = bytes[..separator]
            .iter()
            .rposition(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_'))
            .map_or(0, |at| at + 1);
        let behind_path = text[..start].trim_end().ends_with("::");
        let inside_tree = start == separator;
        if !behind_path && !inside_tree {
            places.push(start);
        }
    }
    places
}

struct Reader<'a> {
    text: &'a str,
    place: usize,
}

impl Reader<'_> {
    /// Reads `a::b::{c, d::e}` and puts every leaf, with its prefix, into `leaves`. The depth of
    /// nesting is bounded, so that odd text cannot exhaust the stack.
    fn tree(&mut self, prefix: String, leaves: &mut Vec<String>, depth: usize) {
        let mut path = prefix;
        loop {
            self.skip_space();
            let rest = &self.text[self.place..];
            if rest.starts_with('{') && depth < 16 {
                self.place += 1;
                return self.group(&path, leaves, depth);
            }
            let length = rest
                .find(|character: char| !(character.is_alphanumeric() || character == '_'))
                .unwrap_or(rest.len());
            let word = if rest.starts_with('*') { "*" } else { &rest[..length] };
            if word.is_empty() {
                break;
            }
            self.place += word.len();
            path = if path.is_empty() { word.to_owned() } else { format!("{path}::{word}") };
            self.skip_space();
            if !self.text[self.place..].starts_with("::") {
                break;
            }
            self.place += 2;
        }
        leaves.push(path);
    }

    fn group(&mut self, prefix: &str, leaves: &mut Vec<String>, depth: usize) {
        loop {
            self.skip_space();
            match self.text[self.place..].chars().next() {
                None => return,
                Some('}') => {
                    self.place += 1;
                    return;
                }
                Some(',') => self.place += 1,
                Some(_) => {
                    let before = self.place;
                    self.tree(prefix.to_owned(), leaves, depth + 1);
                    self.skip_rename();
                    if self.place == before {
                        return;
                    }
                }
            }
        }
    }

    fn skip_rename(&mut self) {
        self.skip_space();
        if self.text[self.place..].starts_with("as ") {
            let rest = &self.text[self.place..];
            self.place += rest.find([',', '}']).unwrap_or(rest.len());
        }
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.place..];
        self.place += rest.len() - rest.trim_start().len();
    }
}

fn resolve(module: &str, path: &str) -> String {
    let mut base: Vec<&str> = module.split("::").collect();
    let mut segments: Vec<&str> = path.split("::").collect();
    match segments[0] {
        "self" => {
            segments.remove(0);
        }
        "super" => {
            while segments.first() == Some(&"super") {
                segments.remove(0);
                base.pop();
            }
        }
        _ => base.clear(),
    }
    base.extend(segments.into_iter().filter(|segment| *segment != "self"));
    base.join("::")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, text: &str, expected: &[&str]) {
        let paths = named_paths(file, text);
        let found: Vec<&str> = paths.iter().map(|named| named.path.as_str()).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn use_trees_are_flattened() {
        check(
            "engine/src/wal/writer.rs",
            "use crate::{file::{Disk, disk::read_exact_at}, error};\nuse std::sync as imp;",
            &["crate::file::Disk", "crate::file::disk::read_exact_at", "crate::error", "std::sync"],
        );
        check(
            "engine/src/a.rs",
            "use super::{self, b as c, d};",
            &["crate", "crate::b", "crate::d"],
        );
    }

    #[test]
    fn paths_in_code_are_resolved() {
        check("engine/src/wal/mod.rs", "let x = super::memtable::f();", &["crate::memtable::f"]);
        check("engine/src/wal/ring.rs", "super::super::sync::Arc", &["crate::sync::Arc"]);
        check(
            "engine/src/lib.rs",
            "self::a::b; std::fs::read(x)",
            &["crate::a::b", "std::fs::read"],
        );
    }
}
