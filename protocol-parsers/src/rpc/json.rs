//! Just enough of JSON to find a member of an object (RFC 8259). Nothing is built, and no value is judged.

/// Whether the text is one object, as far as its ends tell.
pub(crate) fn is_object(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    text.starts_with(b"{") && text.ends_with(b"}")
}

/// The value of a member of an object, as written; `None` if there is none, or the text is no object. The object may be cut
/// off behind the value.
pub(crate) fn member<'a>(object: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = object.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start();
    loop {
        let (key, behind) = value(rest)?;
        rest = behind.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let (found, behind) = value(rest)?;
        if key.strip_prefix(b"\"").and_then(|key| key.strip_suffix(b"\"")) == Some(name) {
            return Some(found);
        }
        rest = behind.trim_ascii_start().strip_prefix(b",")?.trim_ascii_start();
    }
}

/// A value at the front, and what is behind it.
fn value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    for (index, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => {
                quoted = !quoted;
                if !quoted && depth == 0 {
                    return text.split_at_checked(index + 1);
                }
            }
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    return text.split_at_checked(index + 1);
                }
            }
            b',' | b':' | b'}' | b']' if depth == 0 => return text.split_at_checked(index),
            _ => {}
        }
    }
    None
}
