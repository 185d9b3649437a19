//! Base64 in pieces, each padded by itself, as gRPC-Web-Text sends it.
//!
//! In: characters in any division. Out: bytes, a few at a time.

/// What is left of an unfinished group of four characters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Base64 {
    bits: u32,
    characters: u8,
    padding: u8,
}

/// A character that is none of the alphabet's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotBase64;

impl Base64 {
    /// Decodes characters; `emit` gets the bytes in their order.
    pub(crate) fn decode(&mut self, text: &[u8], mut emit: impl FnMut(&[u8])) -> Result<(), NotBase64> {
        for character in text {
            let value = match character {
                b'A'..=b'Z' => character - b'A',
                b'a'..=b'z' => character - b'a' + 26,
                b'0'..=b'9' => character - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' if self.characters >= 2 => {
                    self.padding += 1;
                    0
                }
                _ => return Err(NotBase64),
            };
            if self.padding > 0 && *character != b'=' {
                return Err(NotBase64);
            }
            self.bits = self.bits << 6 | u32::from(value);
            self.characters += 1;
            if self.characters == 4 {
                let [_, group @ ..] = self.bits.to_be_bytes();
                emit(group.get(..3 - usize::from(self.padding)).unwrap_or_default());
                *self = Self::default();
            }
        }
        Ok(())
    }
}
