//! The server's half: its greeting, its answers.
//!
//! In: its bytes. Out: packets for [`super::pairing`].

use super::packets::{Front, Input, Step};
use super::{Mysql, Phase, RESPONSES, answer, handshake};
use crate::contract::Malformed;
use crate::exchange::Output;

/// A greeting is wanted whole.
const GREETING: u32 = 512;

impl Mysql {
    /// Reads what the server says.
    pub(super) fn responses(&mut self, input: &mut Input<'_>, out: &mut Output) -> Result<(), Malformed> {
        let mut from = input.at();
        let greets = self.phase == Phase::Start;
        loop {
            if let Some(next) = self.pairing.rows() {
                let rows = self.responses.rows(input, next);
                if rows > 0 {
                    self.pairing.count_rows(rows, self.responses.seq().wrapping_add(1));
                }
            }
            let rows = self.pairing.in_rows();
            match self
                .responses
                .take(input, |first, len| if greets { GREETING } else { answer::want(first, len, rows) })?
            {
                Step::More => break,
                Step::Front(front) if self.phase == Phase::Commands => {
                    let first = self.pairing.expects().is_some();
                    if !first {
                        self.pairing.response_bytes((input.at() - from) as u64, input.last());
                    }
                    from = input.at();
                    if !self.pairing.response(&front, input.last(), out)? {
                        self.lose(RESPONSES);
                        return Ok(());
                    }
                }
                Step::Front(front) => self.handshake(&front)?,
                Step::End if self.phase == Phase::Commands => {
                    self.pairing.response_bytes((input.at() - from) as u64, input.last());
                    from = input.at();
                    self.pairing.response_packet_ended(self.responses.seq(), out);
                }
                Step::End => from = input.at(),
            }
        }
        self.pairing.response_bytes((input.at() - from) as u64, input.last());
        Ok(())
    }

    /// The front of a server's packet before the first command.
    fn handshake(&mut self, front: &Front<'_>) -> Result<(), Malformed> {
        match (self.phase, front.bytes.first()) {
            (Phase::Start, Some(10)) => {
                let greeting = handshake::greeting(&front.bytes).ok_or(Malformed("no greeting"))?;
                self.pairing.session.system = greeting.system;
                self.phase = Phase::Greeted(greeting);
            }
            // OK
            (Phase::Authenticating(agreed), Some(0)) => {
                self.phase = Phase::Commands;
                (self.compressed, self.told) = (Some(agreed.compressed()), true);
            }
            // Too many connections; access denied; a round of authentication.
            (_, Some(0xff)) | (Phase::Authenticating(_), _) => {}
            _ => return Err(Malformed("no greeting")),
        }
        Ok(())
    }
}
