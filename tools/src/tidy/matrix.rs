//! Every fault of the catalogue has a test, by the table in `docs/TESTING.md`; a row whose tests
//! are not there proves nothing.

use super::Fault;
use super::source::Repository;

/// The page.
const PAGE: &str = "docs/TESTING.md";
/// Faults of the catalogue, F1 to this.
const FAULTS: u32 = 29;

/// Rows that are missing, that name no test, or that name one that is not there.
///
/// A row begins with `| F<number> |`; in its third cell each name in backticks is a test, by the
/// path `module::function` or by its function alone.
pub fn check(repository: &Repository) -> Vec<Fault> {
    let Some(page) = repository.files.iter().find(|file| file.path == PAGE) else {
        return vec![Fault::new(PAGE, 0, "the table of faults and their tests is not there")];
    };
    let mut faults = Vec::new();
    for number in 1..=FAULTS {
        let begin = format!("| F{number} |");
        let mut rows = page.text.lines().enumerate().filter(|(_, line)| line.starts_with(&begin));
        let Some((index, row)) = rows.next() else {
            faults.push(Fault::new(PAGE, 0, format!("F{number} of the catalogue has no row")));
            continue;
        };
        let tests = tests_of(row);
        if tests.is_empty() {
            faults.push(Fault::new(PAGE, index + 1, format!("F{number} names no test")));
        }
        for test in tests.into_iter().filter(|test| !exists(repository, test)) {
            let what = format!("F{number} names the test {test}, which is not there");
            faults.push(Fault::new(PAGE, index + 1, what));
        }
    }
    faults
}

/// The names in backticks in the third cell.
fn tests_of(row: &str) -> Vec<&str> {
    let cell = row.split('|').nth(3).unwrap_or_default();
    cell.split('`').skip(1).step_by(2).collect()
}

/// Whether a file has the test: a function of that name, in a file or a module named by the path
/// before it.
fn exists(repository: &Repository, test: &str) -> bool {
    let (module, function) = test.rsplit_once("::").unwrap_or(("", test));
    let module = module.rsplit("::").next().unwrap_or_default();
    let signature = format!("fn {function}(");
    let of_module = |path: &str| {
        let stem = path.strip_suffix(".rs").unwrap_or(path);
        module.is_empty() || stem.split('/').any(|part| part == module)
    };
    let mut files = repository.files.iter().filter(|file| file.path.ends_with(".rs"));
    files.any(|file| of_module(&file.path) && file.text.contains(&signature))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source::File;

    fn faults(row_of_the_last: &str) -> Vec<String> {
        let rows = (1..FAULTS).map(|number| format!("| F{number} | it | `one::a_test` |\n"));
        let page: String = rows.chain([row_of_the_last.to_owned()]).collect();
        let code = "#[test]\nfn a_test() {}\n";
        let files = vec![File::new(PAGE, &page), File::new("engine/tests/it/one.rs", code)];
        check(&Repository { files }).iter().map(|fault| fault.what.clone()).collect()
    }

    #[test]
    fn a_row_needs_a_test_that_is_there() {
        assert_eq!(faults("| F29 | it | `one::a_test` and `a_test` |\n"), Vec::<String>::new());
        assert!(faults("")[0].contains("F29 of the catalogue has no row"));
        assert!(faults("| F29 | it | by hand |\n")[0].contains("names no test"));
        assert!(faults("| F29 | it | `one::another_test` |\n")[0].contains("another_test"));
        assert!(faults("| F29 | it | `two::a_test` |\n")[0].contains("two::a_test"));
    }
}
