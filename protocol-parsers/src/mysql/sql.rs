//! What the text of a statement tells of the session: the database it enters.
//!
//! In: SQL as sent. Out: an [`Effect`].

use super::session::Effect;

/// What a statement changes.
pub(super) fn effect(sql: &[u8]) -> Effect {
    let (start, executable) = skip_comments(sql);
    if executable {
        return if contains(sql, b"use") { Effect::Moves } else { Effect::Nothing };
    }
    // Nearly all statements are done here.
    match start.first() {
        Some(b'u' | b'U' | b'd' | b'D' | b'e' | b'E') => {}
        _ if several(start) && contains(start, b"use") => return Effect::Moves,
        _ => return Effect::Nothing,
    }
    let (word, rest) = word(start);
    match () {
        () if word.eq_ignore_ascii_case(b"USE") => match used(rest) {
            Some(name) => Effect::Enters(name.into()),
            None if several(start) => Effect::Moves,
            None => Effect::EntersAny,
        },
        () if word.eq_ignore_ascii_case(b"EXECUTE") => Effect::Moves,
        () if word.eq_ignore_ascii_case(b"DROP") => {
            let (what, _) = self::word(skip_comments(rest).0);
            let database = what.eq_ignore_ascii_case(b"DATABASE") || what.eq_ignore_ascii_case(b"SCHEMA");
            if database || several(start) { Effect::Moves } else { Effect::Nothing }
        }
        () if several(start) && contains(start, b"use") => Effect::Moves,
        () => Effect::Nothing,
    }
}

/// What a statement changes of which only the beginning is known.
pub(super) fn effect_of_a_part(sql: &[u8]) -> Effect {
    // Long enough for the words that tell, and no comment to its end.
    let telling = skip_comments(sql).0;
    match effect(telling) {
        Effect::Enters(_) => Effect::EntersAny,
        _ if telling.len() < 64 => Effect::EntersAny,
        effect => effect,
    }
}

/// The name that follows USE, if nothing but the end of the statement follows it.
fn used(rest: &[u8]) -> Option<Vec<u8>> {
    let rest = rest.trim_ascii_start();
    let (name, rest) = if let Some(quoted) = rest.strip_prefix(b"`") {
        let end = memchr::memchr(b'`', quoted)?;
        (quoted.get(..end)?, quoted.get(end + 1..)?)
    } else {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..);
        let end = rest.iter().position(|byte| !plain(byte)).unwrap_or(rest.len());
        rest.split_at_checked(end)?
    };
    let ended = rest.iter().all(|byte| byte.is_ascii_whitespace() || *byte == b';' || *byte == 0);
    (ended && !name.is_empty()).then(|| name.to_vec())
}

/// Whether something follows a semicolon.
fn several(sql: &[u8]) -> bool {
    memchr::memchr(b';', sql.trim_ascii_end()).is_some_and(|at| at + 1 < sql.trim_ascii_end().len())
}

fn word(sql: &[u8]) -> (&[u8], &[u8]) {
    let end = sql.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(sql.len());
    sql.split_at_checked(end).unwrap_or((sql, b""))
}

/// Steps over blanks and comments; true if a comment is one that the server executes.
fn skip_comments(mut sql: &[u8]) -> (&[u8], bool) {
    loop {
        sql = sql.trim_ascii_start();
        let end = if sql.starts_with(b"/*!") || sql.starts_with(b"/*M!") {
            return (sql, true);
        } else if sql.starts_with(b"/*") {
            memchr::memmem::find(sql, b"*/").map(|at| at + 2)
        } else if sql.starts_with(b"#") || sql.starts_with(b"-- ") {
            memchr::memchr(b'\n', sql)
        } else {
            return (sql, false);
        };
        sql = end.and_then(|end| sql.get(end..)).unwrap_or_default();
    }
}

/// Whether a word of lower-case letters occurs, in any case.
fn contains(sql: &[u8], word: &[u8]) -> bool {
    sql.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enters(name: &str) -> Effect {
        Effect::Enters(name.as_bytes().into())
    }

    #[test]
    fn the_database_entered_is_read_from_use() {
        assert_eq!(effect(b"USE shop"), enters("shop"));
        assert_eq!(effect(b"  use\t`my shop` ; "), enters("my shop"));
        assert_eq!(effect(b"/* a */ -- b\n# c\nUse shop_2;"), enters("shop_2"));
    }

    #[test]
    fn what_may_move_elsewhere_is_not_guessed() {
        for sql in [
            "USE a; SELECT 1",
            "SELECT 1; use b",
            "/*!40000 USE a */",
            "EXECUTE s",
            "DROP DATABASE a",
            "drop /* x */ schema a",
            "DELETE FROM t; USE b",
            "UPDATE t SET a = 1; USE b;",
        ] {
            assert_eq!(effect(sql.as_bytes()), Effect::Moves, "{sql}");
        }
        assert_eq!(effect(b"use `a``b`"), Effect::EntersAny);
    }

    #[test]
    fn of_a_part_nothing_is_believed_that_its_rest_may_change() {
        for sql in ["U", "USE shop", "-- USE", "/* a comment", "SELECT 1"] {
            assert_eq!(effect_of_a_part(sql.as_bytes()), Effect::EntersAny, "{sql}");
        }
        assert_eq!(effect_of_a_part(format!("SELECT {}", "a, ".repeat(30)).as_bytes()), Effect::Nothing);
    }

    #[test]
    fn other_statements_stay() {
        for sql in [
            "SELECT 1",
            "SELECT 1;",
            "SELECT a; SELECT b",
            "UPDATE t SET used = 1",
            "DROP TABLE a",
            "EXPLAIN SELECT 1",
            "DELETE FROM use_log",
            "/*!40101 SET NAMES utf8 */",
            "",
        ] {
            assert_eq!(effect(sql.as_bytes()), Effect::Nothing, "{sql}");
        }
    }
}
