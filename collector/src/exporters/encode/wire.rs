//! Protobuf's wire format, appended to a buffer.
//!
//! In: field numbers and values. Out: bytes, every length exact and minimal.

/// Appends a varint.
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes of a varint.
pub(super) const fn varint_len(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Key of a field of wire type 0.
pub(super) const fn key_varint(field: u8) -> u8 {
    field << 3
}

/// Key of a field of wire type 1 (eight bytes).
pub(super) const fn key_fixed64(field: u8) -> u8 {
    field << 3 | 1
}

/// Key of a field of wire type 2 (a length and bytes).
pub(super) const fn key_bytes(field: u8) -> u8 {
    field << 3 | 2
}

/// Key of a field of wire type 5 (four bytes); two bytes for fields from 16 on.
pub(super) const fn key_fixed32(field: u16) -> [u8; 2] {
    [(field << 3 | 5) as u8 & 0x7f | 0x80, (field >> 4) as u8]
}

/// Appends a varint field.
pub(super) fn uint(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(key_varint(field));
    varint(out, value);
}

/// Appends an eight-byte field.
pub(super) fn fixed64(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(key_fixed64(field));
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a field of bytes.
#[inline]
pub(super) fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    if let Ok(len @ 0..128) = u8::try_from(value.len()) {
        out.extend_from_slice(&[key_bytes(field), len]);
    } else {
        out.push(key_bytes(field));
        varint(out, value.len() as u64);
    }
    out.extend_from_slice(value);
}

/// Bytes of a field of bytes.
pub(super) const fn bytes_len(value: usize) -> usize {
    1 + varint_len(value) + value
}

/// Appends a message whose length is known only when it is written: room for a length of two bytes is left, and the message is
/// moved if it takes another number.
pub(super) fn message(out: &mut Vec<u8>, field: u8, write: impl FnOnce(&mut Vec<u8>)) {
    const ROOM: usize = 2;
    out.push(key_bytes(field));
    let at = out.len();
    out.extend_from_slice(&[0; ROOM]);
    let from = at + ROOM;
    write(out);
    let len = out.len() - from;
    let taken = varint_len(len);
    if taken != ROOM {
        out.resize(out.len().max(from + len + taken.saturating_sub(ROOM)), 0);
        out.copy_within(from..from + len, at + taken);
        out.truncate(at + taken + len);
    }
    let mut value = len;
    for place in out.iter_mut().skip(at).take(taken) {
        *place = if value >= 0x80 { value as u8 | 0x80 } else { value as u8 };
        value >>= 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_take_the_fewest_bytes() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, usize::MAX] {
            let mut out = Vec::new();
            varint(&mut out, value as u64);
            assert_eq!(out.len(), varint_len(value), "{value}");
            assert_eq!(prost::encoding::decode_varint(&mut out.as_slice()).unwrap(), value as u64);
        }
    }

    #[test]
    fn messages_of_every_size_have_the_length_prost_would_write() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
            let mut out = vec![9];
            message(&mut out, 4, |out| out.resize(out.len() + len, 7));
            let mut expected = vec![9];
            bytes(&mut expected, 4, &vec![7; len]);
            assert_eq!(out, expected, "{len}");
        }
    }
}
