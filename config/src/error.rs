//! What is wrong with a configuration, for the person who must mend it.

use std::{
    fmt::{self, Write as _},
    path::{Path, PathBuf},
};

use serde_saphyr::MessageFormatter as _;

use crate::layer::Origin;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not YAML, or has keys or types that do not belong there; rendered with line, column and caret.
    #[error("{0}")]
    Syntax(String),
    /// Every value that is wrong, rendered one after the other.
    #[error("{0}")]
    Invalid(String),
}

/// One wrong value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub(crate) origin: Origin,
    pub(crate) key: String,
    pub(crate) message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Environment(name) => write!(f, "environment: {name}: {}", self.message),
            Origin::Flag(name) => write!(f, "command line: {name}: {}", self.message),
            Origin::File { line, column } => write!(f, "line {line} column {column}: {}: {}", self.key, self.message),
            Origin::Nowhere => write!(f, "{}: {}", self.key, self.message),
        }
    }
}

/// All problems as text; those of the file with their line and a caret.
pub(crate) fn render(path: &Path, text: &str, mut problems: Vec<Problem>) -> String {
    // in the order of the file, then environment and flags
    problems.sort_by_key(|problem| match problem.origin {
        Origin::File { line, column } => (line, column),
        Origin::Environment(_) | Origin::Flag(_) | Origin::Nowhere => (usize::MAX, 0),
    });
    let mut out = String::new();
    for problem in &problems {
        if !out.is_empty() {
            out.push('\n');
        }
        let Origin::File { line, column } = problem.origin else {
            _ = write!(out, "{problem}");
            continue;
        };
        _ = write!(out, "{}: {problem}", path.display());
        caret(&mut out, text, line, column);
    }
    out
}

/// What the YAML reader says, in the same form and in words of the file rather than of Rust.
pub(crate) fn render_syntax(path: &Path, text: &str, error: &serde_saphyr::Error) -> String {
    let plain = serde_saphyr::UserMessageFormatter.format_message(error.without_snippet());
    let mut out = format!("{}: ", path.display());
    let place =
        error.location().and_then(|at| Some((usize::try_from(at.line()).ok()?, usize::try_from(at.column()).ok()?)));
    let found = place
        .and_then(|(line, column)| found(text, line, column))
        .map(|found| format!("found \"{found}\", "))
        .unwrap_or_default();
    if let Some((line, column)) = place {
        _ = write!(out, "line {line} column {column}: ");
    }
    match plain.as_ref() {
        "invalid u64" => _ = write!(out, "{found}expected a whole number"),
        "invalid bool" | "invalid boolean" => _ = write!(out, "{found}expected true or false"),
        "expected mapping start" => _ = write!(out, "{found}expected a mapping, such as key: value"),
        "expected sequence start" => _ = write!(out, "{found}expected a list, such as [a, b]"),
        "expected string scalar" => _ = write!(out, "{found}expected text"),
        other => out.push_str(other),
    }
    if let Some((line, column)) = place {
        caret(&mut out, text, line, column);
    }
    out
}

/// The word at a place, cut at 40 characters.
fn found(text: &str, line: usize, column: usize) -> Option<String> {
    let rest: String = line_of(text, line)?.chars().skip(column.saturating_sub(1)).collect();
    let word: String = rest.split(" #").next()?.trim_end().chars().take(40).collect();
    (!word.is_empty()).then_some(word)
}

fn line_of(text: &str, line: usize) -> Option<&str> {
    text.lines().nth(line.checked_sub(1)?)
}

fn caret(out: &mut String, text: &str, line: usize, column: usize) {
    let Some(source) = line_of(text, line) else { return };
    let number = line.to_string();
    let (margin, indent) = (" ".repeat(number.len()), " ".repeat(column.saturating_sub(1)));
    _ = write!(out, "\n{margin} |\n{number} | {source}\n{margin} | {indent}^");
}
