//! Where literals, quoted names and comments end. In: bytes and a place in them. Out: the place behind.

use memchr::{memchr, memchr2};

use crate::swar;

/// What a byte may begin. The first three make words.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Letter,
    Digit,
    Dollar,
    Backtick,
    Close,
    Comma,
    Dot,
    Double,
    Hash,
    Minus,
    Open,
    Plus,
    Quote,
    Semicolon,
    Slash,
    Space,
    Symbol,
}

#[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "evaluated at compile time")]
static CLASSES: [Class; 256] = {
    let mut classes = [Class::Symbol; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => Class::Letter,
            b'0'..=b'9' => Class::Digit,
            b'$' => Class::Dollar,
            b'`' => Class::Backtick,
            b')' => Class::Close,
            b',' => Class::Comma,
            b'.' => Class::Dot,
            b'"' => Class::Double,
            b'#' => Class::Hash,
            b'-' => Class::Minus,
            b'(' => Class::Open,
            b'+' => Class::Plus,
            b'\'' => Class::Quote,
            b';' => Class::Semicolon,
            b'/' => Class::Slash,
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => Class::Space,
            _ => Class::Symbol,
        };
        byte += 1;
    }
    classes
};

#[inline]
pub(super) fn class(byte: u8) -> Class {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(Class::Symbol)
}

/// The eight bytes there; zeros behind the end.
#[inline]
pub(super) fn eight(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..at + 8).and_then(<[u8]>::first_chunk) {
        Some(eight) => u64::from_le_bytes(*eight),
        None => last(bytes.get(at..).unwrap_or_default()),
    }
}

#[cold]
fn last(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |eight, byte| eight << 8 | u64::from(*byte))
}

/// Where the bytes of a word end that stand there.
pub(super) fn word_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| class(*byte) > Class::Dollar).unwrap_or(rest.len())
}

/// Which bytes belong to a word (letters, digits, `_`, `$` and high bytes): one bit each for 64 bytes from a place on. To look
/// at a bit again is faster than to look at a byte, for no byte of a word need be known to find the next.
#[derive(Clone, Copy)]
pub(super) struct Words {
    start: usize,
    bits: u64,
}

impl Words {
    /// Of these bytes, to be asked for places from `start` on.
    pub(super) fn new(bytes: &[u8], start: usize) -> Self {
        Self { start, bits: word_bits(bytes, start) }
    }

    /// Where the bytes of a word end that stand there.
    #[inline(always)]
    pub(super) fn end(&mut self, bytes: &[u8], at: usize) -> usize {
        let passed = at.wrapping_sub(self.start);
        if passed < 64 {
            let len = (!(self.bits >> passed)).trailing_zeros() as usize;
            if passed + len < 64 {
                return at + len;
            }
        }
        self.far_end(bytes, at)
    }

    /// The same, with the dots and names that follow.
    #[inline(always)]
    pub(super) fn names_end(&mut self, bytes: &[u8], at: usize) -> usize {
        let mut end = self.end(bytes, at);
        while bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(|after| class(*after) == Class::Letter) {
            end = self.end(bytes, end + 1);
        }
        end
    }

    #[inline(never)]
    fn far_end(&mut self, bytes: &[u8], at: usize) -> usize {
        let mut at = at;
        loop {
            *self = Self::new(bytes, at);
            let len = (!self.bits).trailing_zeros() as usize;
            at += len;
            if len < 64 {
                return at;
            }
        }
    }
}

