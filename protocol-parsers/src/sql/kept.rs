//! The text that is kept of a query. In: its runs between literals. Out: they, with a mark for each literal.
//!
//! Most runs are short, and are copied with what follows them, for to copy a fixed size is a few instructions and to copy an
//! exact one is a call. What was too much is overwritten by what comes next, and at the end with zeros.

use std::ops::Range;

/// So many bytes are copied at once.
const PIECE: usize = 32;

/// What stands for a literal.
const MARK: u8 = b'?';

/// The longest summary.
const MAX_SUMMARY: usize = 255;

pub(super) struct Kept<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl<'a> Kept<'a> {
    /// How much room a query needs: it gets no longer but for a mark at its end, and the summary is made of parts of it.
    pub(super) fn room(query: &[u8]) -> usize {
        query.len() + 1 + query.len().clamp(PIECE, MAX_SUMMARY)
    }

    /// To be written there, where is [`Self::room`].
    pub(super) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, len: 0 }
    }

    /// The last byte written.
    pub(super) fn last(&self) -> Option<u8> {
        self.bytes.get(..self.len)?.last().copied()
    }

    /// Adds a run; none begins with white space that nothing precedes.
    pub(super) fn copy(&mut self, run: &[u8]) {
        let run = if self.len == 0 { run.trim_ascii_start() } else { run };
        if let Some(to) = self.bytes.get_mut(self.len..self.len + run.len()) {
            to.copy_from_slice(run);
            self.len += run.len();
        }
    }

    /// Adds a mark.
    pub(super) fn mark(&mut self) {
        self.copy(&[MARK]);
    }

    /// Adds a part of the query.
    pub(super) fn copy_part(&mut self, query: &[u8], part: Range<usize>) {
        match self.piece(query, &part) {
            Some(_) => self.len += part.len(),
            None => self.copy(query.get(part).unwrap_or_default()),
        }
    }

    /// Adds a run of the query, and a mark.
    #[inline(always)]
    pub(super) fn copy_and_mark(&mut self, query: &[u8], run: Range<usize>) {
        let len = run.end - run.start;
        let begun = self.len > 0;
        match self.piece(query, &run).and_then(|to| to.get_mut(len)) {
            Some(mark) if begun => {
                *mark = MARK;
                self.len += len + 1;
            }
            _ => self.copy_far_and_mark(query.get(run).unwrap_or_default()),
        }
    }

    #[inline(never)]
    fn copy_far_and_mark(&mut self, run: &[u8]) {
        self.copy(run);
        self.mark();
    }

    /// Writes a short part of the query, and what follows it, behind what is kept.
    #[inline(always)]
    fn piece(&mut self, query: &[u8], part: &Range<usize>) -> Option<&mut [u8; PIECE]> {
        if part.end - part.start >= PIECE {
            return None;
        }
        let from = query.get(part.start..)?.first_chunk()?;
        let to = self.bytes.get_mut(self.len..)?.first_chunk_mut()?;
        *to = *from;
        Some(to)
    }

    /// Takes white space off the end. How long the text is then.
    pub(super) fn trim_end(&mut self) -> usize {
        self.len = self.bytes.get(..self.len).map_or(0, |kept| kept.trim_ascii_end().len());
        self.len
    }

    /// How long the text is. Nothing but zeros is behind it.
    pub(super) fn end(&mut self) -> usize {
        self.bytes.iter_mut().skip(self.len).take(PIECE).for_each(|byte| *byte = 0);
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] =
        b"SELECT * FROM t WHERE a = 'secret' AND b = 4711 AND c IN ('hidden', 'from sight') ORDER BY d";

    /// The runs before each literal, of which the second is followed by too little for a piece.
    #[test]
    fn runs_and_marks_stand_one_after_the_other_and_nothing_of_a_literal_stays_behind() {
        let mut bytes = vec![0; Kept::room(QUERY)];
        let mut kept = Kept::new(&mut bytes);
        let mut copied = 0;
        for literal in ["'secret'", "4711", "'hidden'", "'from sight'"] {
            let at = QUERY.windows(literal.len()).position(|text| text == literal.as_bytes()).unwrap();
            kept.copy_and_mark(QUERY, copied..at);
            copied = at + literal.len();
        }
        kept.copy(b"  ");
        assert_eq!(kept.last(), Some(b' '));
        let query = kept.trim_end();
        kept.copy_part(QUERY, 0..6);
        let end = kept.end();
        assert_eq!(bytes[..query], *b"SELECT * FROM t WHERE a = ? AND b = ? AND c IN (?, ?");
        assert_eq!(bytes[query..end], *b"SELECT");
        assert!(bytes[end..].iter().all(|byte| *byte == 0), "{:?}", &bytes[end..]);
    }

    #[test]
    fn white_space_is_not_kept_before_anything_else() {
        let mut bytes = vec![0; Kept::room(QUERY)];
        let mut kept = Kept::new(&mut bytes);
        kept.copy(b" \t");
        assert_eq!(kept.last(), None);
        kept.copy_and_mark(QUERY, 6..6);
        kept.copy(b" a");
        assert_eq!((kept.trim_end(), kept.end()), (3, 3));
        assert_eq!(bytes[..3], *b"? a");
    }
}
