//! What is read of a command behind its word.
//!
//! In: the word ([`super::head`]) and the arguments, as they come. Out: the command's entry of the table, and its text with values
//! masked, appended to a buffer. Values are skipped by their length and never copied; keys that are shown are waited for, up to
//! [`MAX_SHOWN`] bytes.

use super::head::words;
use super::lookup::{Word, find};
use super::resp::{Header, Walk, count};
use super::table::{self, Command, Effect};
use crate::contract::Malformed;

/// Longer keys are masked.
const MAX_SHOWN: usize = 256;

/// Text of one command; what is longer ends in ` ...` behind a whole argument.
const MAX_TEXT: usize = 1024;

/// Which commands are answered from a `CLIENT REPLY` on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ReplyMode {
    #[default]
    On,
    Off,
    /// All but the next one.
    Skip,
}

/// A command while its arguments come.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) command: &'static Command,
    /// Arguments in all.
    pub(super) arguments: u32,
    /// Bytes of the operation's name, at the front of the text; 0: not shown.
    pub(super) operation: u8,
    /// Bytes of text appended so far.
    pub(super) text: u16,
    /// Where a procedure's name stands in it.
    pub(super) procedure: Option<(u16, u16)>,
    pub(super) reply_mode: Option<ReplyMode>,
    pub(super) index: Option<u32>,
    /// The text is whole.
    pub(super) whole: bool,
    /// Arguments to come, the one that is being read included.
    left: u32,
    /// Arguments read since the operation's last word.
    read: usize,
    /// Arguments to show, by a count that came before.
    show: u32,
    value: Walk,
}

/// What to do with an argument.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Count,
    Index,
    Mask,
    Mode,
    Procedure,
    Show,
    Streams,
    Word,
}

impl Reading {
    pub(super) fn new(word: &[u8], arguments: u32, text: &mut String) -> Self {
        let known = find(word);
        // A word that no command can have is not shown: it may be anything.
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        let upper;
        let shown = match known {
            Some(command) => command.word,
            None if word.first().is_some_and(u8::is_ascii_alphabetic) && word.iter().all(plain) => {
                upper = Word::new(word);
                upper.as_ref().and_then(|word| std::str::from_utf8(word.bytes()).ok()).unwrap_or_default()
            }
            None => "",
        };
        text.push_str(shown);
        Self {
            command: known.unwrap_or(&table::UNKNOWN),
            arguments,
            operation: u8::try_from(shown.len()).unwrap_or(0),
            text: u16::try_from(shown.len()).unwrap_or(0),
            procedure: None,
            reply_mode: None,
            index: None,
            whole: true,
            left: arguments,
            read: 0,
            show: 0,
            value: Walk::default(),
        }
    }

    /// Reads an inline command whole.
    pub(super) fn line(line: &[u8], text: &mut String) -> Self {
        let mut words = words(line);
        let word = words.next().flatten().unwrap_or_default();
        let arguments = u32::try_from(self::words(line).count()).unwrap_or(u32::MAX).saturating_sub(1);
        let mut reading = Self::new(word, arguments, text);
        for word in words {
            let class = reading.class();
            match word.filter(|word| word.len() <= MAX_SHOWN) {
                Some(word) => reading.argument(class, word, text),
                None => reading.append("?", text),
            }
            reading.passed();
        }
        reading
    }

    /// All arguments were read.
    pub(super) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Bytes to come that need not be seen.
    pub(super) fn skippable(&self) -> u64 {
        self.value.skippable()
    }

    /// Goes over missing bytes, if they are known to be of a value.
    pub(super) fn skip(&mut self, len: u64) -> bool {
        let inside = len > 0 && self.value.skip(len);
        if inside && self.value.is_over() {
            self.passed();
        }
        inside
    }

    /// Reads on; gives how many bytes it took.
    ///
    /// # Errors
    /// [`Malformed`] where no argument begins.
    pub(super) fn run(&mut self, bytes: &[u8], text: &mut String) -> Result<usize, Malformed> {
        let mut at = 0;
        while self.left > 0 {
            let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { break };
            if !self.value.is_over() {
                at += self.value.run(rest, &mut super::resp::Blind)?;
                if self.value.is_over() {
                    self.passed();
                }
                continue;
            }
            let (len, start) = match count(rest) {
                Header::Number(len @ 0.., start) if rest.first() == Some(&b'$') => (len as u64, start),
                Header::More if rest.first() == Some(&b'$') => break,
                _ => return Err(Malformed("an argument that is no bulk string")),
            };
            let class = self.class();
            let short = usize::try_from(len).ok().filter(|len| *len <= MAX_SHOWN);
            match short.filter(|_| class != Class::Mask) {
                Some(len) => {
                    let Some(argument) = rest.get(start..start + len + 2) else { break };
                    self.argument(class, argument.get(..len).unwrap_or_default(), text);
                    at += start + len + 2;
                    self.passed();
                }
                None => {
                    self.append("?", text);
                    self.value = Walk::bytes(len + 2);
                    at += start;
                }
            }
        }
        Ok(at)
    }

