//! The words of SQL that say what a statement does and to what. In: a word of any case. Out: [`Word`].

/// The longest word below.
const LONGEST: usize = 13;

/// Lower-case key of a word of up to 16 bytes. Only letters, digits, `_`, `$` and bytes above 0x7f come here: they stay apart.
const fn key(text: &[u8]) -> u128 {
    let (mut key, mut rest, mut shift) = (0, text, 0);
    while let Some((byte, tail)) = rest.split_first() {
        key |= ((*byte | 0x20) as u128) << shift;
        (rest, shift) = (tail, shift + 8);
    }
    key
}

macro_rules! words {
    ($($word:ident)*) => {
        /// A word that matters.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(non_camel_case_types, reason = "the words have underscores")]
        pub(super) enum Word {
            /// Any other.
            Other,
            $($word,)*
        }

        #[expect(non_upper_case_globals, reason = "named as the words are")]
        mod keys {
            $(pub(super) const $word: u128 = super::key(stringify!($word).as_bytes());)*
        }

        /// Which lengths the words have, by their first letter: most names are told apart by this alone.
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
        const LENGTHS: [u16; 32] = {
            let mut lengths = [0; 32];
            $(
                assert!(stringify!($word).len() <= LONGEST);
                lengths[(keys::$word & 0x1f) as usize] |= 1 << stringify!($word).len();
            )*
            lengths
        };

        fn find(key: u128) -> Word {
            match key {
                $(keys::$word => Word::$word,)*
                _ => Word::Other,
            }
        }
    };
}

words! {
    Abort Aggregate Alter Analyze As Begin Binlog Call Change Check Checkpoint Checksum Close Cluster Collation Column Comment
    Commit Concurrent Concurrently Copy Create Data Database Deallocate Declare Delayed Delete Desc Describe Discard Distinct
    Do Domain Drop End Event Except Exec Execute Exists Explain Extension Fetch Flush For Freeze From Full Function Grant
    Group Having High_Priority If Ignore Index Infile Insert Install Intersect Into Join Kill Language Lateral Limit Listen
    Load Local Lock Low_Priority Materialized Merge Move Not Notify Offset On Only Operator Optimize Order Package Policy
    Prepare Procedure Publication Purge Quick Refresh Reindex Reassign Release Rename Repair Replace Reset Returning Revoke
    Role Rollback Rule Savepoint Schema Select Sequence Server Set Show Start Statistics Straight_Join Subscription System
    Table Tables Tablespace Transaction Trigger Truncate Type Union Uninstall Unlisten Unlock Update Use User Using Vacuum
    Values Verbose View Where Window With Xa
}

impl Word {
    /// Of a word of letters, digits, `_`, `$` and bytes above 0x7f; a name with a dot is other.
    #[inline]
    pub(super) fn of(text: &[u8]) -> Self {
        let Some(first) = text.first() else { return Self::Other };
        let lengths = LENGTHS.get(usize::from(first & 0x1f)).copied().unwrap_or_default();
        if text.len() > LONGEST || lengths & 1 << text.len() == 0 {
            return Self::Other;
        }
        find(key(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_any_case_and_nothing_else_is() {
        assert_eq!(Word::of(b"SELECT"), Word::Select);
        assert_eq!(Word::of(b"sElEcT"), Word::Select);
        assert_eq!(Word::of(b"straight_JOIN"), Word::Straight_Join);
        assert_eq!(Word::of(b"MATERIALIZED"), Word::Materialized);
        for other in ["", "s", "selec", "selects", "a.b", "se1ect", "_elect", "materialized_views_of_all", "\u{e9}"] {
            assert_eq!(Word::of(other.as_bytes()), Word::Other, "{other}");
        }
    }
}
