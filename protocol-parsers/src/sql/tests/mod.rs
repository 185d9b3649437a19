//! Tests of the sanitiser and the summary.

mod cases;
mod properties;
mod rules;

use super::{Dialect, digest};
use crate::exchange::Text;

/// Text and summary (empty: none) of a whole query.
fn told(sql: &str, dialect: Dialect) -> (String, String) {
    read(sql.as_bytes(), dialect, true)
}

fn read(sql: &[u8], dialect: Dialect, whole: bool) -> (String, String) {
    let mut text = Text::default();
    let digest = digest(sql, dialect, whole, &mut text);
    let summary = digest.summary.map(|span| text.str(span).to_owned());
    assert_ne!(summary.as_deref(), Some(""));
    (text.str(digest.query).to_owned(), summary.unwrap_or_default())
}
