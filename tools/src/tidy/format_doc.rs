//! The constants that `docs/FORMAT.md` names agree with the code.
//!
//! A table whose header begins with `| name | value |` is compared row by row with the constants of
//! `engine/src/limits.rs` and of every `format.rs`. A name may carry its module (`wal::MAGIC`), if
//! several modules use it. Values are integers, simple arithmetic, or byte strings.

use super::Fault;
use super::paths::module_of;
use super::source::{File, Repository};
use std::collections::BTreeMap;

/// What a constant is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An integer.
    Integer(i128),
    /// A byte string or string, as written between its quotes.
    Text(String),
}

/// Rows of the document that disagree with the code.
pub fn check(repository: &Repository) -> Vec<Fault> {
    let constants = Constants::gather(repository);
    let mut faults = Vec::new();
    let documents = repository.below("docs/FORMAT.md");
    let mut compared = 0;
    for (file, row) in documents.flat_map(|file| rows(file).into_iter().map(move |row| (file, row)))
    {
        compared += 1;
        if let Err(what) = constants.compare(&row) {
            faults.push(Fault::new(&file.path, row.line, what));
        }
    }
    if compared == 0 {
        faults.push(Fault::new("docs/FORMAT.md", 0, "it has no table of constants to compare"));
    }
    faults
}

struct Row {
    line: usize,
    name: String,
    value: String,
}

/// Rows of all tables of constants in a Markdown file.
fn rows(file: &File) -> Vec<Row> {
    let mut found = Vec::new();
    let mut inside = false;
    for (index, line) in file.text.lines().enumerate() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        if !line.trim_start().starts_with('|') || cells.len() < 2 {
            inside = false;
        } else if cells[0] == "name" && cells[1] == "value" {
            inside = true;
        } else if inside && !cells[0].starts_with("--") && !cells[0].starts_with(":-") {
            let plain = |cell: &str| cell.replace('`', "");
            found.push(Row { line: index + 1, name: plain(cells[0]), value: plain(cells[1]) });
        }
    }
    found
}

/// The constants of the code: their expressions by module and name.
#[derive(Default)]
struct Constants {
    expressions: BTreeMap<(String, String), String>,
}

impl Constants {
    fn gather(repository: &Repository) -> Constants {
        let mut constants = Constants::default();
        for file in repository.below("engine/src/") {
            if file.path.ends_with("/format.rs") || file.path == "engine/src/limits.rs" {
                constants.gather_file(file);
            }
        }
        constants
    }

    fn gather_file(&mut self, file: &File) {
        let module = module_of(&file.path);
        for statement in statements(&file.text) {
            let Some((before, rest)) = statement.rsplit_once("const ") else {
                continue;
            };
            let Some((name, rest)) = rest.split_once(':') else {
                continue;
            };
            let Some((_, expression)) = rest.split_once('=') else {
                continue;
            };
            let is_item = before.trim_end().is_empty()
                || before.trim_end().ends_with(['b', ')', '\n'])
                || before.ends_with('\n');
            if is_item
                && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
            {
                let expression = expression.trim_end_matches(';').trim().to_owned();
                self.expressions.insert((module.clone(), name.to_owned()), expression);
            }
        }
    }

    fn compare(&self, row: &Row) -> Result<(), String> {
        let (module, name) = match row.name.rsplit_once("::") {
            Some((module, name)) => (Some(module), name),
            None => (None, row.name.as_str()),
        };
        let stated = evaluate(&row.value.replace(',', ""), &|_| None)
            .ok_or_else(|| format!("the value {:?} of {name} is not understood", row.value))?;
        let mut found = false;
        for (key, expression) in &self.expressions {
            let right_module = module.is_none_or(|module| key.0.contains(&format!("::{module}")));
            if key.1 != name || !right_module {
                continue;
            }
            found = true;
            let value = self
                .value(&key.0, expression, 0)
                .ok_or_else(|| format!("{name} = {expression} in {} is not understood", key.0))?;
            if value != stated {
                return Err(format!(
                    "{name} is {value:?} in {}, the document says {stated:?}",
                    key.0
                ));
            }
        }
        if found { Ok(()) } else { Err(format!("there is no constant {name} in the code")) }
    }

    /// The value of an expression; names are looked up in its own module first, then in `limits`.
    fn value(&self, module: &str, expression: &str, depth: usize) -> Option<Value> {
        evaluate(expression, &|path| {
            let name = path.rsplit("::").next()?;
            let places = [module, "crate::limits"];
            let found = places.iter().find_map(|place| {
                Some((place, self.expressions.get(&((*place).to_owned(), name.to_owned()))?))
            });
            match found {
                Some((place, expression)) if depth < 16 => {
                    match self.value(place, expression, depth + 1)? {
                        Value::Integer(value) => Some(value),
                        Value::Text(_) => None,
                    }
                }
                _ => None,
            }
        })
    }
}

/// The text cut behind each semicolon, those of array types such as `[u8; 4]` aside.
fn statements(text: &str) -> impl Iterator<Item = &str> {
    let mut brackets = 0_usize;
    text.split_inclusive(move |character| {
        match character {
            '[' => brackets += 1,
            ']' => brackets = brackets.saturating_sub(1),
            _ => {}
        }
        character == ';' && brackets == 0
    })
}

