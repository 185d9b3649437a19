//! The pass over a query. In: its bytes. Out: [`Digest`].
//!
//! What is kept is copied in runs: from behind one literal or comment to the next.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memchr2, memmem};

use super::comment;
use super::summary::Summary;
use super::words::Word;
use super::{Dialect, Digest};
use crate::exchange::{Text, TraceContext};

/// What a byte may begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Backtick,
    Close,
    Comma,
    Digit,
    Dollar,
    Dot,
    Double,
    Hash,
    Letter,
    Minus,
    Open,
    Plus,
    Quote,
    Semicolon,
    Slash,
    Space,
    Symbol,
}

#[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "evaluated at compile time")]
static CLASSES: [Class; 256] = {
    let mut classes = [Class::Symbol; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'`' => Class::Backtick,
            b')' => Class::Close,
            b',' => Class::Comma,
            b'0'..=b'9' => Class::Digit,
            b'$' => Class::Dollar,
            b'.' => Class::Dot,
            b'"' => Class::Double,
            b'#' => Class::Hash,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => Class::Letter,
            b'-' => Class::Minus,
            b'(' => Class::Open,
            b'+' => Class::Plus,
            b'\'' => Class::Quote,
            b';' => Class::Semicolon,
            b'/' => Class::Slash,
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => Class::Space,
            _ => Class::Symbol,
        };
        byte += 1;
    }
    classes
};

fn class(byte: u8) -> Class {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(Class::Symbol)
}

/// How a string says that a quote belongs to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// By doubling it, or with a backslash.
    Backslash,
    /// By doubling it.
    Doubling,
    /// By doubling it; whether a backslash does so too is the server's setting.
    Unknown,
}

pub(super) fn digest(sql: &[u8], dialect: Dialect, whole: bool, text: &mut Text) -> Digest {
    let (sql, cut, foreign) = match std::str::from_utf8(sql) {
        Ok(sql) => (Cow::Borrowed(sql), false, false),
        Err(error) => match (error.error_len(), sql.split_at(error.valid_up_to())) {
            // Cut inside a character.
            (None, (valid, _)) if !whole => (String::from_utf8_lossy(valid), true, false),
            _ => (String::from_utf8_lossy(sql), false, true),
        },
    };
    // The text gets no longer but for the mark at its end; the summary is made of parts of it.
    text.reserve(sql.len() + 1 + sql.len().min(256));
    let mut summary = Summary::new();
    let mut found = Found::default();
    let query = text.write(|out| {
        let from = out.len();
        let mut scan = Scan {
            bytes: sql.as_bytes(),
            sql: &sql,
            dialect,
            foreign,
            whole: whole && !cut,
            at: 0,
            end: sql.len(),
            copied: 0,
            from,
            out,
            summary: &mut summary,
            found: &mut found,
        };
        scan.run();
    });
    let mut first = true;
    let summary = text.write(|out| {
        for part in summary.parts() {
            if !std::mem::take(&mut first) {
                out.push(' ');
            }
            out.push_str(sql.get(part).unwrap_or_default());
        }
    });
    // Several: which is the parent is not known.
    let comment = found.comment.filter(|_| found.count == 1).and_then(|at| sql.as_bytes().get(at));
    let context = comment.and_then(comment::trace_context).map(|(context, state)| {
        let state = state.and_then(comment::state).and_then(|(state, len)| Some(text.push(state.get(..len)?)));
        TraceContext { state, ..context }
    });
    Digest { query, summary: (!first).then_some(summary), context }
}

/// Comments with trace context: where the last one's content stands, and how many there are.
#[derive(Default)]
struct Found {
    comment: Option<Range<usize>>,
    count: usize,
}

struct Scan<'a> {
    bytes: &'a [u8],
    sql: &'a str,
    dialect: Dialect,
    /// The bytes were not UTF-8.
    foreign: bool,
    whole: bool,
    /// The next byte to look at.
    at: usize,
    /// Where to stop: the end of the text, or of an executable comment.
    end: usize,
    /// Everything before this was written or left out.
    copied: usize,
    /// Where the query begins in `out`.
    from: usize,
    out: &'a mut String,
    summary: &'a mut Summary,
    found: &'a mut Found,
}

/// The rest of the text cannot be read with certainty.
struct Masked;

