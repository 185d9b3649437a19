//! Is it Redis? In: the first bytes of both directions. Out: a [`Score`].

use super::command;
use super::head::{self, Head};
use super::reply::{self, Start};
use crate::contract::{Direction, Role};
use crate::detect::{Sample, Score};

/// What one direction's bytes are, taken for commands.
#[derive(Clone, Copy, PartialEq)]
enum Asks {
    Empty,
    /// The beginning of one.
    Growing,
    /// An array with a word of the table.
    Known,
    /// An array with another word: a module's command.
    Unknown,
    /// A line with a word of the table.
    Line,
    /// What a replica tells its master: the connection is a replication stream.
    Replica,
    No,
}

/// A command and a reply are certain. A line alone proves little: other protocols have words like Redis's, and POP3 answers
/// them in the same way; so lines count only at the very beginning, with an answer that fits.
pub(super) fn score(sample: &Sample<'_>) -> Score {
    let (ingress, egress) = (asks(sample.ingress), asks(sample.egress));
    let (into, from) = (judge(ingress, egress, sample, true), judge(egress, ingress, sample, false));
    match (into, from) {
        (Score::Certain(_), Score::Certain(_)) => Score::No,
        (Score::Certain(_), _) => Score::Certain(Some(Role::of_requests(Direction::Ingress))),
        (_, Score::Certain(_)) => Score::Certain(Some(Role::of_requests(Direction::Egress))),
        (Score::Likely(_), _) => Score::Likely(Some(Role::of_requests(Direction::Ingress))),
        (_, Score::Likely(_)) => Score::Likely(Some(Role::of_requests(Direction::Egress))),
        (Score::Possible, _) | (_, Score::Possible) => Score::Possible,
        (Score::No, Score::No) => Score::No,
    }
}

/// Supposing that one direction asks and the other answers.
fn judge(asks: Asks, answers: Asks, sample: &Sample<'_>, ingress_asks: bool) -> Score {
    let (asked, answer) = if ingress_asks { (sample.ingress, sample.egress) } else { (sample.egress, sample.ingress) };
    let supposed = Some(Role::of_requests(if ingress_asks { Direction::Ingress } else { Direction::Egress }));
    if sample.role.is_some() && sample.role != supposed {
        return Score::No;
    }
    let answered = match reply::start(answer) {
        // Commands in both directions: replication; or a list that begins with a command's name, which is clear only where
        // it is known who connected.
        Start::Reply(reply)
            if answers == Asks::Known
                && !(sample.from_start && sample.role.is_some())
                && reply.name.and_then(reply::told).is_none() =>
        {
            return Score::No;
        }
        Start::Reply(reply) => fits(asked, &reply, asks),
        Start::Attribute(..) => true,
        Start::More => return if matches!(asks, Asks::No | Asks::Replica) { Score::No } else { Score::Possible },
        Start::Not(_) => return Score::No,
    };
    match asks {
        Asks::Known if answered => Score::Certain(None),
        Asks::Unknown if answered => Score::Likely(None),
        Asks::Line if answered && sample.from_start => Score::Certain(None),
        Asks::Empty | Asks::Growing => Score::Possible,
        Asks::Known | Asks::Unknown | Asks::Line | Asks::No | Asks::Replica => Score::No,
    }
}

fn asks(bytes: &[u8]) -> Asks {
    if bytes.is_empty() {
        return Asks::Empty;
    }
    match head::head(bytes) {
        Head::Array { word, .. } if word.eq_ignore_ascii_case(b"REPLCONF") => Asks::Replica,
        Head::Array { word, arguments, len } => {
            let mut text = String::new();
            let mut reading = command::Reading::new(word, arguments, &mut text);
            let known = !reading.command.word.is_empty();
            match reading.run(bytes.get(len..).unwrap_or_default(), &mut text) {
                Ok(_) if known => Asks::Known,
                Ok(_) if reading.operation > 0 => Asks::Unknown,
                Ok(_) | Err(_) => Asks::No,
            }
        }
        head @ Head::Inline { .. } if head::is_known(&head) => Asks::Line,
        Head::Nothing(len) => match bytes.get(len..) {
            Some(rest) if len > 2 && !rest.is_empty() => asks(rest),
            _ => Asks::No,
        },
        Head::More if bytes.first() == Some(&b'*') || bytes.first().is_some_and(u8::is_ascii_alphabetic) => {
            Asks::Growing
        }
        Head::Inline { .. } | Head::More | Head::Not(_) => Asks::No,
    }
}

/// Whether a reply is of a kind that the first command is answered with.
fn fits(asked: &[u8], reply: &reply::Reply<'_>, asks: Asks) -> bool {
    let mut text = String::new();
    let (command, line) = match head::head(asked) {
        Head::Array { word, arguments, .. } => (command::Reading::new(word, arguments, &mut text).command, false),
        Head::Inline { line, .. } => (command::Reading::line(line, &mut text).command, true),
        _ => return true,
    };
    let simple = reply.simple.unwrap_or_default();
    if line {
        // POP3 knows these words, and answers all with `+OK` or `-ERR`.
        return match command.word {
            "AUTH" | "QUIT" => false,
            "PING" => simple == b"PONG",
            _ => command.replies & reply.kind != 0,
        };
    }
    reply.error.is_some()
        || reply.push
        || asks == Asks::Unknown
        || command.replies & (reply.kind | super::replies::ANY) != 0
        || simple == b"QUEUED"
}
