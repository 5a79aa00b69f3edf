//! Every option is named where tuning is explained: one that nobody knows of tunes nothing.

use super::Fault;
use super::source::Repository;

/// The page.
const PAGE: &str = "docs/TUNING.md";

/// Files with options: fields of structures whose name ends so, and methods that take `mut self`.
const FILES: &[&str] = &[
    "engine/src/options.rs",
    "timeline/src/store/meta.rs",
    "timeline/src/store/options.rs",
    "timeline/src/store/table.rs",
];

/// Options that the page does not name, in backticks.
pub fn check(repository: &Repository) -> Vec<Fault> {
    let find = |path: &str| repository.files.iter().find(|file| file.path == path);
    let Some(page) = find(PAGE) else {
        return vec![Fault::new(PAGE, 0, "the page on tuning is not there")];
    };
    let mut faults = Vec::new();
    for file in FILES.iter().filter_map(|path| find(path)) {
        let mut is_in_options = false;
        for (index, line) in file.production.lines().enumerate() {
            if let Some(name) = line.strip_prefix("pub struct ") {
                is_in_options = name.trim_end_matches(" {").ends_with("Options");
            } else if line.starts_with('}') {
                is_in_options = false;
            }
            let name = builder(line).or_else(|| field(line).filter(|_| is_in_options));
            if let Some(name) = name
                && !page.text.contains(&format!("`{name}`"))
            {
                let what = format!("the option {name} is not in {PAGE}: say what it trades");
                faults.push(Fault::new(&file.path, index + 1, what));
            }
        }
    }
    faults
}

/// The name of a public method that changes what it is called on.
fn builder(line: &str) -> Option<&str> {
    let (name, arguments) = line.strip_prefix("    pub fn ")?.split_once('(')?;
    arguments.starts_with("mut self").then_some(name)
}

/// The name of a public field.
fn field(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix("    pub ")?.split_once(": ")?;
    (!name.contains(' ')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source::File;

    fn faults(options: &str, page: &str) -> Vec<String> {
        let files = vec![File::new(FILES[0], options), File::new(PAGE, page)];
        check(&Repository { files }).iter().map(|fault| fault.what.clone()).collect()
    }

    #[test]
    fn fields_and_builders_are_named_on_the_page() {
        let options = "pub struct Options {\n    pub ring: u64,\n}\n\nimpl Options {\n    \
                       pub fn ttl(mut self, ttl: u64) -> Options {\n        self\n    }\n}\n";
        assert_eq!(faults(options, "# T\n\n`ring` and `ttl`\n"), Vec::<String>::new());
        assert!(faults(options, "# T\n\n`ring`, ttl\n")[0].contains("option ttl"));
        assert!(faults(options, "# T\n\n`ttl`, ring\n")[0].contains("option ring"));
    }

    #[test]
    fn other_fields_and_methods_are_no_options() {
        let other = "pub struct Record {\n    pub id: u64,\n}\n\nimpl Options {\n    \
                     pub fn validate(&self) {}\n}\n";
        assert_eq!(faults(other, "# T\n"), Vec::<String>::new());
    }

    #[test]
    fn without_the_page_there_is_a_fault() {
        assert_eq!(check(&Repository { files: Vec::new() }).len(), 1);
    }
}
