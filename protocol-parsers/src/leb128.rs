//! Numbers in as few bytes as they take: seven bits in each, the lowest first, the highest bit saying that more follow.

/// Appends a number.
pub(crate) fn push(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(0x80 | number.to_le_bytes()[0]);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// Takes a number off the front.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<usize> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = bytes.split_off_first()?;
        number |= usize::from(byte & 0x7f).checked_shl(shift)?;
        shift += 7;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_come_back_in_their_order() {
        let numbers = [0, 1, 0x7f, 0x80, 300, 0x3fff, 0x4000, u32::MAX as usize, usize::MAX];
        let mut bytes = Vec::new();
        numbers.into_iter().for_each(|number| super::push(&mut bytes, number));
        assert_eq!(bytes[..5], [0, 1, 0x7f, 0x80, 1]);
        let mut rest = &bytes[..];
        numbers.into_iter().for_each(|number| assert_eq!(super::take(&mut rest), Some(number)));
        assert_eq!((rest, super::take(&mut rest)), (&[][..], None));
        assert_eq!(super::take(&mut &[0x80; 20][..]), None);
    }
}
