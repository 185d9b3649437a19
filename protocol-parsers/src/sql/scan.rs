//! The pass over a query. In: its bytes. Out: [`Digest`].
//!
//! What is kept is copied in runs: from behind one literal or comment to the next.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memmem};

use super::comment;
use super::literal::{self, Class, Escapes, Words, class};
use super::summary::Summary;
use super::words::Word;
use super::{Dialect, Digest};
use crate::exchange::{Text, TraceContext};

pub(super) fn digest(sql: &[u8], dialect: Dialect, whole: bool, text: &mut Text) -> Digest {
    let (sql, whole, foreign) = decoded(sql, whole);
    // A word at which the text was cut may go on, or be the prefix of a string: it is not read.
    let is_word = |byte: &u8| class(*byte) <= Class::Dollar || *byte == b'.';
    let read = if whole { sql.len() } else { sql.iter().rposition(|byte| !is_word(byte)).map_or(0, |at| at + 1) };
    let bytes = sql.get(..read).unwrap_or_default();
    // The text gets no longer but for the mark at its end; the summary is made of parts of it.
    text.reserve(bytes.len() + 1 + bytes.len().min(256));
    let mut summary = Summary::new();
    let mut comments = Comments::default();
    let mut query = 0;
    let both = text.write(|out| {
        let from = out.len();
        let (summary, comments) = (&mut summary, &mut comments);
        Scan {
            all: bytes,
            bytes,
            dialect,
            foreign,
            whole,
            words: Words::new(bytes, 0),
            copied: 0,
            from,
            out,
            summary,
            comments,
        }
        .run();
        query = out.len() - from;
        for part in summary.parts() {
            out.extend_from_slice(bytes.get(part).unwrap_or_default());
            out.push(b' ');
        }
        // Behind the last part.
        out.truncate(out.len() - usize::from(out.len() - from > query));
    });
    let summary = text.part(both, query..both.len()).filter(|summary| summary.len() > 0);
    let query = text.part(both, 0..query).unwrap_or_default();
    // Several: which is the parent is not known.
    let context = comments.last.filter(|_| comments.count == 1).map(|(context, state)| {
        let state = state.and_then(|at| comment::state(bytes.get(at)?));
        let state = state.and_then(|(state, len)| Some(text.push(state.get(..len)?)));
        TraceContext { state, ..context }
    });
    Digest { query, summary, context }
}

/// A text as UTF-8, whether it is whole, and whether it was of another encoding.
fn decoded(sql: &[u8], whole: bool) -> (Cow<'_, [u8]>, bool, bool) {
    let lossy = |sql| match String::from_utf8_lossy(sql) {
        Cow::Borrowed(sql) => Cow::Borrowed(sql.as_bytes()),
        Cow::Owned(sql) => Cow::Owned(sql.into_bytes()),
    };
    match std::str::from_utf8(sql) {
        Ok(sql) => (Cow::Borrowed(sql.as_bytes()), whole, false),
        Err(error) => match sql.split_at(error.valid_up_to()) {
            // Cut inside a character.
            (valid, _) if !whole && error.error_len().is_none() => (lossy(valid), false, false),
            _ => (lossy(sql), whole, true),
        },
    }
}

/// Trace contexts in comments: the last one with the place of its state, and how many there are.
#[derive(Default)]
struct Comments {
    last: Option<(TraceContext, Option<Range<usize>>)>,
    count: usize,
}

struct Scan<'a> {
    /// The whole text.
    all: &'a [u8],
    /// What of it is read now: all, or up to the end of an executable comment.
    bytes: &'a [u8],
    dialect: Dialect,
    /// The bytes were not UTF-8.
    foreign: bool,
    whole: bool,
    words: Words,
    /// Everything before this was written or left out.
    copied: usize,
    /// Where the query begins in `out`.
    from: usize,
    out: &'a mut Vec<u8>,
    summary: &'a mut Summary,
    comments: &'a mut Comments,
}

/// From here on the text cannot be read with certainty.
struct Masked(usize);

