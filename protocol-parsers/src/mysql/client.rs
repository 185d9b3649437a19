//! The client's half: its answer to the greeting, its commands.
//!
//! In: its bytes. Out: commands for [`super::pairing`], with what is told of those that are exchanges.

use super::answer;
use super::command::{self, Reply};
use super::handshake::{self, Capabilities};
use super::packets::{Front, Input, Step};
use super::session::{Effect, Statements};
use super::waiting::{Asked, Command};
use super::wire::Wire;
use super::{Mysql, Phase, RESPONSES, sql};
use crate::contract::{Malformed, Mark, Role};
use crate::exchange::{Db, Incomplete, Next, Output, Side, Text};

impl Mysql {
    /// Reads what the client says.
    pub(super) fn requests(&mut self, role: Role, input: &mut Input<'_>, out: &mut Output) -> Result<(), Malformed> {
        let mut from = input.at();
        loop {
            match self.requests.take(input, command::want)? {
                Step::More => break,
                Step::Front(front) => {
                    from = input.at();
                    let last = input.last();
                    self.request(role, &front, last, out)?;
                    if self.over {
                        return Ok(());
                    }
                }
                Step::End => {
                    self.pairing.request_bytes((input.at() - from) as u64, input.last());
                    self.pairing.request_ended(self.requests.seq());
                    from = input.at();
                }
            }
        }
        if self.requests.inside() {
            self.pairing.request_bytes((input.at() - from) as u64, input.last());
        }
        Ok(())
    }

    /// The front of a client's message.
    pub(super) fn request(
        &mut self,
        role: Role,
        front: &Front<'_>,
        last: Mark,
        out: &mut Output,
    ) -> Result<(), Malformed> {
        match self.phase {
            Phase::Start | Phase::Greeted(_) => self.answer_to_greeting(front, out),
            Phase::Authenticating(_) if front.seq > 0 => Ok(()),
            Phase::Authenticating(_) => Err(Malformed("a command before the authentication's end")),
            Phase::Commands if front.seq > 0 => {
                if self.pairing.continued(front.taken, last) {
                    Ok(())
                } else {
                    Err(Malformed("a packet that continues nothing"))
                }
            }
            Phase::Commands => self.command(role, front, last, out),
        }
    }

    fn answer_to_greeting(&mut self, front: &Front<'_>, out: &mut Output) -> Result<(), Malformed> {
        let answer = handshake::answer(&front.bytes, front.whole()).ok_or(Malformed("no answer to a greeting"))?;
        let response = match answer {
            handshake::Answer::Tls => {
                self.leave("tls", out);
                return Ok(());
            }
            handshake::Answer::Response(response) => response,
        };
        let session = &mut self.pairing.session;
        let agreed = match self.phase {
            Phase::Greeted(greeting) => response.capabilities.and(greeting.capabilities),
            _ => {
                session.system = response.system().unwrap_or(session.system);
                response.capabilities
            }
        };
        session.format = answer::Format::new(agreed);
        session.attributes = Some(agreed.has(Capabilities::QUERY_ATTRIBUTES));
        session.enter(response.database);
        self.phase = Phase::Authenticating(agreed);
        Ok(())
    }

    fn command(&mut self, role: Role, front: &Front<'_>, last: Mark, out: &mut Output) -> Result<(), Malformed> {
        let Some((&code, payload)) = front.bytes.split_first() else { return Err(Malformed("an empty command")) };
        let kind = command::kind(code).ok_or(Malformed("an unknown command"))?;
        let mut effect = Effect::Nothing;
        let asked = kind.name.map(|name| {
            let (asked, found) = self.asked(code, name, payload, front);
            effect = found;
            asked
        });
        let session = &mut self.pairing.session;
        match (code, kind.reply) {
            (command::STMT_CLOSE, _) => {
                if let Some(id) = Wire(payload).u32() {
                    session.statements.remove(id);
                }
                return Ok(());
            }
            (command::RESET_CONNECTION, _) => session.statements = Statements::default(),
            (command::CHANGE_USER, _) => {
                effect = match handshake::changed_database(payload) {
                    Some(name) => Effect::Resets(name.into()),
                    None => Effect::Moves,
                };
            }
            (_, Reply::Nothing) => return Ok(()),
            (_, Reply::Stream) => {
                self.pairing.end(Incomplete::Desync, true, out);
                self.leave("mysql-replication", out);
                return Ok(());
            }
            _ => {}
        }
        let side = Side { first: front.first, last, bytes: front.taken };
        if self.pairing.may_have_ended() && self.responses.pending() && !self.pairing.adrift() {
            // More of the answer began, and its end is missing.
            self.lose(RESPONSES);
            self.pairing.response_lost(Incomplete::Gap, false, out);
        }
        let answering = self.pairing.answering;
        self.pairing.request(Command { reply: kind.reply, effect, asked }, role, side, out);
        if answering && !self.pairing.answering {
            // What was being answered was given up, or ended in silence: what follows begins anew.
            self.lose(RESPONSES);
        }
        Ok(())
    }

    /// What an exchange's command says.
    fn asked(&mut self, code: u8, name: &'static str, payload: &[u8], front: &Front<'_>) -> (Asked, Effect) {
        let session = &mut self.pairing.session;
        let mut asked = Asked {
            db: Db::new(session.system),
            text: Text::default(),
            context: None,
            truncated: false,
            statement: None,
        };
        let mut effect = Effect::Nothing;
        match code {
            command::QUERY | command::STMT_PREPARE => {
                asked.truncated = !front.whole();
                let attributes = if code == command::QUERY { session.attributes } else { Some(false) };
                match command::query(payload, attributes, &mut asked.text) {
                    Some((sql, found)) => {
                        effect = if front.whole() { sql::effect(sql) } else { sql::effect_of_a_part(sql) };
                        asked.context = found.context;
                        asked.describe(sql, session);
                    }
                    None => {
                        asked.truncated = true;
                        effect = Effect::EntersAny;
                    }
                }
                if code == command::STMT_PREPARE {
                    effect = Effect::Prepares { moves: effect != Effect::Nothing, summary: asked.db.summary.take() };
                }
            }
            command::STMT_EXECUTE => {
                asked.statement = Wire(payload).u32();
                asked.context = command::execute(payload, session.attributes, &mut asked.text).context;
            }
            command::STMT_BULK_EXECUTE | command::STMT_FETCH => asked.statement = Wire(payload).u32(),
            command::INIT_DB => effect = Effect::Enters(payload.into()),
            command::DROP_DB => effect = Effect::Moves,
            _ => {}
        }
        if !front.whole() && code != command::STMT_EXECUTE && code != command::STMT_BULK_EXECUTE {
            asked.truncated = true;
            if matches!(effect, Effect::Enters(_)) {
                effect = Effect::EntersAny;
            }
        }
        if code != command::QUERY {
            asked.db.operation = Some(asked.text.push(name.as_bytes()));
        }
        (asked, effect)
    }

    /// The connection leaves the protocol.
    fn leave(&mut self, what: &'static str, out: &mut Output) {
        self.over = true;
        out.switch(Next::Opaque(what));
    }
}
