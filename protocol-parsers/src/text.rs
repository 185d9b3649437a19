//! The strings of an exchange.
//!
//! In: bytes from the wire. Out: one owned buffer, and places in it. What is not UTF-8 becomes U+FFFD.

use std::ops::Range;

/// A range of an exchange's [`Text`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Its first `len` bytes; they end where a character does.
    #[must_use]
    pub fn first(self, len: u32) -> Self {
        Self { end: self.end.min(self.start.saturating_add(len)), ..self }
    }

    /// In bytes.
    pub(crate) fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }
}

/// All strings of one exchange, in one owned buffer addressed by [`Span`]s.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    bytes: String,
}

impl Text {
    /// Room for `bytes` bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: String::with_capacity(bytes) }
    }

    /// A text of these parts, and where they are.
    pub(crate) fn joined<const N: usize>(parts: [&str; N]) -> (Self, [Span; N]) {
        let mut bytes = String::with_capacity(parts.iter().map(|part| part.len()).sum());
        let mut spans = [Span::default(); N];
        for (part, place) in parts.iter().zip(&mut spans) {
            let start = bytes.len();
            // Many are empty, and need no call.
            if !part.is_empty() {
                bytes.push_str(part);
            }
            *place = span(start, bytes.len());
        }
        (Self { bytes }, spans)
    }

    /// A text of these parts, and where they are, as if each were [`pushed`](Self::push).
    pub(crate) fn of<const N: usize>(parts: [&[u8]; N]) -> (Self, [Span; N]) {
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        // Many are empty, and need no call.
        for part in parts.iter().filter(|part| !part.is_empty()) {
            bytes.extend_from_slice(part);
        }
        // Judged at once: most are ASCII throughout.
        let mut spans = [Span::default(); N];
        if let Ok(whole) = String::from_utf8(bytes) {
            let (mut start, mut torn) = (0, false);
            for (part, place) in parts.iter().zip(&mut spans) {
                let end = start + part.len();
                torn |= !whole.is_char_boundary(end);
                *place = span(start, end);
                start = end;
            }
            if !torn {
                return (Self { bytes: whole }, spans);
            }
        }
        let mut text = Self::default();
        for (part, place) in parts.iter().zip(&mut spans) {
            *place = text.push(part);
        }
        (text, spans)
    }

    /// Appends bytes from the wire; what is not UTF-8 becomes U+FFFD. More than 4 GiB gives an empty span.
    pub fn push(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len();
        match std::str::from_utf8(bytes) {
            Ok(text) => self.bytes.push_str(text),
            Err(_) => self.bytes.push_str(&String::from_utf8_lossy(bytes)),
        }
        span(start, self.bytes.len())
    }

    /// Appends what `build` appends to it: a string that is made in place. What is not UTF-8 becomes U+FFFD.
    pub(crate) fn write(&mut self, build: impl FnOnce(&mut Vec<u8>)) -> Span {
        let mut bytes = std::mem::take(&mut self.bytes).into_bytes();
        let start = bytes.len();
        build(&mut bytes);
        self.bytes =
            String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        span(start, self.bytes.len())
    }

    /// Makes room for `bytes` more bytes.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// The text of a span made by [`Text::push`] of this very buffer; else empty.
    #[must_use]
    pub fn str(&self, span: Span) -> &str {
        self.bytes.get(Range { start: span.start as usize, end: span.end as usize }).unwrap_or_default()
    }

    /// A part of a span, in bytes from its start; `None` if it is not a part, or cuts a character.
    #[must_use]
    pub fn part(&self, span: Span, part: Range<usize>) -> Option<Span> {
        self.str(span).get(part.clone())?;
        let at = |from: usize| span.start.checked_add(u32::try_from(from).ok()?);
        Some(Span { start: at(part.start)?, end: at(part.end)? })
    }

    /// Bytes of text.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of heap.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

fn span(start: usize, end: usize) -> Span {
    match (u32::try_from(start), u32::try_from(end)) {
        (Ok(start), Ok(end)) => Span { start, end },
        _ => Span::default(),
    }
}