impl Scan<'_> {
    #[inline(never)]
    fn run(&mut self) {
        match self.tokens() {
            Ok(()) => {
                self.copy(self.all.len());
                if !self.whole {
                    self.mark();
                }
            }
            Err(Masked(at)) => {
                self.copy(at);
                self.mark();
            }
        }
        let kept = self.out.get(self.from..).unwrap_or_default().trim_ascii_end().len();
        self.out.truncate(self.from + kept);
    }

    /// A `?` at the end, unless there is one.
    fn mark(&mut self) {
        if !self.out.get(self.from..).is_some_and(|out| out.ends_with(b"?")) {
            self.out.push(b'?');
        }
    }

    fn tokens(&mut self) -> Result<(), Masked> {
        let mysql = self.dialect != Dialect::Postgresql;
        let mut at = 0;
        loop {
            // Most tokens are followed by one space: to add is cheaper than to branch.
            at += usize::from(self.byte(at) == b' ');
            let Some(first) = self.bytes.get(at) else {
                if self.bytes.len() == self.all.len() {
                    return Ok(());
                }
                // The end of an executable comment.
                self.read(self.all.len(), at);
                at = self.comment(at..at + 2);
                continue;
            };
            // The most frequent by far are told by a branch of their own, which is foreseen better than a jump by table.
            if first.is_ascii_alphabetic() {
                let end = self.word_end(at);
                let word = Word::of(self.bytes, at, end - at);
                at = if self.summary.passes_over(word) { end } else { self.word_that_matters(at, end, word)? };
                continue;
            }
            at = match class(*first) {
                Class::Letter => self.word(at)?,
                Class::Space => at + 1,
                Class::Comma => self.tell(at, Summary::comma),
                Class::Open => self.tell(at, Summary::open),
                Class::Close => self.tell(at, Summary::close),
                Class::Quote => self.string(at)?,
                Class::Double if mysql => self.string(at)?,
                Class::Double => self.quoted(at)?,
                Class::Backtick if mysql => self.quoted(at)?,
                Class::Digit => self.number(at),
                Class::Dot | Class::Plus | Class::Minus if literal::is_number(self.bytes, at) => self.number(at),
                Class::Minus if self.byte(at + 1) == b'-' => self.dashes(at)?,
                Class::Hash if mysql => self.line_comment(at)?,
                Class::Slash if self.byte(at + 1) == b'*' => self.block_comment(at)?,
                Class::Dollar => self.dollar(at)?,
                Class::Semicolon => self.tell(at, Summary::semicolon),
                Class::Backtick
                | Class::Dot
                | Class::Hash
                | Class::Minus
                | Class::Plus
                | Class::Slash
                | Class::Symbol => self.tell(at, Summary::symbol),
            };
        }
    }

    #[inline]
    fn tell(&mut self, at: usize, what: fn(&mut Summary)) -> usize {
        what(self.summary);
        at + 1
    }

    /// Reads on at `at`, up to `end`.
    fn read(&mut self, end: usize, at: usize) {
        self.bytes = self.all.get(..end).unwrap_or_default();
        self.words = Words::new(self.bytes, at);
    }

    /// The byte there; 0 behind the end.
    #[inline]
    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// Two dashes, if so. "In MySQL, the -- (double-dash) comment style requires the second dash to be followed by at least one
    /// whitespace or control character."
    fn dashes(&mut self, at: usize) -> Result<usize, Masked> {
        match self.bytes.get(at + 2..) {
            _ if self.dialect == Dialect::Postgresql => self.line_comment(at),
            // Without the comment, the two dashes before it would begin one.
            _ if self.bytes.get(..at).is_some_and(|before| before.ends_with(b"--")) => Err(Masked(at)),
            // What follows a comment may turn them into one.
            Some([b'#', ..] | [b'/', b'*', ..]) => Err(Masked(at)),
            Some([]) if self.bytes.len() != self.all.len() => Err(Masked(at)),
            Some([..=b' ' | 0x7f, ..]) => self.line_comment(at),
            Some(_) | None => Ok(self.tell(at, Summary::symbol)),
        }
    }

    /// Writes what was kept up to there.
    fn copy(&mut self, to: usize) {
        let mut run = self.all.get(self.copied..to).unwrap_or_default();
        if self.out.len() == self.from {
            run = run.trim_ascii_start();
        }
        self.out.extend_from_slice(run);
        self.copied = to;
    }

    /// Writes `?` for a literal.
    #[inline(always)]
    fn mask(&mut self, at: Range<usize>) -> usize {
        let len = at.start - self.copied;
        // Between two values there is most often little: it is written in one piece with the mark, and what is too much is zeros.
        if len < 8 && self.out.len() > self.from && self.out.capacity() - self.out.len() >= 8 {
            let run = literal::eight(self.all, self.copied) & !(u64::MAX << (8 * len));
            self.out.extend_from_slice(&(run | u64::from(b'?') << (8 * len)).to_le_bytes());
            self.out.truncate(self.out.len() - (7 - len));
        } else {
            self.copy_and_mark(at.start);
        }
        self.copied = at.end;
        self.summary.literal();
        at.end
    }

    #[inline(never)]
    fn copy_and_mark(&mut self, to: usize) {
        self.copy(to);
        self.out.push(b'?');
    }

    /// Leaves a comment out. A space takes its place where something else would grow together.
    fn comment(&mut self, at: Range<usize>) -> usize {
        self.copy(at.start);
        let before = self.out.get(self.from..).and_then(<[u8]>::last);
        let after = self.all.get(at.end);
        if let (Some(before), Some(after)) = (before, after)
            && class(*before) != Class::Space
            && class(*after) != Class::Space
        {
            self.out.push(b' ');
        }
        self.copied = at.end;
        at.end
    }

    fn line_comment(&mut self, at: usize) -> Result<usize, Masked> {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let len = match memchr(b'\n', rest) {
            Some(len) => len,
            None if self.bytes.len() == self.all.len() => rest.len(),
            // The end of the executable comment may be a part of it.
            None => return Err(Masked(at)),
        };
        Ok(self.comment(at..at + len))
    }

    fn block_comment(&mut self, at: usize) -> Result<usize, Masked> {
        let inside = at + 2;
        let rest = self.bytes.get(inside..).unwrap_or_default();
        let postgresql = self.dialect == Dialect::Postgresql;
        let executable = !postgresql && (rest.starts_with(b"!") || rest.starts_with(b"M!"));
        let len = literal::comment(rest, postgresql);
        let content = rest.get(..len.unwrap_or_default()).unwrap_or_default();
        if executable {
            // It is read, but only if it ends at the same place for a server that passes it over.
            if len.is_none() || self.bytes.len() != self.all.len() || memmem::find(content, b"/*").is_some() {
                return Err(Masked(at));
            }
            let lead = if content.starts_with(b"!") { 1 } else { 2 };
            let version = content.iter().skip(lead).take(6).take_while(|byte| byte.is_ascii_digit()).count();
            self.read(inside + content.len(), at);
            return Ok(self.comment(at..inside + lead + version));
        }
        let Some(len) = len else {
            // No server takes a comment without an end, and none of it is kept.
            return if self.bytes.len() == self.all.len() {
                Ok(self.comment(at..self.all.len()))
            } else {
                Err(Masked(at))
            };
        };
        if let Some((context, state)) = comment::trace_context(content) {
            let state = state.map(|at| inside + at.start..inside + at.end);
            *self.comments = Comments { last: Some((context, state)), count: self.comments.count + 1 };
        }
        Ok(self.comment(at..inside + len + 2))
    }

    /// The end of a run of letters, digits, `_`, `$` and high bytes; with dots between names.
    #[inline(always)]
    fn word_end(&mut self, start: usize) -> usize {
        let mut end = self.words.end(self.bytes, start);
        while self.byte(end) == b'.' && class(self.byte(end + 1)) == Class::Letter {
            end = self.words.end(self.bytes, end + 1);
        }
        end
    }

    /// One that begins with `_`, `$` or a high byte: none that matters but for its place.
    #[inline(never)]
    fn word(&mut self, start: usize) -> Result<usize, Masked> {
        let end = self.word_end(start);
        if self.summary.passes_over(Word::Other) { Ok(end) } else { self.word_that_matters(start, end, Word::Other) }
    }

    #[inline(never)]
    fn word_that_matters(&mut self, start: usize, end: usize, word: Word) -> Result<usize, Masked> {
        let end = if self.summary.wants_name() { self.name_end(start, end)? } else { end };
        self.summary.word(self.bytes, start..end, word);
        Ok(end)
    }

    /// The end of a name that goes on behind `end` with dots and quotes.
    fn name_end(&mut self, start: usize, end: usize) -> Result<usize, Masked> {
        let mut end = end;
        while self.byte(end) == b'.' {
            end = match class(self.byte(end + 1)) {
                Class::Letter => self.word_end(end + 1),
                Class::Backtick if self.dialect != Dialect::Postgresql => self.quoted_end(start, end + 1)?,
                Class::Double if self.dialect == Dialect::Postgresql => self.quoted_end(start, end + 1)?,
                _ => break,
            };
        }
        Ok(end)
    }

    /// A name in quotes.
    fn quoted(&mut self, open: usize) -> Result<usize, Masked> {
        let mut end = self.quoted_end(open, open)?;
        if self.summary.wants_name() {
            end = self.name_end(open, end)?;
        }
        // A cut text may go on with another quote, or a dot.
        let rest = self.bytes.get(end..).unwrap_or_default();
        if !self.whole && matches!(rest, [] | [b'.']) {
            return Err(Masked(open));
        }
        self.summary.quoted(self.bytes, open..end);
        Ok(end)
    }

    fn quoted_end(&mut self, start: usize, open: usize) -> Result<usize, Masked> {
        // Most hold nothing but what a word may hold.
        let end = self.words.end(self.bytes, open + 1);
        let quote = self.byte(open);
        if !self.foreign && self.byte(end) == quote && self.byte(end + 1) != quote {
            return Ok(end + 1);
        }
        literal::quoted_end(self.bytes, open, self.foreign).ok_or(Masked(start))
    }

    /// A string whose quote is at `open`. What stands directly before may be a part of it, and was taken for a word.
    fn string(&mut self, open: usize) -> Result<usize, Masked> {
        let usual = match self.dialect {
            Dialect::Mysql => Escapes::Backslash,
            Dialect::MysqlNoBackslash => Escapes::Doubling,
            Dialect::Postgresql => Escapes::Unknown { whole: self.whole },
        };
        let before = self.bytes.get(self.copied..open).unwrap_or_default();
        let (prefix, escapes) = match before.last() {
            Some(last) if class(*last) == Class::Letter || *last == b'&' => self.prefix(before, usual),
            _ => (0, usual),
        };
        let start = open - prefix;
        let end = literal::string_end(self.bytes, open, escapes, self.foreign).ok_or(Masked(start))?;
        Ok(self.mask(start..end))
    }

    /// How much of what stands before a string belongs to it, and what that says of its escapes.
    #[inline(never)]
    fn prefix(&self, before: &[u8], usual: Escapes) -> (usize, Escapes) {
        let (prefix, escapes) = match before {
            [.., b'e' | b'E'] if self.dialect == Dialect::Postgresql => (1, Escapes::Backslash),
            [.., b'u' | b'U', b'&'] if self.dialect == Dialect::Postgresql => (2, Escapes::Doubling),
            [.., b'b' | b'B' | b'n' | b'N' | b'x' | b'X'] => (1, usual),
            _ => (0, usual),
        };
        // It must be the whole word.
        let ends_word = before.iter().rev().nth(prefix).is_some_and(|byte| class(*byte) <= Class::Dollar);
        if prefix > 0 && ends_word { (0, usual) } else { (prefix, escapes) }
    }

    #[inline(always)]
    fn number(&mut self, start: usize) -> usize {
        self.mask(start..literal::number_end(self.bytes, start))
    }

    /// A placeholder (`$1`), a string (`$tag$..$tag$`), or a name.
    fn dollar(&mut self, start: usize) -> Result<usize, Masked> {
        let rest = self.bytes.get(start + 1..).unwrap_or_default();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let tag = rest.iter().take_while(|byte| class(**byte) < Class::Dollar).count();
        if digits > 0 {
            let end = start + 1 + digits;
            self.summary.literal();
            Ok(end)
        } else if rest.get(tag) == Some(&b'$') {
            let (delimiter, content) = self.bytes.get(start..).unwrap_or_default().split_at(tag + 2);
            let len = memmem::find(content, delimiter).ok_or(Masked(start))?;
            Ok(self.mask(start..start + 2 * delimiter.len() + len))
        } else if tag > 0 {
            self.word(start)
        } else {
            Ok(self.tell(start, Summary::symbol))
        }
    }
}