    fn passed(&mut self) {
        self.left = self.left.saturating_sub(1);
        self.read = self.read.wrapping_add(1);
    }

    fn class(&self) -> Class {
        if self.show > 0 {
            return Class::Show;
        }
        match self.command.effect {
            Effect::Container if self.read == 0 => return Class::Word,
            Effect::ClientReply if self.read == 0 => return Class::Mode,
            Effect::Select if self.read == 0 => return Class::Index,
            _ if self.left <= self.command.tail => return Class::Mask,
            _ => {}
        }
        let Command { head, each, .. } = self.command;
        let letter = match self.read.checked_sub(head.len()) {
            None => head.get(self.read),
            Some(behind) => each.get(behind.checked_rem(each.len()).unwrap_or(0)),
        };
        match letter {
            Some(b'k') => Class::Show,
            // Only where it stands in the head: behind it, `each` describes the rest.
            Some(b'n') => Class::Count,
            Some(b'p') => Class::Procedure,
            Some(b's') => Class::Streams,
            _ => Class::Mask,
        }
    }

    fn argument(&mut self, class: Class, argument: &[u8], text: &mut String) {
        if self.show > 0 {
            self.show -= 1;
            // What a count announced is not described by `each`.
            self.read = self.read.wrapping_sub(1);
        }
        match class {
            Class::Mask => self.append("?", text),
            Class::Show => self.show(argument, text),
            Class::Count | Class::Index => match number(argument) {
                Some((number, argument)) => {
                    self.append(argument, text);
                    match class {
                        Class::Count => self.show = number.min(self.left.saturating_sub(1)),
                        _ => self.index = Some(number),
                    }
                }
                None => self.append("?", text),
            },
            Class::Procedure => {
                let start = self.text + 1;
                self.show(argument, text);
                if self.whole {
                    self.procedure = Some((start, self.text));
                }
            }
            Class::Streams if argument.eq_ignore_ascii_case(b"streams") => {
                self.append("STREAMS", text);
                self.show = self.left.saturating_sub(1) / 2;
            }
            Class::Streams => self.append("?", text),
            Class::Mode => {
                self.reply_mode = [(ReplyMode::On, "on"), (ReplyMode::Off, "off"), (ReplyMode::Skip, "skip")]
                    .into_iter()
                    .find_map(|(mode, name)| argument.eq_ignore_ascii_case(name.as_bytes()).then_some(mode));
                self.append("?", text);
            }
            Class::Word => {
                let joined = Word::join(self.command.word, argument);
                match joined.as_ref().and_then(|word| find(word.bytes())) {
                    Some(command) => {
                        let word = command.word.get(usize::from(self.operation) + 1..).unwrap_or_default();
                        self.append(word, text);
                        self.command = command;
                        self.operation = u8::try_from(command.word.len()).unwrap_or(0);
                        // `passed` makes it 0.
                        self.read = usize::MAX;
                    }
                    None => self.append("?", text),
                }
            }
        }
    }

    fn append(&mut self, word: &str, text: &mut String) {
        let room = MAX_TEXT.saturating_sub(usize::from(self.text));
        if self.operation == 0 || !self.whole {
            return;
        }
        let before = text.len();
        text.push(' ');
        if word.len() < room {
            text.push_str(word);
        } else {
            self.whole = false;
            text.push_str("...");
        }
        self.text = self.text.saturating_add(u16::try_from(text.len() - before).unwrap_or(u16::MAX));
    }

    /// A key as redis-cli would take it.
    fn show(&mut self, key: &[u8], text: &mut String) {
        if !key.is_empty()
            && key.iter().all(|byte| PLAIN.get(usize::from(*byte)) == Some(&true))
            && let Ok(key) = std::str::from_utf8(key)
        {
            return self.append(key, text);
        }
        let mut quoted = String::with_capacity(key.len() + 2);
        quoted.push('"');
        for part in key.utf8_chunks() {
            for letter in part.valid().chars() {
                match letter {
                    '"' | '\\' => quoted.extend(['\\', letter]),
                    '\n' => quoted.push_str("\\n"),
                    '\r' => quoted.push_str("\\r"),
                    '\t' => quoted.push_str("\\t"),
                    letter if letter.is_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(letter))),
                    letter => quoted.push(letter),
                }
            }
            part.invalid().iter().for_each(|byte| quoted.push_str(&format!("\\x{byte:02x}")));
        }
        quoted.push('"');
        self.append(&quoted, text);
    }
}

