//! Statements made of a grammar, with literals of every kind: none survives, whatever is cut off.

use proptest::prelude::*;

use super::super::MAX_QUERY;
use super::*;

/// A literal as it stands in a statement, and the part of it that must not be seen again.
#[derive(Clone, Debug)]
struct Literal {
    written: String,
    secret: String,
}

/// What makes the end of a string hard to find.
const HARD: [&str; 14] = ["'", "\"", "`", "\\", "--", "-- ", "/*", "*/", "#", ";", "$", "$$", "\n", "\u{e9}"];

/// Letters in no word of the statements below.
fn secret() -> impl Strategy<Value = String> {
    "[qxzjkv]{8}"
}

fn content() -> impl Strategy<Value = (String, String)> {
    let hard = || proptest::sample::select(&HARD[..]);
    (hard(), secret(), hard()).prop_map(|(a, secret, b)| (format!("{a}{secret}{b}"), secret))
}

/// With quotes doubled, and backslashes too where they escape.
fn quoted(text: &str, quote: char, backslash: bool) -> String {
    let text = text.replace(quote, &format!("{quote}{quote}"));
    let text = if backslash { text.replace('\\', "\\\\") } else { text };
    format!("{quote}{text}{quote}")
}

/// With quotes escaped by a backslash.
fn escaped(text: &str, quote: char) -> String {
    let text = text.replace('\\', "\\\\").replace(quote, &format!("\\{quote}"));
    format!("{quote}{text}{quote}")
}

/// Numbers, with `%` for digits.
const NUMBERS: [&str; 15] =
    ["%", "-%", "+%", "%.", ".%", "-.%", "%.5", "%e9", "-%.5E-7", "%e+7", "0x%", "0X%", "0b%", "1_%", "00%"];

fn number() -> impl Strategy<Value = Literal> {
    (proptest::sample::select(&NUMBERS[..]), "[1-9]{8}")
        .prop_map(|(form, secret)| Literal { written: form.replace('%', &secret), secret })
}

fn string(dialect: Dialect) -> impl Strategy<Value = Literal> {
    let mysql = dialect == Dialect::Mysql;
    (content(), 0..10_usize, "[a-d]{1,3}").prop_map(move |((content, secret), form, tag)| {
        let plain = content.replace('\\', "");
        let written = match (form, dialect) {
            (0, _) => format!("X'{}'", "4f".repeat(3) + &secret),
            (1, _) => format!("N{}", quoted(&plain, '\'', false)),
            (2 | 3, _) => quoted(&content.replace('\\', if mysql { "\\" } else { "" }), '\'', mysql),
            (4, Dialect::Postgresql) => format!("${tag}${content}${tag}$"),
            (5, Dialect::Postgresql) => format!("$${}$$", content.replace('$', "")),
            (6, Dialect::Postgresql) => format!("U&{}", quoted(&content, '\'', false)),
            (7, Dialect::Postgresql) => format!("e{}", escaped(&content, '\'')),
            (_, Dialect::Postgresql) => format!("E{}", escaped(&content, '\'')),
            (4 | 5, Dialect::Mysql) => escaped(&content, '\''),
            (6 | 7, Dialect::Mysql) => escaped(&content, '"'),
            (_, Dialect::Mysql) => quoted(&content, '"', true),
            (_, Dialect::MysqlNoBackslash) => quoted(&content, '"', false),
        };
        Literal { written, secret }
    })
}

fn literal(dialect: Dialect) -> impl Strategy<Value = Literal> {
    prop_oneof![number(), string(dialect)]
}

/// Statements with places for literals.
const STATEMENTS: [&str; 12] = [
    "SELECT % FROM t",
    "SELECT a, % AS b FROM t JOIN u ON t.i = u.i WHERE a = % AND b IN (%, %) LIMIT %",
    "SELECT * FROM (SELECT * FROM t WHERE a = %) s, u WHERE b LIKE % OR c > %",
    "INSERT INTO t (a, b) VALUES (%, %), (%, %)",
    "INSERT INTO t SELECT %, b FROM u WHERE c = %",
    "UPDATE t SET a = %, b = b + % WHERE c = %",
    "DELETE FROM t WHERE a < % AND b <> %",
    "WITH w AS (SELECT % AS a) SELECT * FROM w, t WHERE b = %",
    "CALL p(%, %)",
    "SET a = %",
    "CREATE USER bob IDENTIFIED BY %",
    "ALTER USER bob PASSWORD %; SELECT % FROM t; COMMIT",
];