impl Scan<'_> {
    fn run(&mut self) {
        let read = self.tokens();
        if read.is_err() {
            self.copy(self.at);
            self.copied = self.bytes.len();
            self.mark();
        } else {
            self.copy(self.bytes.len());
            if !self.whole {
                self.mark();
            }
        }
        let kept = self.out.get(self.from..).unwrap_or_default().trim_ascii_end().len();
        self.out.truncate(self.from + kept);
    }

    /// A `?` at the end, unless there is one.
    fn mark(&mut self) {
        if !self.out.get(self.from..).is_some_and(|out| out.ends_with('?')) {
            self.out.push('?');
        }
    }

    fn tokens(&mut self) -> Result<(), Masked> {
        loop {
            if self.at >= self.end {
                if self.end == self.bytes.len() {
                    return Ok(());
                }
                // The end of an executable comment.
                let start = self.end;
                self.end = self.bytes.len();
                self.comment(start..start + 2);
                continue;
            }
            match class(self.byte(self.at)) {
                Class::Space => self.at += 1,
                Class::Letter => self.word()?,
                Class::Digit => self.number(self.at),
                Class::Dot if self.digit(self.at + 1) => self.number(self.at),
                Class::Plus | Class::Minus
                    if self.digit(self.at + 1) || (self.byte(self.at + 1) == b'.' && self.digit(self.at + 2)) =>
                {
                    self.number(self.at);
                }
                Class::Minus if self.byte(self.at + 1) == b'-' && self.is_dashes() => self.line_comment()?,
                Class::Hash if self.dialect != Dialect::Postgresql => self.line_comment()?,
                Class::Slash if self.byte(self.at + 1) == b'*' => self.block_comment()?,
                Class::Quote => self.string(self.at, self.at, self.escapes())?,
                Class::Double if self.dialect != Dialect::Postgresql => {
                    self.string(self.at, self.at, self.escapes())?
                }
                Class::Double => self.quoted(self.at)?,
                Class::Backtick if self.dialect != Dialect::Postgresql => self.quoted(self.at)?,
                Class::Dollar => self.dollar()?,
                Class::Open => self.step(Summary::open),
                Class::Close => self.step(Summary::close),
                Class::Comma => self.step(Summary::comma),
                Class::Semicolon => self.step(Summary::semicolon),
                Class::Backtick
                | Class::Dot
                | Class::Hash
                | Class::Minus
                | Class::Plus
                | Class::Slash
                | Class::Symbol => {
                    self.step(Summary::symbol);
                }
            }
        }
    }

    fn step(&mut self, tell: fn(&mut Summary)) {
        tell(self.summary);
        self.at += 1;
    }

    /// The byte there; 0 behind the end.
    fn byte(&self, at: usize) -> u8 {
        if at < self.end { self.bytes.get(at).copied().unwrap_or(0) } else { 0 }
    }

    fn digit(&self, at: usize) -> bool {
        self.byte(at).is_ascii_digit()
    }

    /// The bytes from there to the end of what is read now.
    fn rest(&self, at: usize) -> &[u8] {
        self.bytes.get(at..self.end).unwrap_or_default()
    }

    /// "In MySQL, the -- (double-dash) comment style requires the second dash to be followed by at least one whitespace or
    /// control character."
    fn is_dashes(&self) -> bool {
        let after = self.bytes.get(self.at + 2);
        self.dialect == Dialect::Postgresql || after.is_none_or(|byte| *byte <= b' ' || *byte == 0x7f)
    }

    fn escapes(&self) -> Escapes {
        match self.dialect {
            Dialect::Mysql => Escapes::Backslash,
            Dialect::MysqlNoBackslash => Escapes::Doubling,
            Dialect::Postgresql => Escapes::Unknown,
        }
    }

    /// Writes what was kept up to there.
    fn copy(&mut self, to: usize) {
        let mut run = self.sql.get(self.copied..to).unwrap_or_default();
        if self.out.len() == self.from {
            run = run.trim_ascii_start();
        }
        self.out.push_str(run);
        self.copied = to.max(self.copied);
    }

    /// Writes `?` for a literal.
    fn mask(&mut self, at: Range<usize>) {
        self.copy(at.start);
        self.out.push('?');
        (self.copied, self.at) = (at.end, at.end);
        self.summary.literal();
    }

    /// Leaves a comment out. A space takes its place where something else would grow together.
    fn comment(&mut self, at: Range<usize>) {
        self.copy(at.start);
        let before = self.out.as_bytes().get(self.from..).and_then(<[u8]>::last);
        let after = self.bytes.get(at.end);
        if let (Some(before), Some(after)) = (before, after)
            && class(*before) != Class::Space
            && class(*after) != Class::Space
        {
            self.out.push(' ');
        }
        (self.copied, self.at) = (at.end, at.end);
    }

    fn line_comment(&mut self) -> Result<(), Masked> {
        let rest = self.rest(self.at);
        let len = match memchr(b'\n', rest) {
            Some(len) => len,
            None if self.end == self.bytes.len() => rest.len(),
            // The end of the executable comment may be a part of it.
            None => return Err(Masked),
        };
        self.comment(self.at..self.at + len);
        Ok(())
    }

    fn block_comment(&mut self) -> Result<(), Masked> {
        let start = self.at;
        let inside = start + 2;
        let len = match self.dialect {
            Dialect::Postgresql => nested_comment(self.rest(inside)),
            Dialect::Mysql | Dialect::MysqlNoBackslash => memmem::find(self.rest(inside), b"*/"),
        };
        let Some(len) = len else {
            // Nothing of it is kept, and what it would be followed by was not seen.
            return if self.end == self.bytes.len() && self.is_plain_comment(inside) {
                self.comment(start..self.end);
                Ok(())
            } else {
                Err(Masked)
            };
        };
        if self.is_plain_comment(inside) {
            let content = inside..inside + len;
            if self.bytes.get(content.clone()).and_then(comment::trace_context).is_some() {
                *self.found = Found { comment: Some(content), count: self.found.count + 1 };
            }
            self.comment(start..inside + len + 2);
            return Ok(());
        }
        // An executable comment: read, but only if it says the same to a server that passes it over.
        let content = self.bytes.get(inside..inside + len).unwrap_or_default();
        if self.end != self.bytes.len() || memmem::find(content, b"/*").is_some() {
            return Err(Masked);
        }
        let lead = content.iter().position(|byte| *byte == b'!').map_or(0, |at| at + 1);
        let version = content.iter().skip(lead).take(6).take_while(|byte| byte.is_ascii_digit()).count();
        self.comment(start..inside + lead + version);
        self.end = inside + len;
        Ok(())
    }

    /// Not `/*! .. */` or MariaDB's `/*M! .. */`, whose content is executed.
    fn is_plain_comment(&self, inside: usize) -> bool {
        let content = self.rest(inside);
        self.dialect == Dialect::Postgresql || !(content.starts_with(b"!") || content.starts_with(b"M!"))
    }

    /// The end of a run of letters, digits, `_`, `$` and high bytes; with dots between names.
    fn word_end(&self, start: usize) -> usize {
        let mut at = start;
        loop {
            match class(self.byte(at)) {
                Class::Letter | Class::Digit | Class::Dollar => at += 1,
                Class::Dot if class(self.byte(at + 1)) == Class::Letter => at += 2,
                _ => return at,
            }
        }
    }

    fn word(&mut self) -> Result<(), Masked> {
        let start = self.at;
        let mut end = self.word_end(start);
        let text = self.bytes.get(start..end).unwrap_or_default();
        if let b'\'' | b'"' | b'&' = self.byte(end)
            && let Some((open, escapes)) = self.prefix(text, end)
        {
            return self.string(start, open, escapes);
        }
        let word = Word::of(text);
        if self.summary.wants_name() {
            end = self.name_end(end)?;
        }
        if end == self.bytes.len() && !self.whole {
            // It may go on, or be the prefix of a string.
            return Err(Masked);
        }
        self.at = end;
        self.summary.word(self.bytes, start..end, word);
        Ok(())
    }

    /// Whether a word is the first part of a string: where its quote stands, and how it is read.
    fn prefix(&self, word: &[u8], end: usize) -> Option<(usize, Escapes)> {
        let quote = self.byte(end);
        let string = quote == b'\'' || (quote == b'"' && self.dialect != Dialect::Postgresql);
        match (self.dialect, word) {
            (Dialect::Postgresql, [b'u' | b'U']) => {
                (quote == b'&' && self.byte(end + 1) == b'\'').then_some((end + 1, Escapes::Doubling))
            }
            _ if !string => None,
            (Dialect::Postgresql, [b'e' | b'E']) => Some((end, Escapes::Backslash)),
            (Dialect::Postgresql, [b'b' | b'B' | b'n' | b'N' | b'x' | b'X']) => Some((end, self.escapes())),
            (Dialect::Mysql | Dialect::MysqlNoBackslash, [b'b' | b'B' | b'n' | b'N' | b'x' | b'X']) => {
                Some((end, self.escapes()))
            }
            _ => None,
        }
    }

    /// The end of a name that goes on behind `end` with dots and quotes.
    fn name_end(&self, end: usize) -> Result<usize, Masked> {
        let mut end = end;
        while self.byte(end) == b'.' {
            end = match class(self.byte(end + 1)) {
                Class::Letter => self.word_end(end + 1),
                Class::Backtick if self.dialect != Dialect::Postgresql => self.quoted_end(end + 1)?,
                Class::Double if self.dialect == Dialect::Postgresql => self.quoted_end(end + 1)?,
                _ => break,
            };
        }
        Ok(end)
    }

    /// A name in quotes.
    fn quoted(&mut self, open: usize) -> Result<(), Masked> {
        let mut end = self.quoted_end(open)?;
        if self.summary.wants_name() {
            end = self.name_end(end)?;
        }
        if end == self.bytes.len() && !self.whole {
            return Err(Masked);
        }
        self.at = end;
        self.summary.quoted(self.bytes, open..end);
        Ok(())
    }

    fn quoted_end(&self, open: usize) -> Result<usize, Masked> {
        let end = self.string_end(open, Escapes::Doubling).ok_or(Masked)?;
        // In some East Asian encodings the second byte of a character may be a backtick.
        let high = |at: usize| self.bytes.get(at).is_some_and(|byte| *byte >= 0x80);
        let doubtful = self.foreign && (open..end).any(|at| high(at.wrapping_sub(1)));
        if doubtful { Err(Masked) } else { Ok(end) }
    }

    /// A string whose first byte is at `start` and whose quote is at `open`.
    fn string(&mut self, start: usize, open: usize, escapes: Escapes) -> Result<(), Masked> {
        let end = self.string_end(open, escapes).ok_or(Masked)?;
        self.mask(start..end);
        Ok(())
    }

    /// Behind the quote that ends what begins at `open`; `None`: there is none, or which it is cannot be told.
    fn string_end(&self, open: usize, escapes: Escapes) -> Option<usize> {
        let quote = self.byte(open);
        let mut at = open + 1;
        loop {
            let rest = self.rest(at);
            at += match escapes {
                Escapes::Backslash => memchr2(quote, b'\\', rest)?,
                Escapes::Doubling | Escapes::Unknown => memchr(quote, rest)?,
            };
            if self.byte(at) == b'\\' {
                // In some East Asian encodings the second byte of a character may be a backslash.
                if self.foreign && self.byte(at - 1) >= 0x80 {
                    return None;
                }
                at += 2;
                continue;
            }
            if escapes == Escapes::Unknown && self.after_backslash(open, at) {
                // The other reading is no string at all if no quote follows.
                let sure = self.whole && memchr(quote, self.bytes.get(at + 1..)?).is_none();
                return sure.then_some(at + 1);
            }
            if self.byte(at + 1) != quote {
                return Some(at + 1);
            }
            at += 2;
        }
    }

    /// Whether an odd number of backslashes stands before.
    fn after_backslash(&self, open: usize, at: usize) -> bool {
        let inside = self.bytes.get(open + 1..at).unwrap_or_default();
        inside.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
    }

    /// A number with its sign, at `start`. Letters directly behind belong to it: exponent, hexadecimal digits, or something that
    /// no server takes.
    fn number(&mut self, start: usize) {
        let mut at = start + usize::from(matches!(self.byte(start), b'+' | b'-'));
        let decimal = !(self.byte(at) == b'0' && matches!(self.byte(at + 1), b'x' | b'X'));
        loop {
            at += match (self.byte(at), self.byte(at + 1)) {
                (b'e' | b'E', b'+' | b'-') if decimal && self.digit(at + 2) => 2,
                (byte, _) if matches!(class(byte), Class::Digit | Class::Dot | Class::Letter) => 1,
                _ => break,
            };
        }
        self.mask(start..at);
    }

    /// A placeholder (`$1`), a string (`$tag$..$tag$`), or a name.
    fn dollar(&mut self) -> Result<(), Masked> {
        let start = self.at;
        let run = self.rest(start + 1).iter().take_while(|byte| matches!(class(**byte), Class::Digit | Class::Letter));
        let tag = start + 1 + run.count();
        if self.digit(start + 1) {
            let digits = self.rest(start + 1).iter().take_while(|byte| byte.is_ascii_digit()).count();
            let end = start + 1 + digits;
            if end == self.bytes.len() && !self.whole {
                return Err(Masked);
            }
            self.at = end;
            self.summary.literal();
        } else if self.byte(tag) == b'$' {
            let delimiter = self.bytes.get(start..=tag).unwrap_or_default();
            let len = memmem::find(self.rest(tag + 1), delimiter).ok_or(Masked)?;
            self.mask(start..tag + 1 + len + delimiter.len());
        } else if tag > start + 1 {
            return self.word();
        } else {
            self.step(Summary::symbol);
        }
        Ok(())
    }
}

/// How long the inside of a comment is in which comments may nest.
fn nested_comment(inside: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (1, 0);
    loop {
        at += memchr2(b'*', b'/', inside.get(at..)?)?;
        match inside.get(at..at + 2)? {
            b"*/" if depth == 1 => return Some(at),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            b"/*" => (depth, at) = (depth + 1, at + 2),
            _ => at += 1,
        }
    }
}
