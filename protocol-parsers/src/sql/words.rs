//! The words of SQL that say what a statement does and to what. In: a word of any case. Out: [`Word`].

use super::literal::eight;

/// The longest word below.
const LONGEST: usize = 13;

/// Bit 5 of each byte: makes letters lower case. What else may stand in a word (digits, `_`, `$`, high bytes) stays apart.
const LOWER: u64 = u64::from_le_bytes([0x20; 8]);

/// What of eight bytes belongs to a word of so many.
const MASKS: [u64; 9] =
    [0, 0xff, 0xffff, 0xff_ffff, 0xffff_ffff, 0xff_ffff_ffff, 0xffff_ffff_ffff, 0xff_ffff_ffff_ffff, u64::MAX];

/// Lower-case key of the first eight bytes of a word.
const fn key(text: &[u8]) -> u64 {
    let (mut key, mut rest, mut shift) = (0, text, 0);
    while let (Some((byte, tail)), 0..64) = (rest.split_first(), shift) {
        key |= ((*byte | 0x20) as u64) << shift;
        (rest, shift) = (tail, shift + 8);
    }
    key
}

/// So many that few words which do not matter meet one that does.
const SLOTS_BITS: u32 = 12;

/// Place of a key in [`SLOTS`].
const fn slot(key: u64) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOTS_BITS)) as usize
}

macro_rules! words {
    ({$($clause:ident)*} $($word:ident)*) => {
        /// A word that matters.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(non_camel_case_types, reason = "the words have underscores")]
        pub(super) enum Word {
            $($clause,)*
            $($word,)*
            /// Any other.
            Other,
        }

        /// How many mean something wherever they stand.
        const CLAUSES: usize = [$(Word::$clause),*].len();

        /// Each word with its key and what follows the key.
        static WORDS: &[(u64, &[u8], Word)] =
            &[$(entry(stringify!($clause), Word::$clause),)* $(entry(stringify!($word), Word::$word),)*];

        const TEXTS: &[&str] = &[$(stringify!($clause),)* $(stringify!($word),)*];
    };
}

words! {
    {
        Begin Except For From Group Having Intersect Into Join Limit Offset Order Returning Select Set Straight_Join Union Using
        Where Window
    }
    Abort Aggregate Alter Analyze As Binlog Call Change Check Checkpoint Checksum Close Cluster Collation Column Comment
    Commit Concurrent Concurrently Copy Create Data Database Deallocate Declare Delayed Delete Desc Describe Discard Distinct
    Do Domain Drop End Event Exec Execute Exists Explain Extension Fetch Flush Freeze Full Function Grant High_Priority If
    Ignore Index Infile Insert Install Kill Language Lateral Listen Load Local Lock Low_Priority Materialized Merge Move Not
    Notify On Only Operator Optimize Package Policy Prepare Procedure Publication Purge Quick Refresh Reindex Reassign Release
    Rename Repair Replace Reset Revoke Role Rollback Rule Savepoint Schema Sequence Server Show Start Statistics Subscription
    System Table Tables Tablespace Transaction Trigger Truncate Type Uninstall Unlisten Unlock Update Use User Vacuum Values
    Verbose View With Xa
}

/// For each first letter, in either case, a bit for each length that a word has which means something wherever it stands.
#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
static CLAUSE_LENGTHS: [u32; 256] = {
    let mut lengths = [0; 256];
    let mut at = 0;
    while at < CLAUSES {
        let text = TEXTS[at].as_bytes();
        lengths[text[0].to_ascii_lowercase() as usize] |= 1 << text.len();
        lengths[text[0].to_ascii_uppercase() as usize] |= 1 << text.len();
        at += 1;
    }
    lengths
};

const fn entry(text: &'static str, word: Word) -> (u64, &'static [u8], Word) {
    let tail: &[u8] = match text.as_bytes().split_at_checked(8) {
        Some((_, tail)) => tail,
        None => &[],
    };
    (key(text.as_bytes()), tail, word)
}

