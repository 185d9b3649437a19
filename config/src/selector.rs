//! `pid:1`, `tree:1`, `exe:GLOB`, `port:80`: text to [`Selector`] and back.

use std::{fmt, str::FromStr};

use crate::Selector;

/// Why a selector cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// No `kind:` in front.
    #[error("selector \"{0}\" names no kind, expected {KINDS}")]
    NoKind(String),
    /// A kind that does not exist.
    #[error("unknown selector kind \"{kind}\" in \"{text}\", expected {KINDS}")]
    UnknownKind {
        /// What stood before the colon.
        kind: String,
        /// The whole selector.
        text: String,
    },
    /// A kind that is planned.
    #[error("selector kind \"{0}\" is not supported yet, use {KINDS}")]
    NotYet(String),
    /// The number is none or out of range.
    #[error("{kind}: found \"{found}\", expected a number from {min} to {max}")]
    Number {
        /// `pid`, `tree` or `port`.
        kind: &'static str,
        /// What stood after the colon.
        found: String,
        /// Smallest.
        min: u32,
        /// Largest.
        max: u32,
    },
    /// `exe:` with nothing after it.
    #[error("exe: expected a path or a glob after the colon, such as exe:nginx or exe:/usr/bin/python3*")]
    NoGlob,
}

const KINDS: &str = "pid:N, tree:N, exe:GLOB or port:N";
/// `PID_MAX_LIMIT` of 64-bit kernels (include/linux/threads.h).
const PID_MAX: u32 = 4 << 20;

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let Some((kind, rest)) = text.split_once(':') else {
            return Err(SelectorError::NoKind(text.to_owned()));
        };
        match kind {
            "pid" => number("pid", rest, PID_MAX).map(Self::Pid),
            "tree" => number("tree", rest, PID_MAX).map(Self::Tree),
            "port" => {
                let port = number("port", rest, u16::MAX.into())?;
                u16::try_from(port).map(Self::Port).map_err(|_| SelectorError::Number {
                    kind: "port",
                    found: rest.to_owned(),
                    min: 1,
                    max: u16::MAX.into(),
                })
            }
            "exe" if rest.is_empty() => Err(SelectorError::NoGlob),
            "exe" => Ok(Self::Exe(rest.to_owned())),
            "unit" | "container" | "cmd" => Err(SelectorError::NotYet(kind.to_owned())),
            _ => Err(SelectorError::UnknownKind { kind: kind.to_owned(), text: text.to_owned() }),
        }
    }
}

fn number(kind: &'static str, text: &str, max: u32) -> Result<u32, SelectorError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(n) if digits && (1..=max).contains(&n) => Ok(n),
        _ => Err(SelectorError::Number { kind, found: text.to_owned(), min: 1, max }),
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exe(glob) => write!(f, "exe:{glob}"),
            Self::Pid(pid) => write!(f, "pid:{pid}"),
            Self::Port(port) => write!(f, "port:{port}"),
            Self::Tree(pid) => write!(f, "tree:{pid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_and_written_alike() {
        for text in ["pid:1", "tree:4194304", "exe:/usr/sbin/nginx", "exe:python3*", "exe:a:b", "port:65535"] {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn wrong_selectors_say_what_is_possible() {
        let messages: Vec<String> = [
            "nginx",
            "name:nginx",
            "unit:nginx.service",
            "container:ab",
            "cmd:x",
            "pid:",
            "pid:0",
            "pid:+1",
            "port:65536",
            "tree:4194305",
            "exe:",
            "",
        ]
        .into_iter()
        .map(|text| text.parse::<Selector>().unwrap_err().to_string())
        .collect();
        insta::assert_snapshot!(messages.join("\n"));
    }
}