fn word_bits(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    let mut last = [0; 64];
    let chunk = rest.first_chunk::<64>().unwrap_or_else(|| {
        last.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
        &last
    });
    // Without branches and with a result of a byte for each byte, so that the compiler judges sixteen at a time.
    let mut marks = [0; 64];
    for (mark, byte) in marks.iter_mut().zip(chunk) {
        let letter = (*byte | 0x20).wrapping_sub(b'a') < 26;
        let digit = byte.wrapping_sub(b'0') < 10;
        let word = letter | digit | (*byte == b'_') | (*byte == b'$') | (*byte > 0x7f);
        *mark = if word { 0xff } else { 0 };
    }
    let (eights, _) = marks.as_chunks::<8>();
    eights.iter().rev().fold(0, |bits, eight| {
        // Keeps bit n of byte n, and adds them up in the last byte.
        let one_each = u64::from_le_bytes(*eight) & 0x8040_2010_0804_0201;
        bits << 8 | one_each.wrapping_mul(0x0101_0101_0101_0101) >> 56
    })
}

/// How a string says that a quote belongs to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    /// By doubling it, or with a backslash.
    Backslash,
    /// By doubling it.
    Doubling,
    /// By doubling it; whether a backslash does so too is the server's setting. Whether the text is known to its end.
    Unknown { whole: bool },
}

/// Behind the quote that ends what begins at `open` whatever the escapes are: no backslash stands before it, and it is not doubled.
#[inline(always)]
pub(super) fn plain_string_end(bytes: &[u8], open: usize) -> Option<usize> {
    let quote = *bytes.get(open)?;
    let inside = bytes.get(open + 1..)?;
    let len = swar::either(inside, quote, b'\\')?;
    (inside.get(len) == Some(&quote) && inside.get(len + 1) != Some(&quote)).then_some(open + len + 2)
}

/// Behind the quote that ends what begins at `open`; `None`: there is none, or which it is cannot be told. `foreign`: the bytes
/// are of an encoding that is not known.
pub(super) fn string_end(bytes: &[u8], open: usize, escapes: Escapes, foreign: bool) -> Option<usize> {
    plain_string_end(bytes, open).or_else(|| escaped_end(bytes, open, *bytes.get(open)?, escapes, foreign))
}