#[derive(Debug)]
struct Statement {
    sql: String,
    /// What must come of it.
    expected: String,
    secrets: Vec<String>,
}

fn statement(dialect: Dialect) -> impl Strategy<Value = Statement> {
    let literals = proptest::collection::vec(literal(dialect), 8);
    (proptest::sample::select(&STATEMENTS[..]), literals, secret(), 0..3_u8).prop_map(
        |(form, literals, word, comment)| {
            let mut pieces = form.split('%');
            let mut sql = pieces.next().unwrap_or_default().to_owned();
            let mut secrets = Vec::new();
            for (piece, literal) in pieces.zip(literals) {
                sql.push_str(&literal.written);
                sql.push_str(piece);
                secrets.push(literal.secret);
            }
            match comment {
                0 => {}
                1 => sql.push_str(&format!(" /* it's {word} */")),
                _ => sql = format!("-- it's {word}\n{sql}"),
            }
            secrets.push(word);
            Statement { sql, expected: form.replace('%', "?"), secrets }
        },
    )
}

fn survives(told: &(String, String), secrets: &[String]) -> Option<String> {
    let parts = secrets.iter().flat_map(|secret| (0..=secret.len() - 4).map(move |at| &secret[at..at + 4]));
    parts.into_iter().find(|part| told.0.contains(part) || told.1.contains(part)).map(str::to_owned)
}

fn check(dialect: Dialect, Statement { sql, expected, secrets }: &Statement) -> Result<(), TestCaseError> {
    let whole = told(sql, dialect);
    prop_assert_eq!(&whole.0, expected, "{}", sql);
    prop_assert_eq!(survives(&whole, secrets), None, "{} in {:?}", sql, whole);
    prop_assert_eq!(told(&whole.0, dialect), whole);
    for len in 0..sql.len() {
        for taken_for_whole in [false, true] {
            let part = read(&sql.as_bytes()[..len], dialect, taken_for_whole);
            prop_assert_eq!(survives(&part, secrets), None, "{} cut to {}: {:?}", sql, len, part);
            prop_assert!(taken_for_whole || part.0.ends_with('?'), "{} cut to {}: {:?}", sql, len, part);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_literal_survives_in_postgresql(statement in statement(Dialect::Postgresql)) {
        check(Dialect::Postgresql, &statement)?;
    }

    #[test]
    fn no_literal_survives_in_mysql(statement in statement(Dialect::Mysql)) {
        check(Dialect::Mysql, &statement)?;
    }

    #[test]
    fn no_literal_survives_in_mysql_without_escapes(statement in statement(Dialect::MysqlNoBackslash)) {
        check(Dialect::MysqlNoBackslash, &statement)?;
    }

    /// Whichever way the server takes a backslash.
    #[test]
    fn no_literal_survives_a_setting_that_is_not_known(content in content(), second in content(), escapes: bool) {
        let string = |text: &str| if escapes { escaped(text, '\'') } else { quoted(text, '\'', false) };
        let sql = format!("SELECT {}, a, {} FROM t", string(&content.0), string(&second.0));
        let told = told(&sql, Dialect::Postgresql);
        prop_assert_eq!(survives(&told, &[content.1, second.1]), None, "{}: {:?}", sql, told);
    }

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        crate::fuzzing::sql(&bytes);
    }

    #[test]
    fn any_text_of_hard_pieces_is_read(pieces in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..40)) {
        crate::fuzzing::sql(pieces.concat().as_bytes());
    }
}

/// Pieces that mean something to one dialect or another.
const PIECES: [&str; 40] = [
    "\0",
    "\u{1}",
    "'",
    "\"",
    "`",
    "\\",
    "--",
    "/*",
    "*/",
    "/*!",
    "/*!50000",
    "#",
    ";",
    "$",
    "$$",
    "$a$",
    "E'",
    "U&'",
    "x'",
    ".",
    "-",
    "+",
    "1",
    "0x",
    "e",
    "(",
    ")",
    ",",
    " ",
    "\n",
    "a",
    "\u{e9}",
    "SELECT ",
    " FROM ",
    "WITH ",
    " AS ",
    "CREATE ",
    " TABLE ",
    "UPDATE ",
    "traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'",
];

#[test]
fn the_longest_texts_are_read() {
    for piece in PIECES {
        crate::fuzzing::sql(format!("\u{3}{}", piece.repeat(MAX_QUERY / piece.len() + 2)).as_bytes());
    }
}
