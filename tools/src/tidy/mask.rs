//! Blanks comments and the contents of literals, so that rules look at code alone.

/// The text with comments and the contents of string and character literals replaced by spaces.
/// Lines keep their numbers; bytes keep their places where the text is ASCII.
pub fn mask(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut masked = String::with_capacity(text.len());
    let mut place = 0;
    while place < characters.len() {
        let end = match (characters[place], characters.get(place + 1)) {
            ('/', Some('/')) => line_end(&characters, place),
            ('/', Some('*')) => comment_end(&characters, place),
            ('"', _) => string_end(&characters, place),
            ('r' | 'b', _) if starts_word(&characters, place) => prefixed_end(&characters, place),
            ('\'', _) => character_end(&characters, place),
            _ => place,
        };
        if end == place {
            masked.push(characters[place]);
            place += 1;
            continue;
        }
        for character in &characters[place..end] {
            masked.push(if *character == '\n' { '\n' } else { ' ' });
        }
        place = end;
    }
    masked
}

fn starts_word(characters: &[char], place: usize) -> bool {
    place == 0 || !(characters[place - 1].is_alphanumeric() || characters[place - 1] == '_')
}

fn line_end(characters: &[char], place: usize) -> usize {
    let rest = &characters[place..];
    place + rest.iter().position(|character| *character == '\n').unwrap_or(rest.len())
}

/// Block comments nest.
fn comment_end(characters: &[char], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut place = start;
    while place < characters.len() {
        match (characters[place], characters.get(place + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                place += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                place += 2;
                if depth == 0 {
                    return place;
                }
            }
            _ => place += 1,
        }
    }
    characters.len()
}

fn string_end(characters: &[char], start: usize) -> usize {
    let mut place = start + 1;
    while place < characters.len() {
        match characters[place] {
            '\\' => place += 2,
            '"' => return place + 1,
            _ => place += 1,
        }
    }
    characters.len()
}

/// A literal with a prefix: `b"..`, `b'..`, `r"..`, `r#"..`, `br"..`; otherwise `start` itself.
fn prefixed_end(characters: &[char], start: usize) -> usize {
    let mut place = start;
    if characters[place] == 'b' {
        place += 1;
        match characters.get(place) {
            Some('"') => return string_end(characters, place),
            Some('\'') => return character_end(characters, place),
            Some('r') => {}
            _ => return start,
        }
    }
    place += 1;
    let hashes = characters[place..].iter().take_while(|character| **character == '#').count();
    place += hashes;
    if characters.get(place) != Some(&'"') {
        return start;
    }
    place += 1;
    while place < characters.len() {
        let closes = characters[place] == '"'
            && characters[place + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
        if closes {
            return place + 1 + hashes;
        }
        place += 1;
    }
    characters.len()
}

/// A character literal, or `start` itself where the quote begins a lifetime.
fn character_end(characters: &[char], start: usize) -> usize {
    match (characters.get(start + 1), characters.get(start + 2)) {
        (Some('\\'), _) => {
            let mut place = start + 3;
            while place < characters.len() && characters[place] != '\'' {
                place += 1;
            }
            (place + 1).min(characters.len())
        }
        (Some(_), Some('\'')) => start + 3,
        _ => start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(mask(text), expected);
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        check("a // unsafe\nb", "a          \nb");
        check("a /* x /* y */ z */ b", "a                   b");
        check(r#"f("un\"safe") + 1"#, "f(          ) + 1");
        check("f(b\"x\", 'y', b'\\n', '\\'')", "f(    ,    ,      ,     )");
        check("r#\"a \" b\"# + raw", "           + raw");
        check("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)");
    }

    #[test]
    fn lines_keep_their_numbers() {
        check("\"a\nb\" c", "  \n   c");
        assert_eq!(mask("/*\n\n*/x").lines().count(), 3);
    }
}
