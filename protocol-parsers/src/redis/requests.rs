//! The direction of the commands.
//!
//! In: its bytes. Out: commands, each given to the queue with what its text says of its replies.

use super::command::{Reading, ReplyMode};
use super::head::{self, Head};
use super::table::Effect;
use super::waiting::Asked;
use super::{Redis, Responses};
use crate::contract::{Chunk, Malformed, Mark, Role, Used};
use crate::exchange::{ExchangeId, Incomplete, Output};

/// Where the commands stand.
pub(super) enum Requests {
    /// Between commands.
    Start,
    /// In a command's arguments.
    Reading(Seen),
    /// Anywhere: a call that begins with a command is looked for.
    Lost,
}

/// A command, as far as it came.
pub(super) struct Seen {
    pub(super) id: ExchangeId,
    pub(super) first: Mark,
    pub(super) last: Mark,
    pub(super) bytes: u64,
    pub(super) reading: Reading,
}

impl Redis {
    /// Finds out who asks: the side that sends a command first.
    pub(super) fn settle(&mut self, chunk: &Chunk<'_>) -> Result<Role, Used> {
        match head::head(chunk.bytes) {
            head if head::is_known(&head) => {
                let role = Role::of_requests(chunk.dir);
                self.role = Some(role);
                Ok(role)
            }
            Head::More => Err(Used(0)),
            _ => Err(Used(chunk.bytes.len())),
        }
    }

    pub(super) fn requests(&mut self, role: Role, chunk: &Chunk<'_>, out: &mut Output) -> Result<Used, Malformed> {
        let mut at = 0;
        while let Some(rest) = chunk.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match &mut self.requests {
                Requests::Reading(Seen { last, bytes, reading, .. }) => {
                    let used = reading.run(rest, &mut self.pairing.texts)?;
                    at += used;
                    if used > 0 {
                        *bytes += used as u64;
                        *last = chunk.mark(at - 1);
                    }
                    if !reading.is_over() {
                        break;
                    }
                    self.read(role, None, out);
                }
                Requests::Start => {
                    let head = head::head(rest);
                    let len = match head {
                        Head::Nothing(len) => {
                            at += len;
                            continue;
                        }
                        Head::Array { len, .. } | Head::Inline { len, .. } => len,
                        Head::More => break,
                        Head::Not(why) => return Err(Malformed(why)),
                    };
                    if matches!(self.responses, Responses::Lost) {
                        self.responses = Responses::Start { attribute: None };
                    }
                    let first = chunk.mark(at);
                    let id = self.pairing.begins(role, first, out);
                    let texts = &mut self.pairing.texts;
                    let mut reading = match head {
                        Head::Inline { line, .. } => Reading::line(line, texts),
                        Head::Array { arguments, word, .. } => Reading::new(word, arguments, texts),
                        Head::Nothing(_) | Head::More | Head::Not(_) => break,
                    };
                    // Most come whole: their arguments are read on the way.
                    let behind = rest.get(len..).unwrap_or_default();
                    let read = if matches!(head, Head::Array { .. }) { reading.run(behind, texts) } else { Ok(0) };
                    let bytes = len + *read.as_ref().unwrap_or(&0);
                    at += bytes;
                    let last = chunk.mark(at - 1);
                    let over = matches!(head, Head::Inline { .. }) || reading.is_over();
                    let command = Seen { id, first, last, bytes: bytes as u64, reading };
                    if read.is_ok() && over {
                        self.asked(role, command, None, out);
                    } else {
                        self.requests = Requests::Reading(command);
                    }
                    read?;
                    if !over {
                        break;
                    }
                }
                Requests::Lost => match find(chunk, at) {
                    Some((start, true)) => {
                        at = start;
                        self.requests = Requests::Start;
                    }
                    Some((start, false)) => return Ok(Used(start)),
                    None => return Ok(Used(chunk.bytes.len())),
                },
            }
        }
        Ok(Used(at))
    }

    /// The command that is being read ends here, or what was seen of it.
    pub(super) fn read(&mut self, role: Role, flaw: Option<Incomplete>, out: &mut Output) {
        if let Requests::Reading(command) = std::mem::replace(&mut self.requests, Requests::Start) {
            self.asked(role, command, flaw, out);
        }
    }

    #[inline(always)]
    fn asked(&mut self, role: Role, command: Seen, flaw: Option<Incomplete>, out: &mut Output) {
        let Seen { id, first, last, bytes, reading } = command;
        let effect = reading.command.effect;
        let answers = match effect {
            Effect::Subscribe(_) => reading.arguments.max(1),
            Effect::Unsubscribe(_) => reading.arguments,
            _ => 1,
        };
        let asked = Asked {
            first,
            last,
            bytes,
            text: reading.text,
            // Its second word was not seen.
            operation: if flaw.is_some() && effect == Effect::Container { 0 } else { reading.operation },
            procedure: reading.procedure,
            effect,
            replies: reading.command.replies,
            known: !reading.command.word.is_empty(),
            answers,
            index: reading.index,
            flaw,
        };
        // What its arguments would have said of replies is not known.
        let unclear = flaw.is_some()
            && matches!(
                effect,
                Effect::ClientReply | Effect::Container | Effect::Subscribe(_) | Effect::Unsubscribe(_)
            );
        let silent = match (reading.reply_mode, self.mode) {
            (Some(ReplyMode::On), _) => {
                self.mode = ReplyMode::On;
                false
            }
            (Some(ReplyMode::Off), _) | (None, ReplyMode::Off) | (Some(ReplyMode::Skip), ReplyMode::Off) => {
                self.mode = ReplyMode::Off;
                true
            }
            (Some(ReplyMode::Skip), _) => {
                self.mode = ReplyMode::Skip;
                true
            }
            (None, ReplyMode::Skip) => {
                self.mode = ReplyMode::On;
                true
            }
            (None, ReplyMode::On) => false,
        };
        if silent || unclear {
            self.pairing.give_out(id, role, asked, flaw.filter(|_| unclear), out);
        } else {
            self.pairing.asked(id, role, asked, out);
        }
    }

    pub(super) fn requests_lost(&mut self, role: Role, why: Incomplete, out: &mut Output) {
        self.read(role, Some(why), out);
        self.requests = Requests::Lost;
        self.pairing.requests_lost();
        self.mode = ReplyMode::On;
    }
}

/// Looks for a command where a call's bytes begin: at the start of what was kept, else of what is new. `false`: one may be
/// growing there. Only arrays of a known command: a line may be anything, and a value must not be taken for a key.
fn find(chunk: &Chunk<'_>, at: usize) -> Option<(usize, bool)> {
    let starts = [Some(0), Some(chunk.kept.len).filter(|len| *len > 0)];
    let mut growing = None;
    for start in starts.into_iter().flatten().filter(|start| *start >= at) {
        let rest = chunk.bytes.get(start..)?;
        match head::head(rest) {
            head @ Head::Array { .. } if head::is_known(&head) => return Some((start, true)),
            Head::More if rest.first() == Some(&b'*') && growing.is_none() => growing = Some((start, false)),
            _ => {}
        }
    }
    growing
}