#[inline(never)]
fn escaped_end(bytes: &[u8], open: usize, quote: u8, escapes: Escapes, foreign: bool) -> Option<usize> {
    let mut at = open + 1;
    loop {
        let rest = bytes.get(at..)?;
        let escape = if escapes == Escapes::Backslash { b'\\' } else { quote };
        at += swar::either(rest, quote, escape)?;
        if escapes == Escapes::Backslash && bytes.get(at) == Some(&b'\\') {
            // In some East Asian encodings the second byte of a character may be a backslash.
            if foreign && bytes.get(at - 1).is_some_and(|byte| *byte >= 0x80) {
                return None;
            }
            at += 2;
            continue;
        }
        if let Escapes::Unknown { whole } = escapes
            && after_backslash(bytes, open, at)
        {
            // The other reading is no string at all if no quote follows.
            return (whole && memchr(quote, bytes.get(at + 1..)?).is_none()).then_some(at + 1);
        }
        if bytes.get(at + 1) != Some(&quote) {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Whether an odd number of backslashes stands before.
fn after_backslash(bytes: &[u8], open: usize, at: usize) -> bool {
    let inside = bytes.get(open + 1..at).unwrap_or_default();
    inside.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// Behind a name in quotes.
pub(super) fn quoted_end(bytes: &[u8], open: usize, foreign: bool) -> Option<usize> {
    let end = string_end(bytes, open, Escapes::Doubling, foreign)?;
    // In some East Asian encodings the second byte of a character may be a backtick.
    let high = bytes.get(open.saturating_sub(1)..end)?.iter().any(|byte| *byte >= 0x80);
    (!(foreign && high)).then_some(end)
}

/// Whether a number begins there, with or without a sign.
#[inline]
pub(super) fn is_number(bytes: &[u8], at: usize) -> bool {
    let byte = |at| bytes.get(at).copied().unwrap_or(0);
    let at = at + usize::from(matches!(byte(at), b'+' | b'-'));
    byte(at).is_ascii_digit() || (byte(at) == b'.' && byte(at + 1).is_ascii_digit())
}

/// Behind the number that begins at `start`, with its sign. Letters directly behind belong to it: exponent, hexadecimal digits,
/// or something that no server takes.
#[inline]
pub(super) fn number_end(bytes: &[u8], start: usize) -> usize {
    let signed = matches!(bytes.get(start), Some(b'+' | b'-'));
    let digits = start + usize::from(signed);
    // Most are short and of digits with at most one dot.
    let mut at = digits + leading_digits(eight(bytes, digits));
    if bytes.get(at) == Some(&b'.') {
        at += 1 + leading_digits(eight(bytes, at + 1));
    }
    // Most are followed by a space, a comma or a bracket, which come before all that belongs to a number.
    if bytes.get(at).is_some_and(|byte| *byte >= b'.' && of_number(byte)) {
        long_number_end(bytes, digits, at)
    } else {
        at
    }
}

/// From `at` on, a place in the number whose digits begin at `digits`.
#[inline(never)]
fn long_number_end(bytes: &[u8], digits: usize, at: usize) -> usize {
    let decimal = !matches!(bytes.get(digits..), Some([b'0', b'x' | b'X', ..]));
    let mut at = at;
    loop {
        while bytes.get(at).is_some_and(of_number) {
            at += 1;
        }
        // The sign of an exponent.
        match bytes.get(at - 1..) {
            Some([b'e' | b'E', b'+' | b'-', b'0'..=b'9', ..]) if decimal => at += 1,
            _ => return at,
        }
    }
}

#[inline]
fn of_number(byte: &u8) -> bool {
    matches!(class(*byte), Class::Digit | Class::Dot | Class::Letter)
}

/// How many of eight bytes are digits, from the first on.
#[inline]
fn leading_digits(eight: u64) -> usize {
    let digits = eight ^ u64::from_le_bytes([b'0'; 8]);
    // A byte above 9 comes to 128 or more; it may carry, but only behind itself.
    let others = (digits.wrapping_add(u64::from_le_bytes([0x76; 8])) | digits) & u64::from_le_bytes([0x80; 8]);
    (others.trailing_zeros() / 8) as usize
}

/// How long the inside of a comment is.
pub(super) fn comment(inside: &[u8], nested: bool) -> Option<usize> {
    let (mut depth, mut at) = (1, 0);
    loop {
        let rest = inside.get(at..)?;
        at += if nested { memchr2(b'*', b'/', rest) } else { memchr(b'*', rest) }?;
        match inside.get(at..at + 2)? {
            b"*/" if depth == 1 => return Some(at),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            b"/*" => (depth, at) = (depth + 1, at + 2),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_counted_up_to_the_first_other_byte() {
        for (at, other) in (0..8).flat_map(|at| (0..=255).map(move |other| (at, other))) {
            let mut bytes = *b"09182736";
            (bytes[at], bytes[7]) = (other, b'a');
            let expected = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
            assert_eq!(leading_digits(u64::from_le_bytes(bytes)), expected, "{bytes:?}");
        }
        assert_eq!(leading_digits(u64::from_le_bytes(*b"09182736")), 8);
    }

    #[test]
    fn words_are_measured_as_their_classes_say() {
        for byte in 0..=255 {
            for at in 0..72 {
                let mut bytes = *b"a1_$Zz9\xff\x80\xfeaz09AZ_$a1_$Zz9\xff\x80\xfeaz09AZ_$a1_$Zz9\xff\x80\xfeaz09AZ_$a1_$Zz9\xff\x80\xfeaz09AZ_$";
                bytes[at] = byte;
                for start in [0, 1, 63, 64] {
                    let expected = bytes[start..].iter().position(|byte| class(*byte) > Class::Dollar);
                    let mut words = Words::new(&bytes, 0);
                    let end = words.end(&bytes, start);
                    assert_eq!(end - start, expected.unwrap_or(72 - start), "{at} {byte}");
                    assert_eq!(words.end(&bytes, end), end);
                }
            }
        }
    }
}
