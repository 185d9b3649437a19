//! Trace context in a comment, as sqlcommenter writes it: `/*key='value',traceparent='00-..-..-01',tracestate='..'*/` with
//! URL-encoded values (<https://google.github.io/sqlcommenter/spec/>).
//!
//! In: the inside of a comment. Out: [`TraceContext`] and the `tracestate`, or nothing.

use std::ops::Range;

use memchr::{memchr, memchr_iter, memmem};

use crate::exchange::TraceContext;
use crate::trace_context::traceparent;

/// The longest `tracestate` that is kept: "vendors SHOULD propagate at least 512 characters".
const MAX_STATE: usize = 512;

/// The `traceparent` of a comment, and where its `tracestate` stands, still encoded.
pub(super) fn trace_context(comment: &[u8]) -> Option<(TraceContext, Option<Range<usize>>)> {
    let mut parent = [0; 64];
    let len = decode(comment.get(value(comment, b"traceparent")?)?, &mut parent)?;
    let context = traceparent(parent.get(..len)?)?;
    Some((context, value(comment, b"tracestate")))
}

/// A `tracestate` decoded; `None` if it is too long or not of the header's characters.
pub(super) fn state(encoded: &[u8]) -> Option<([u8; MAX_STATE], usize)> {
    let mut state = [0; MAX_STATE];
    let len = decode(encoded, &mut state)?;
    let text = state.get(..len)?;
    (len > 0 && text.iter().all(|byte| matches!(byte, b' '..=b'~'))).then_some((state, len))
}

/// Where the value of a key stands; the quotes around it may be encoded or missing.
fn value(comment: &[u8], key: &[u8]) -> Option<Range<usize>> {
    memchr_iter(b'=', comment).find_map(|equals| {
        let before = comment.get(..equals)?.trim_ascii_end().strip_suffix(key)?;
        if before.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
            return None;
        }
        let rest = comment.get(equals + 1..)?.trim_ascii_start();
        let (rest, len) = match rest {
            [b'\'', rest @ ..] => (rest, memchr(b'\'', rest)?),
            [b'%', b'2', b'7', rest @ ..] => (rest, memmem::find(rest, b"%27")?),
            rest => {
                let item = rest.get(..memchr(b',', rest).unwrap_or(rest.len()))?;
                (rest, item.trim_ascii_end().len())
            }
        };
        let start = comment.len() - rest.len();
        Some(start..start + len)
    })
}

/// Percent-decodes; `None` if it does not fit.
fn decode(text: &[u8], into: &mut [u8]) -> Option<usize> {
    let (mut rest, mut len) = (text, 0);
    while let Some((first, tail)) = rest.split_first() {
        let byte = match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                rest = after;
                let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit(high)? << 4 | digit(low)?
            }
            (first, tail) => {
                rest = tail;
                *first
            }
        };
        *into.get_mut(len)? = byte;
        len += 1;
    }
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(comment: &str) -> Option<(u8, Option<String>)> {
        let (context, at) = trace_context(comment.as_bytes())?;
        let encoded = at.map(|at| &comment.as_bytes()[at]);
        let text = |(state, len): ([u8; MAX_STATE], usize)| String::from_utf8(state[..len].to_vec()).unwrap();
        Some((context.flags, encoded.and_then(state).map(text)))
    }

    #[test]
    fn values_are_read_with_quotes_with_encoded_quotes_and_without() {
        assert_eq!(read(&format!("traceparent='{PARENT}'")), Some((1, None)));
        assert_eq!(read(&format!("a='b',traceparent=%27{PARENT}%27,c='d'")), Some((1, None)));
        assert_eq!(read(&format!(" traceparent={PARENT} ")), Some((1, None)));
        assert_eq!(read(&format!("traceparent='{}'", PARENT.replace('-', "%2D"))), Some((1, None)));
        let state = "tracestate='congo%3Dt61rcWkgMzE%2Crojo%3D00f067aa0ba902b7'";
        let expected = Some((1, Some("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7".to_owned())));
        assert_eq!(read(&format!("{state},traceparent='{PARENT}'")), expected);
    }

    #[test]
    fn what_is_no_trace_context_is_none() {
        for comment in [
            String::new(),
            "traceparent".to_owned(),
            "traceparent=''".to_owned(),
            format!("xtraceparent='{PARENT}'"),
            format!("traceparent='{}", &PARENT[..54]),
            format!("traceparent='{PARENT}"),
            format!("traceparent='{PARENT}%2'"),
            format!("traceparent='{PARENT}{PARENT}'"),
        ] {
            assert_eq!(read(&comment), None, "{comment}");
        }
        let long = "a".repeat(MAX_STATE + 1);
        assert_eq!(read(&format!("traceparent='{PARENT}',tracestate='{long}'")), Some((1, None)));
        assert_eq!(read(&format!("traceparent='{PARENT}',tracestate='%0a'")), Some((1, None)));
    }
}
