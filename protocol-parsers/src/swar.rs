//! The length of a run of bytes of one class, eight at a time ("SIMD within a register").
//!
//! A class is given twice: as a function of a word of eight bytes, which sets the highest bit of each byte that ends the run (it
//! may set further bits behind the first that is right), and of a single byte, for the last seven of a slice.

/// Every byte `byte`.
const fn all(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

const HIGH: u64 = all(0x80);
const LOW7: u64 = all(0x7f);

/// How many bytes precede the first that ends the run.
#[inline(always)]
fn run(bytes: &[u8], word: impl Fn(u64) -> u64, byte: impl Fn(u8) -> bool) -> usize {
    let mut rest = bytes;
    while let Some((eight, more)) = rest.split_first_chunk() {
        let ends = word(u64::from_le_bytes(*eight));
        if ends != 0 {
            return bytes.len() - rest.len() + (ends.trailing_zeros() / 8) as usize;
        }
        rest = more;
    }
    let left = rest.iter().position(|one| byte(*one)).unwrap_or(rest.len());
    bytes.len() - rest.len() + left
}

/// How many bytes come before the first ASCII control character.
#[inline(always)]
pub(crate) fn printable(bytes: &[u8]) -> usize {
    // Sums of seven bits: none carries into its neighbour.
    let ends = |word: u64| (!((word & LOW7) + all(0x80 - b' ')) | ((word & LOW7) + all(1))) & !word & HIGH;
    run(bytes, ends, |byte| byte.is_ascii_control())
}

/// How many bytes come before the first ASCII control character or space.
#[inline(always)]
pub(crate) fn graphic(bytes: &[u8]) -> usize {
    let ends = |word: u64| (!((word & LOW7) + all(0x80 - b'!')) | ((word & LOW7) + all(1))) & !word & HIGH;
    run(bytes, ends, |byte| byte.is_ascii_control() || byte == b' ')
}

/// How many bytes come before the first colon, space or ASCII control character but DEL; or before a byte above 127.
#[inline(always)]
pub(crate) fn name(bytes: &[u8]) -> usize {
    let ends = |word: u64| {
        let seven = word & LOW7;
        !((seven + all(0x80 - b'!')) & ((seven ^ all(b':')) + LOW7)) & HIGH
    };
    run(bytes, ends, |byte| byte <= b' ' || byte == b':')
}

/// Where the first of two bytes stands. Most strings are short: only behind 32 bytes is it worth a call.
#[inline(always)]
pub(crate) fn either(bytes: &[u8], one: u8, other: u8) -> Option<usize> {
    let (one_each, other_each) = (u64::from_ne_bytes([one; 8]), u64::from_ne_bytes([other; 8]));
    let is_zero = |word: u64| word.wrapping_sub(all(1)) & !word;
    let near = bytes.get(..32).unwrap_or(bytes);
    let ends = |word: u64| (is_zero(word ^ one_each) | is_zero(word ^ other_each)) & HIGH;
    match run(near, ends, |byte| byte == one || byte == other) {
        at if at < near.len() => Some(at),
        at => Some(at + memchr::memchr2(one, other, bytes.get(at..)?)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_at_the_first_byte_that_is_not_of_its_class_wherever_it_stands() {
        type Run = (&'static str, fn(&[u8]) -> usize, fn(u8) -> bool);
        let runs: [Run; 2] = [
            ("printable", printable, |byte| !byte.is_ascii_control()),
            ("graphic", graphic, |byte| !byte.is_ascii_control() && byte != b' '),
        ];
        let of_name = |byte: u8| byte > b' ' && byte != b':';
        for (byte, other) in (0..=255_u8).flat_map(|byte| (0..=255).map(move |other| (byte, other))) {
            let mut bytes = [b'a'; 19];
            (bytes[9], bytes[10]) = (byte, other);
            for (from, len) in [(0, 19), (1, 19), (3, 13), (9, 19), (4, 11), (5, 10), (8, 8)] {
                let bytes = &bytes[from..len];
                for (name, run, member) in runs {
                    let expected = bytes.iter().take_while(|byte| member(**byte)).count();
                    assert_eq!(run(bytes), expected, "{name}: {bytes:?}");
                }
                let (expected, at) = (bytes.iter().take_while(|byte| of_name(**byte)).count(), name(bytes));
                assert!(at == expected || at < expected && bytes[at] > 127, "name: {bytes:?} to {at}");
            }
        }
    }
}
