//! Finds a command in the table.
//!
//! In: a command's word, or two, as sent. Out: its entry.

use super::table::{COMMANDS, Command, MAX_WORD};

const SLOTS: usize = 1024;

/// Open addressing: index + 1 of the entry, 0: free.
static INDEX: [u16; SLOTS] = index();

const fn hash(mut word: &[u8]) -> usize {
    let mut hash = 0x811c_9dc5_u32;
    while let [byte, rest @ ..] = word {
        hash = (hash ^ byte.to_ascii_uppercase() as u32).wrapping_mul(0x0100_0193);
        word = rest;
    }
    (hash ^ hash >> 15) as usize % SLOTS
}

#[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "evaluated while compiling")]
const fn index() -> [u16; SLOTS] {
    let (mut slots, mut entry) = ([0; SLOTS], 0);
    while entry < COMMANDS.len() {
        assert!(COMMANDS[entry].word.len() <= MAX_WORD);
        let mut slot = hash(COMMANDS[entry].word.as_bytes());
        while slots[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        entry += 1;
        slots[slot] = entry as u16;
    }
    slots
}

/// Finds a command by its word (two words where the first is a container), in either case.
pub(super) fn find(word: &[u8]) -> Option<&'static Command> {
    let mut slot = hash(word);
    loop {
        let command = COMMANDS.get(usize::from(INDEX.get(slot)?.checked_sub(1)?))?;
        if is(command.word.as_bytes(), word) {
            return Some(command);
        }
        slot = (slot + 1) % SLOTS;
    }
}

/// Whether a word as sent is this one, which is in upper case.
fn is(upper: &[u8], word: &[u8]) -> bool {
    upper.len() == word.len() && upper.iter().zip(word).all(|(upper, byte)| *upper == byte.to_ascii_uppercase())
}

/// A word in upper case, if it is short enough for the table.
pub(super) struct Word {
    bytes: [u8; MAX_WORD],
    len: usize,
}

impl Word {
    pub(super) fn new(word: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_WORD];
        let room = bytes.get_mut(..word.len())?;
        room.copy_from_slice(word);
        room.make_ascii_uppercase();
        Some(Self { bytes, len: word.len() })
    }

    /// Appends a second word.
    pub(super) fn join(container: &str, word: &[u8]) -> Option<Self> {
        let mut joined = Self::new(container.as_bytes())?;
        let room = joined.bytes.get_mut(joined.len..joined.len + 1 + word.len())?;
        let (space, room) = room.split_first_mut()?;
        *space = b' ';
        room.copy_from_slice(word);
        room.make_ascii_uppercase();
        joined.len += 1 + word.len();
        Some(joined)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::table::Effect;

    #[test]
    fn every_command_is_found_by_its_word() {
        for command in COMMANDS {
            assert!(std::ptr::eq(find(command.word.as_bytes()).expect(command.word), command), "{}", command.word);
            assert_eq!(command.word, command.word.to_ascii_uppercase());
        }
        assert!(find(b"").is_none() && find(b"FT.SEARCH").is_none() && find(b"GETS").is_none());
    }

    #[test]
    fn words_of_a_container_follow_it() {
        for command in COMMANDS.iter().filter(|command| command.word.contains(' ')) {
            let (first, second) = command.word.split_once(' ').expect("two");
            assert_eq!(find(first.as_bytes()).map(|first| first.effect), Some(Effect::Container));
            assert_eq!(
                Word::join(first, second.to_ascii_lowercase().as_bytes()).expect("short").bytes(),
                command.word.as_bytes()
            );
        }
    }
}
