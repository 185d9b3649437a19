//! The pass over a query. In: its bytes. Out: [`Digest`].
//!
//! What is kept is copied in runs: from behind one literal or comment to the next.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memmem};

use super::comment;
use super::kept::Kept;
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
    let room = Kept::room(bytes);
    text.reserve(room);
    let mut comments = Comments::default();
    let mut query = 0;
    let both = text.write(|out| {
        let from = out.len();
        out.resize(from + room, 0);
        let mut scan = Scan {
            all: bytes,
            bytes,
            dialect,
            foreign,
            whole,
            copied: 0,
            kept: Kept::new(out.get_mut(from..).unwrap_or_default()),
            summary: Summary::new(),
            comments: &mut comments,
        };
        let len;
        (query, len) = scan.run();
        out.truncate(from + len);
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
    if is_ascii(sql) {
        return (Cow::Borrowed(sql), whole, false);
    }
    match std::str::from_utf8(sql) {
        Ok(sql) => (Cow::Borrowed(sql.as_bytes()), whole, false),
        Err(error) => match sql.split_at(error.valid_up_to()) {
            // Cut inside a character.
            (valid, _) if !whole && error.error_len().is_none() => (lossy(valid), false, false),
            _ => (lossy(sql), whole, true),
        },
    }
}

/// That of the library looks at the last bytes one by one, which are most of a short text.
fn is_ascii(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<16>() else { return bytes.is_ascii() };
    let (sixteens, _) = bytes.as_chunks::<16>();
    let all = sixteens.iter().fold(u128::from_ne_bytes(*last), |all, sixteen| all | u128::from_ne_bytes(*sixteen));
    all & u128::from_ne_bytes([0x80; 16]) == 0
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
    /// Everything before this was written or left out.
    copied: usize,
    kept: Kept<'a>,
    summary: Summary,
    comments: &'a mut Comments,
}

/// From here on the text cannot be read with certainty.
struct Masked(usize);

impl<'a> Scan<'a> {
    /// How long the query is that was written, and how long it is with its summary.
    #[inline(never)]
    fn run(&mut self) -> (usize, usize) {
        match self.tokens() {
            Ok(()) => {
                self.copy(self.all.len());
                if !self.whole && self.kept.last() != Some(b'?') {
                    self.kept.mark();
                }
            }
            Err(Masked(at)) => {
                self.copy(at);
                if self.kept.last() != Some(b'?') {
                    self.kept.mark();
                }
            }
        }
        let query = self.kept.trim_end();
        for (nth, part) in self.summary.parts().enumerate() {
            if nth > 0 {
                self.kept.copy(b" ");
            }
            self.kept.copy_part(self.all, part);
        }
        (query, self.kept.end())
    }

    fn tokens(&mut self) -> Result<(), Masked> {
        let mysql = self.dialect != Dialect::Postgresql;
        let mut bytes = self.bytes;
        let mut words = Words::new(bytes, 0);
        let mut at = 0;
        loop {
            let Some(mut first) = bytes.get(at).copied() else {
                if bytes.len() == self.all.len() {
                    return Ok(());
                }
                // The end of an executable comment.
                bytes = self.read(self.all.len());
                words = Words::new(bytes, at);
                at = self.comment(at..at + 2);
                continue;
            };
            // Most tokens are followed by one.
            if first == b' ' {
                at += 1;
                match bytes.get(at) {
                    Some(next) => first = *next,
                    None => continue,
                }
            }
            // The most frequent by far are told by a branch of their own, which is foreseen better than a jump by table.
            if first.is_ascii_alphabetic() {
                let end = words.names_end(bytes, at);
                at = if self.summary.passes_over(first, at..end) { end } else { self.word_that_matters(at, end)? };
                continue;
            }
            at = match class(first) {
                Class::Letter => {
                    let end = words.names_end(bytes, at);
                    if self.summary.passes_over(first, at..end) { end } else { self.word_that_matters(at, end)? }
                }
                Class::Space => at + 1,
                Class::Comma => {
                    self.summary.comma();
                    at + 1
                }
                Class::Open => {
                    self.summary.open(bytes);
                    at + 1
                }
                Class::Close => {
                    self.summary.close();
                    at + 1
                }
                Class::Semicolon => {
                    self.summary.semicolon();
                    at + 1
                }
                Class::Digit => self.number(bytes, at),
                Class::Dot | Class::Plus | Class::Minus if literal::is_number(bytes, at) => self.number(bytes, at),
                Class::Double | Class::Backtick if mysql == (first == b'`') => {
                    let end = words.end(bytes, at + 1);
                    if self.quoted_word(bytes, at, end) { end + 1 } else { self.quoted(at)? }
                }
                Class::Quote | Class::Double => self.string(bytes, at)?,
                Class::Minus if self.byte(at + 1) == b'-' => self.dashes(at)?,
                Class::Hash if mysql => self.line_comment(at)?,
                Class::Slash if self.byte(at + 1) == b'*' => {
                    let end = self.block_comment(at)?;
                    if self.bytes.len() != bytes.len() {
                        bytes = self.bytes;
                        words = Words::new(bytes, end);
                    }
                    end
                }
                Class::Dollar => self.dollar(at)?,
                Class::Backtick
                | Class::Dot
                | Class::Hash
                | Class::Minus
                | Class::Plus
                | Class::Slash
                | Class::Symbol => self.symbol(at),
            };
        }
    }

    /// A byte that is neither a word nor a literal, nor anything else that is known.
    fn symbol(&mut self, at: usize) -> usize {
        self.summary.symbol();
        at + 1
    }

    /// Reads up to `end`.
    fn read(&mut self, end: usize) -> &'a [u8] {
        self.bytes = self.all.get(..end).unwrap_or_default();
        self.bytes
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
            Some(_) | None => Ok(self.symbol(at)),
        }
    }

    /// Writes what was kept up to there.
    fn copy(&mut self, to: usize) {
        self.kept.copy(self.all.get(self.copied..to).unwrap_or_default());
        self.copied = to;
    }

    /// Writes `?` for a literal.
    #[inline(always)]
    fn mask(&mut self, at: Range<usize>) -> usize {
        self.kept.copy_and_mark(self.all, self.copied..at.start);
        self.copied = at.end;
        self.summary.literal();
        at.end
    }

    /// Leaves a comment out. A space takes its place where something else would grow together.
    fn comment(&mut self, at: Range<usize>) -> usize {
        self.copy(at.start);
        if let (Some(before), Some(after)) = (self.kept.last(), self.all.get(at.end))
            && class(before) != Class::Space
            && class(*after) != Class::Space
        {
            self.kept.copy(b" ");
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
            self.read(inside + content.len());
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

    #[inline(never)]
    fn word_that_matters(&mut self, start: usize, end: usize) -> Result<usize, Masked> {
        let word = Word::of(self.bytes, start, end - start);
        let end = if self.summary.wants_name() { self.name_end(start, end)? } else { end };
        self.summary.word(self.bytes, start..end, word);
        Ok(end)
    }

    /// The end of a name that goes on behind `end` with dots and quotes.
    fn name_end(&mut self, start: usize, end: usize) -> Result<usize, Masked> {
        let mut end = end;
        while self.byte(end) == b'.' {
            end = match class(self.byte(end + 1)) {
                Class::Letter => literal::word_end(self.bytes, end + 1),
                Class::Backtick if self.dialect != Dialect::Postgresql => self.quoted_end(start, end + 1)?,
                Class::Double if self.dialect == Dialect::Postgresql => self.quoted_end(start, end + 1)?,
                _ => break,
            };
        }
        Ok(end)
    }

    /// A name in quotes that needs none and is no target, as most are. Whether it is.
    #[inline(always)]
    fn quoted_word(&mut self, bytes: &[u8], open: usize, close: usize) -> bool {
        let quote = bytes.get(open);
        let is = bytes.get(close) == quote
            && bytes.get(close + 1).is_some_and(|after| Some(after) != quote && (self.whole || *after != b'.'))
            && !self.foreign
            && !self.summary.wants_name();
        if is {
            self.summary.quoted(bytes, open..close + 1);
        }
        is
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
        literal::quoted_end(self.bytes, open, self.foreign).ok_or(Masked(start))
    }

    /// A string whose quote is at `open`. What stands directly before may be a part of it, and was taken for a word.
    #[inline(always)]
    fn string(&mut self, bytes: &[u8], open: usize) -> Result<usize, Masked> {
        let alone = open == self.copied || {
            let before = bytes.get(open.wrapping_sub(1)).copied().unwrap_or_default();
            class(before) != Class::Letter && before != b'&'
        };
        match literal::plain_string_end(bytes, open) {
            Some(end) if alone => Ok(self.mask(open..end)),
            _ => self.other_string(open),
        }
    }

    /// One with a prefix or with escapes.
    #[inline(never)]
    fn other_string(&mut self, open: usize) -> Result<usize, Masked> {
        let usual = match self.dialect {
            Dialect::Mysql => Escapes::Backslash,
            Dialect::MysqlNoBackslash => Escapes::Doubling,
            Dialect::Postgresql => Escapes::Unknown { whole: self.whole },
        };
        let (prefix, escapes) = self.prefix(self.bytes.get(self.copied..open).unwrap_or_default(), usual);
        let start = open - prefix;
        let end = literal::string_end(self.bytes, open, escapes, self.foreign).ok_or(Masked(start))?;
        Ok(self.mask(start..end))
    }

    /// How much of what stands before a string belongs to it, and what that says of its escapes.
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
    fn number(&mut self, bytes: &[u8], start: usize) -> usize {
        self.mask(start..literal::number_end(bytes, start))
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
            let end = literal::word_end(self.bytes, start);
            if self.summary.passes_over(b'$', start..end) { Ok(end) } else { self.word_that_matters(start, end) }
        } else {
            Ok(self.symbol(start))
        }
    }
}
