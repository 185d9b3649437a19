//! Values of HTTP headers that are lists: the first item, and the address in `Forwarded`.

/// The first item of a list.
pub(crate) fn list_item(value: &[u8]) -> Option<&[u8]> {
    value.split(|byte| *byte == b',').next().map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}

/// The address in the first element of `Forwarded` (RFC 7239), without quotes; `unknown` and obfuscated names are none.
pub(crate) fn forwarded_for(value: &[u8]) -> Option<&[u8]> {
    let pair = list_item(value)?.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).find_map(|pair| {
        let (name, value) = pair.split_at_checked(4)?;
        name.eq_ignore_ascii_case(b"for=").then_some(value)
    })?;
    let node = pair.strip_prefix(b"\"").and_then(|node| node.strip_suffix(b"\"")).unwrap_or(pair);
    (!node.is_empty() && !node.starts_with(b"_") && !node.eq_ignore_ascii_case(b"unknown")).then_some(node)
}
