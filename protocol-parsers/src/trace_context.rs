//! W3C trace context, as request headers carry it.
//!
//! In: the values of `traceparent` and `tracestate`. Out: [`TraceContext`], or nothing: a value that breaks a rule of
//! <https://www.w3.org/TR/trace-context-2/> is ignored as a whole, for a wrong parent is worse than none.

use crate::exchange::TraceContext;

/// Reads a `traceparent`; `state` of the result is not set.
#[must_use]
pub fn traceparent(value: &[u8]) -> Option<TraceContext> {
    let (version, rest) = value.split_first_chunk::<2>()?;
    let (trace_id, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<32>()?;
    let (span_id, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<16>()?;
    let (flags, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<2>()?;
    let [version] = lower_hex::<1>(version)?;
    let [flags] = lower_hex::<1>(flags)?;
    // "Version 255 is invalid." Version 00 ends here; a later one may go on, but only after another dash.
    if version == 0xff || (version == 0 && !rest.is_empty()) || !(rest.is_empty() || rest.starts_with(b"-")) {
        return None;
    }
    let (trace_id, span_id) = (lower_hex::<16>(trace_id)?, lower_hex::<8>(span_id)?);
    // "All bytes as zero is considered an invalid value", for both ids.
    if trace_id == [0; 16] || span_id == [0; 8] {
        return None;
    }
    Some(TraceContext { trace_id, span_id, flags, state: None })
}

/// Exactly `N` bytes of lower-case hexadecimal; upper case is against the grammar.
fn lower_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    let mut pairs = text.chunks_exact(2);
    for (byte, pair) in out.iter_mut().zip(&mut pairs) {
        let &[high, low] = pair else { return None };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_good_one_is_read() {
        let context = traceparent(GOOD.as_bytes()).unwrap();
        assert_eq!(context.trace_id[..3], [0x0a, 0xf7, 0x65]);
        assert_eq!(context.span_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
        assert_eq!(context.flags, 1);
    }

    #[test]
    fn a_later_version_may_only_add_fields_behind_a_dash() {
        let later = |tail: &str| traceparent(format!("cc{}{tail}", &GOOD[2..]).as_bytes()).is_some();
        assert!(later(""));
        assert!(later("-"));
        assert!(later("-what-the-future-brings"));
        assert!(!later("."));
        assert!(!later("0"));
    }

    #[test]
    fn what_breaks_a_rule_is_ignored() {
        for bad in [
            "",
            "00",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(traceparent(bad.as_bytes()), None, "{bad}");
        }
        for len in 0..GOOD.len() {
            assert_eq!(traceparent(&GOOD.as_bytes()[..len]), None, "{len} bytes");
        }
    }
}
