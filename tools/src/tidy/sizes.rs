//! Short files and short functions, with the exceptions listed by name.

use super::Fault;
use super::source::{File, Repository};

/// Most lines of one file without its tests, comments and blank lines included.
pub const FILE_LINES_MAX: usize = 600;
/// Most lines of one function, its signature and closing brace included.
pub const FUNCTION_LINES_MAX: usize = 70;

/// Files and functions that may be longer: `(path, function or "", lines, why)`. The number is a
/// ratchet: longer than that fails too, and an exception that is not needed any more fails as well.
const EXCEPTIONS: &[(&str, &str, usize, &str)] = &[];

/// Files and functions above their limits.
pub fn check(repository: &Repository) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut used = vec![false; EXCEPTIONS.len()];
    for file in repository.files.iter().filter(|file| file.is_production()) {
        let lines = production_lines(file);
        let limit = limit_of(file, "", FILE_LINES_MAX, lines, &mut used);
        if lines > limit {
            let what = format!("{lines} lines of production code, the limit is {limit}");
            faults.push(Fault::new(&file.path, 0, what));
        }
        for function in functions(&file.production) {
            let name = function.name;
            let limit = limit_of(file, name, FUNCTION_LINES_MAX, function.lines, &mut used);
            if function.lines > limit {
                let what = format!("{name} has {} lines, the limit is {limit}", function.lines);
                faults.push(Fault::new(&file.path, function.line, what));
            }
        }
    }
    for (exception, _) in EXCEPTIONS.iter().zip(&used).filter(|(_, used)| !**used) {
        let what = format!("the exception for {} {:?} is not needed", exception.0, exception.1);
        faults.push(Fault::new("tools/src/tidy/sizes.rs", 0, what));
    }
    faults
}

fn limit_of(file: &File, name: &str, limit: usize, lines: usize, used: &mut [bool]) -> usize {
    let index = EXCEPTIONS.iter().position(|it| it.0 == file.path && it.1 == name);
    match index {
        Some(index) if lines > limit => {
            used[index] = true;
            EXCEPTIONS[index].2
        }
        _ => limit,
    }
}

/// Lines of the file as written, less those of its test items: comments count, since they too must
/// be read.
fn production_lines(file: &File) -> usize {
    file.text.lines().count().saturating_sub(file.test_lines)
}

struct Function<'a> {
    name: &'a str,
    line: usize,
    lines: usize,
}

/// The functions of masked code that have a body.
fn functions(code: &str) -> Vec<Function<'_>> {
    let mut found = Vec::new();
    for (place, _) in code.match_indices("fn ") {
        let standalone = code[..place].chars().next_back().is_none_or(|c| !is_word(c));
        let rest = &code[place + 3..];
        let name = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
        if !standalone || name.is_empty() {
            continue;
        }
        if let Some(body) = body_length(rest) {
            let line = code[..place].matches('\n').count() + 1;
            let lines = rest[..body].matches('\n').count() + 1;
            found.push(Function { name, line, lines });
        }
    }
    found
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Bytes up to and including the brace that closes the body; `None` for a signature alone.
fn body_length(signature: &str) -> Option<usize> {
    let mut braces = 0_usize;
    let mut brackets = 0_usize;
    for (place, character) in signature.char_indices() {
        match character {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            '{' => braces += 1,
            '}' => {
                braces = braces.saturating_sub(1);
                if braces == 0 {
                    return Some(place + 1);
                }
            }
            ';' if braces == 0 && brackets == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> usize {
        check(&Repository { files: vec![File::new("engine/src/a.rs", text)] }).len()
    }

    #[test]
    fn a_function_of_71_lines_is_too_long() {
        let body = |lines: usize| format!("fn f() {{\n{}}}\n", "    x();\n".repeat(lines - 2));
        assert_eq!(faults(&body(70)), 0);
        assert_eq!(faults(&body(71)), 1);
    }

    #[test]
    fn a_file_of_601_lines_is_too_long_but_its_tests_do_not_count() {
        assert_eq!(faults(&"const A: u8 = 1;\n".repeat(600)), 0);
        assert_eq!(faults(&"const A: u8 = 1;\n".repeat(601)), 1);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "const A: u8 = 1;\n".repeat(900));
        assert_eq!(faults(&tests), 0);
    }

    #[test]
    fn signatures_without_a_body_have_no_length() {
        assert!(functions("trait T { fn f(&self, x: [u8; 4]); }").is_empty());
        assert_eq!(functions("fn f() where T: Fn() -> [u8; 2] {\n}\n")[0].lines, 2);
    }
}