/// For each slot the first of its words, and for each word the next of its slot, counted from 1; 0: none.
#[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "evaluated at compile time")]
const fn chains() -> ([u8; 1 << SLOTS_BITS], [u8; TEXTS.len()]) {
    let (mut slots, mut next) = ([0; 1 << SLOTS_BITS], [0; TEXTS.len()]);
    let mut at = 0;
    while at < TEXTS.len() {
        let text = TEXTS[at].as_bytes();
        assert!(text.len() <= LONGEST && at < 255);
        let slot = slot(key(text));
        next[at] = slots[slot];
        slots[slot] = at as u8 + 1;
        at += 1;
    }
    (slots, next)
}

static SLOTS: [u8; 1 << SLOTS_BITS] = chains().0;
static NEXT: [u8; TEXTS.len()] = chains().1;

impl Word {
    /// Which word stands at a place of a text and is so long.
    #[inline(always)]
    pub(super) fn of(text: &[u8], at: usize, len: usize) -> Self {
        let mask = MASKS.get(len.min(8)).copied().unwrap_or(u64::MAX);
        let key = (eight(text, at) | LOWER) & mask;
        let mut candidate = SLOTS.get(slot(key)).copied().unwrap_or(0);
        while let Some(index) = usize::from(candidate).checked_sub(1) {
            match WORDS.get(index) {
                Some((known, tail, word)) if *known == key && ends(text, at, len, tail) => return *word,
                _ => candidate = NEXT.get(index).copied().unwrap_or(0),
            }
        }
        Self::Other
    }

    /// Whether a word that begins so and is so long may mean something wherever it stands.
    #[inline(always)]
    pub(super) fn may_be_clause(first: u8, len: usize) -> bool {
        // Of a longer word some other bit, which does no harm.
        CLAUSE_LENGTHS.get(usize::from(first)).is_some_and(|lengths| lengths >> (len % 32) & 1 != 0)
    }
}

/// Whether `tail` is what follows the first eight bytes of a word.
#[inline]
fn ends(text: &[u8], at: usize, len: usize, tail: &[u8]) -> bool {
    if len <= 8 { tail.is_empty() } else { text.get(at + 8..at + len).is_some_and(|text| is(text, tail)) }
}

#[inline(never)]
fn is(text: &[u8], tail: &[u8]) -> bool {
    text.eq_ignore_ascii_case(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At the end of a text and not.
    fn of(text: &str) -> Word {
        let followed = format!("({text}) and more");
        let word = Word::of(text.as_bytes(), 0, text.len());
        assert_eq!(Word::of(followed.as_bytes(), 1, text.len()), word);
        word
    }

    #[test]
    fn every_word_is_found() {
        for (text, (_, _, word)) in TEXTS.iter().zip(WORDS) {
            assert_eq!(of(text), *word, "{text}");
            assert_eq!(of(&text.to_uppercase()), *word, "{text}");
        }
    }

    #[test]
    fn words_are_found_in_any_case_and_nothing_else_is() {
        assert_eq!(of("SELECT"), Word::Select);
        assert_eq!(of("sElEcT"), Word::Select);
        assert_eq!(of("straight_JOIN"), Word::Straight_Join);
        assert_eq!(of("MATERIALIZED"), Word::Materialized);
        for other in ["", "s", "selec", "selects", "a.b", "se1ect", "_elect", "materialized_views_of_all", "\u{e9}"] {
            assert_eq!(of(other), Word::Other, "{other}");
        }
    }

    #[test]
    fn a_clause_is_never_passed_over_and_most_other_words_are() {
        for text in &TEXTS[..CLAUSES] {
            for text in [text.to_lowercase(), text.to_uppercase()] {
                assert!(Word::may_be_clause(text.as_bytes()[0], text.len()), "{text}");
            }
        }
        for other in ["id", "and", "e", "email", "_from", "created_at", "\u{e9}cole", "$1"] {
            assert!(!Word::may_be_clause(other.as_bytes()[0], other.len()), "{other}");
        }
    }
}