/// Evaluates a literal or simple arithmetic over integers: `+ - * / << |`, parentheses, casts with
/// `as`, hexadecimal, suffixes, `uN::MAX`, and names through `lookup`.
pub fn evaluate(expression: &str, lookup: &dyn Fn(&str) -> Option<i128>) -> Option<Value> {
    let text = expression.trim();
    let quoted = text.trim_start_matches(['b', '*']);
    if quoted.len() >= 2 && quoted.starts_with('"') && quoted.ends_with('"') {
        return Some(Value::Text(quoted[1..quoted.len() - 1].to_owned()));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, place: 0, lookup, depth: 0 };
    let value = parser.expression(0)?;
    (parser.place == tokens.len()).then_some(Value::Integer(value))
}

fn tokens(text: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_ascii_alphanumeric() || first == '_' {
            let is_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
            rest.find(|c| !is_path(c)).unwrap_or(rest.len())
        } else if rest.starts_with("<<") {
            2
        } else if "+-*/|()".contains(first) {
            1
        } else {
            return None;
        };
        found.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    Some(found)
}

struct Parser<'a> {
    tokens: &'a [String],
    place: usize,
    lookup: &'a dyn Fn(&str) -> Option<i128>,
    depth: usize,
}

impl Parser<'_> {
    /// Precedence climbing over `|` (1), `<<` (2), `+ -` (3), `* /` (4).
    fn expression(&mut self, least: usize) -> Option<i128> {
        let mut left = self.operand()?;
        while let Some(operator) = self.tokens.get(self.place) {
            let precedence = match operator.as_str() {
                "|" => 1,
                "<<" => 2,
                "+" | "-" => 3,
                "*" | "/" => 4,
                _ => break,
            };
            if precedence <= least {
                break;
            }
            self.place += 1;
            let right = self.expression(precedence)?;
            left = match operator.as_str() {
                "|" => left | right,
                "<<" => left.checked_shl(u32::try_from(right).ok()?)?,
                "+" => left.checked_add(right)?,
                "-" => left.checked_sub(right)?,
                "*" => left.checked_mul(right)?,
                _ => left.checked_div(right)?,
            };
        }
        Some(left)
    }

    fn operand(&mut self) -> Option<i128> {
        let token = self.tokens.get(self.place)?;
        self.place += 1;
        let value = if token == "(" {
            self.depth += 1;
            if self.depth > 16 {
                return None;
            }
            let value = self.expression(0)?;
            self.place += 1;
            (self.tokens.get(self.place - 1)? == ")").then_some(value)?
        } else {
            number(token).or_else(|| limit(token)).or_else(|| (self.lookup)(token))?
        };
        while self.tokens.get(self.place).is_some_and(|token| token == "as") {
            self.place += 2;
        }
        Some(value)
    }
}

fn number(token: &str) -> Option<i128> {
    let plain = token.replace('_', "");
    let end = plain.find(['u', 'i']).unwrap_or(plain.len());
    match plain[..end].strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16).ok(),
        None => plain[..end].parse().ok(),
    }
}

fn limit(token: &str) -> Option<i128> {
    match token {
        "u8::MAX" => Some(u8::MAX.into()),
        "u16::MAX" => Some(u16::MAX.into()),
        "u32::MAX" => Some(u32::MAX.into()),
        "u64::MAX" => Some(u64::MAX.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_value(expression: &str, expected: i128) {
        let lookup = |name: &str| (name == "BLOCK").then_some(4096);
        assert_eq!(evaluate(expression, &lookup), Some(Value::Integer(expected)), "{expression}");
    }

    #[test]
    fn arithmetic_is_evaluated() {
        check_value("64 * 1024", 65536);
        check_value("1 + 2 * 3 - 4", 3);
        check_value("(1 << 16) - 1", 65535);
        check_value("2 * BLOCK as u64 / 4", 2048);
        check_value("0x5449_4445u32", 0x5449_4445);
        check_value("u64::MAX - (1 << 16)", i128::from(u64::MAX) - 65536);
        assert_eq!(evaluate("f(1)", &|_| None), None);
        assert_eq!(evaluate("*b\"TIDE\"", &|_| None), Some(Value::Text("TIDE".to_owned())));
    }

    fn faults(code: &str, document: &str) -> Vec<String> {
        let files = vec![
            File::new("docs/FORMAT.md", document),
            File::new("engine/src/limits.rs", "pub const BLOCK: u64 = 4096;\n"),
            File::new("engine/src/wal/format.rs", code),
        ];
        check(&Repository { files }).iter().map(Fault::to_string).collect()
    }

    #[test]
    fn rows_are_compared_with_the_code() {
        let code = "/// A magic.\npub(crate) const MAGIC: u32 = 0x10;\n\
            const SIZE: usize = 2 * BLOCK;\nconst NAME: [u8; 4] = *b\"TIDE\";\n";
        let table = |row: &str| format!("# F\n\n| name | value |\n|---|---|\n| {row} |\n");
        assert_eq!(faults(code, &table("`MAGIC` | 16")), Vec::<String>::new());
        assert_eq!(faults(code, &table("`wal::SIZE` | 8,192")), Vec::<String>::new());
        assert_eq!(faults(code, &table("`NAME` | `b\"TIDE\"`")), Vec::<String>::new());
        assert!(faults(code, &table("`SIZE` | 8,193"))[0].starts_with("docs/FORMAT.md:5: SIZE is"));
        assert!(faults(code, &table("`GONE` | 1"))[0].contains("no constant GONE"));
    }
}