/// Bytes of keys that are shown as they are.
static PLAIN: [bool; 256] = plain();

#[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "evaluated while compiling")]
const fn plain() -> [bool; 256] {
    let (mut plain, mut byte) = ([false; 256], 0);
    while byte < plain.len() {
        plain[byte] = (byte as u8).is_ascii_graphic() && !matches!(byte as u8, b'"' | b'\'' | b'\\');
        byte += 1;
    }
    plain
}

/// Decimal digits, and what they stand for.
fn number(bytes: &[u8]) -> Option<(u32, &str)> {
    let digits = std::str::from_utf8(bytes).ok()?;
    Some((digits.parse().ok()?, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of a command given as words.
    fn text(words: &[&str]) -> String {
        let mut text = String::new();
        let (word, arguments) = words.split_first().expect("a word");
        let mut reading = Reading::new(word.as_bytes(), arguments.len() as u32, &mut text);
        let bytes: Vec<u8> =
            arguments.iter().flat_map(|word| format!("${}\r\n{word}\r\n", word.len()).into_bytes()).collect();
        assert_eq!(reading.run(&bytes, &mut text), Ok(bytes.len()));
        assert!(reading.is_over());
        assert_eq!(usize::from(reading.text), text.len());
        text
    }

    #[test]
    fn keys_and_fields_are_shown_and_values_masked() {
        for (words, shown) in [
            (&["set", "key", "value", "EX", "10"][..], "SET key ? ? ?"),
            (&["HMSET", "myhash", "field1", "Hello", "field2", "World"], "HMSET myhash field1 ? field2 ?"),
            (&["MSET", "a", "1", "b", "2"], "MSET a ? b ?"),
            (&["MGET", "a", "b"], "MGET a b"),
            (&["AUTH", "user", "secret"], "AUTH ? ?"),
            (&["HELLO", "3", "AUTH", "user", "secret"], "HELLO ? ? ? ?"),
            (&["BLPOP", "a", "b", "5"], "BLPOP a b ?"),
            (&["EVAL", "return 'secret'", "2", "a", "b", "secret"], "EVAL ? 2 a b ?"),
            (&["FCALL", "name", "1", "a", "b"], "FCALL name 1 a ?"),
            (&["ZUNIONSTORE", "out", "2", "a", "b", "WEIGHTS", "1", "2"], "ZUNIONSTORE out 2 a b ? ? ?"),
            (&["ZINTER", "1", "a", "WITHSCORES"], "ZINTER 1 a ?"),
            (&["EVAL", "x", "0", "secret"], "EVAL ? 0 ?"),
            (&["EVAL", "x", "many", "secret"], "EVAL ? ? ?"),
            (&["XREAD", "COUNT", "2", "streams", "a", "b", "0", "0"], "XREAD ? ? STREAMS a b ? ?"),
            (&["client", "setname", "me"], "CLIENT SETNAME ?"),
            (&["client", "secret"], "CLIENT ?"),
            (&["CONFIG", "SET", "requirepass", "secret"], "CONFIG SET requirepass ?"),
            (&["OBJECT", "ENCODING", "a"], "OBJECT ENCODING a"),
            (&["XGROUP", "CREATE", "s", "g", "$"], "XGROUP CREATE s g ?"),
            (&["FT.SEARCH", "a", "b"], "FT.SEARCH ? ?"),
            (&["secret=1", "b"], ""),
            (&["GET", "two words"], "GET \"two words\""),
            (&["GET", ""], "GET \"\""),
            (&["GET", "q\"\r\n\u{1}é"], "GET \"q\\\"\\r\\n\\x01é\""),
        ] {
            assert_eq!(text(words), shown);
        }
    }

    #[test]
    fn long_texts_end_behind_a_whole_argument() {
        let keys = vec!["0123456789"; 200];
        let text = text(&[&["DEL"][..], &keys].concat());
        assert!(text.ends_with(" 0123456789 ...") && text.len() <= MAX_TEXT + 4, "{text}");
        let key = "k".repeat(MAX_SHOWN + 1);
        assert_eq!(self::text(&["GET", &key]), "GET ?");
    }

    #[test]
    fn inline_commands_are_lines_of_words() {
        let line = |line: &str| {
            let mut text = String::new();
            let reading = Reading::line(line.as_bytes(), &mut text);
            assert!(reading.is_over());
            text
        };
        assert_eq!(line("set key  value"), "SET key ?");
        assert_eq!(line("SET key \"a \\\" value\" EX 10"), "SET key ? ? ?");
        assert_eq!(line("GET 'my key'"), "GET ?");
        assert_eq!(line("client setname x"), "CLIENT SETNAME ?");
        assert_eq!(line("GET \"not ended"), "GET ?");
    }
}
