//! The Huffman code of string literals (RFC 7541 section 5.2 and appendix B).
//!
//! In: the encoded bytes. Out: the decoded ones, one at a time. The code is canonical: the lengths of the codes give the codes.

use super::Broken;

/// Bits of each symbol's code, by symbol; the last is EOS (RFC 7541 appendix B).
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];

const LONGEST: usize = 30;

/// Codes of up to so many bits are found by one look: all of printable ASCII but nine signs.
const FAST_BITS: u32 = 11;

/// What the code looks like from its front.
struct Tables {
    /// By the next [`FAST_BITS`] bits: symbol and length; length 0: the code is longer.
    fast: [(u8, u8); 1 << FAST_BITS],
    /// Symbols by length, then by value: the order of their codes.
    symbols: [u16; 257],
    /// By length: the first code behind those of this length, and how far codes are from their place in `symbols`.
    ends: [(u32, u32); LONGEST + 1],
}

static TABLES: Tables = Tables::new();

#[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "evaluated by the compiler")]
impl Tables {
    const fn new() -> Self {
        let mut tables = Self { fast: [(0, 0); 1 << FAST_BITS], symbols: [0; 257], ends: [(0, 0); LONGEST + 1] };
        let (mut len, mut code, mut place) = (1, 0_u32, 0_u32);
        while len <= LONGEST {
            code <<= 1;
            let first = code;
            let mut symbol = 0;
            while symbol < LENGTHS.len() {
                if LENGTHS[symbol] as usize == len {
                    tables.symbols[place as usize] = symbol as u16;
                    if len <= FAST_BITS as usize {
                        let unused = FAST_BITS as usize - len;
                        let mut rest = 0;
                        while rest < 1 << unused {
                            tables.fast[((code as usize) << unused) + rest] = (symbol as u8, len as u8);
                            rest += 1;
                        }
                    }
                    code += 1;
                    place += 1;
                }
                symbol += 1;
            }
            tables.ends[len] = (code, place.wrapping_sub(code));
            assert!(first <= code);
            len += 1;
        }
        tables
    }
}

/// Gives each decoded byte to `emit`.
pub(super) fn decode(mut input: &[u8], mut emit: impl FnMut(u8)) -> Result<(), Broken> {
    // The next bits, from the top; how many are there.
    let (mut bits, mut have) = (0_u64, 0_u32);
    loop {
        if let Some((four, rest)) = input.split_first_chunk::<4>().filter(|_| have <= 32) {
            bits |= u64::from(u32::from_be_bytes(*four)) << (32 - have);
            have += 32;
            input = rest;
        } else {
            while have <= 56
                && let Some((byte, rest)) = input.split_first()
            {
                bits |= u64::from(*byte) << (56 - have);
                have += 8;
                input = rest;
            }
        }
        loop {
            let (symbol, len) = match TABLES.fast.get((bits >> (64 - FAST_BITS)) as usize) {
                Some(&(symbol, len)) if len > 0 => (symbol, u32::from(len)),
                _ => long(bits)?,
            };
            if len > have {
                break;
            }
            emit(symbol);
            bits <<= len;
            have -= len;
            if have < 30 && !input.is_empty() {
                break;
            }
        }
        if input.is_empty() {
            // Padding: "the most significant bits of the code for the EOS symbol", at most 7 of them.
            return if have <= 7 && bits.leading_ones() >= have { Ok(()) } else { Err(Broken) };
        }
    }
}

/// How many bytes it decodes to.
pub(super) fn decoded_len(input: &[u8]) -> Result<usize, Broken> {
    let mut len = 0;
    decode(input, |_| len += 1)?;
    Ok(len)
}

#[cold]
fn long(bits: u64) -> Result<(u8, u32), Broken> {
    for (len, &(end, shift)) in (0_u32..).zip(&TABLES.ends).skip(FAST_BITS as usize) {
        let Ok(code) = u32::try_from(bits >> (64 - len)) else { continue };
        if code < end {
            let symbol = TABLES.symbols.get(code.wrapping_add(shift) as usize).copied().unwrap_or(u16::MAX);
            // "A Huffman-encoded string literal containing the EOS symbol MUST be treated as a decoding error."
            return u8::try_from(symbol).map(|symbol| (symbol, len)).map_err(|_| Broken);
        }
    }
    Err(Broken)
}

/// Each symbol's code and its length.
#[cfg(test)]
pub(super) fn codes() -> Vec<(u32, u8)> {
    let mut codes = vec![(0, 0); LENGTHS.len()];
    let mut place = 0_usize;
    for (len, &(end, shift)) in (0_u8..).zip(&TABLES.ends) {
        while place < end.wrapping_add(shift) as usize {
            codes[usize::from(TABLES.symbols[place])] = ((place as u32).wrapping_sub(shift), len);
            place += 1;
        }
    }
    codes
}
