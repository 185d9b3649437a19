//! What the client sends.

use super::message::{Fields, Framed, HEADER, Header, Opening, Sender, opening, walk};
use super::pairing::Place;
use super::statements::{Bound, Statement, deallocates};
use super::unit::Step;
use super::{Postgresql, Requests, Responses, Within, place};
use crate::contract::{Chunk, MAX_REST, Malformed, Used};
use crate::exchange::Output;

/// Bytes of a Bind, Execute, Describe or Close within which its names must end. A longer name is not known.
const NAMES: usize = 1024;

impl Postgresql {
    pub(super) fn requests(&mut self, chunk: &Chunk<'_>, out: &mut Output) -> Result<Used, Malformed> {
        let mut at = 0;
        while let Some(rest) = chunk.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match &mut self.requests {
                Requests::Body(left, within) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= taken as u64;
                    at += taken;
                    match within {
                        Within::Copy => self.pairing.request_bytes(chunk.mark(at - 1), true),
                        Within::Nothing => {}
                        Within::Request => self.pairing.request_bytes(chunk.mark(at - 1), false),
                    }
                    if *left == 0 {
                        self.requests = Requests::Message;
                    }
                }
                Requests::Lost => {
                    match self.find(chunk, at) {
                        Framed::Is(start) => at = start,
                        Framed::More => return Ok(Used(at)),
                        Framed::Not => {
                            // Whatever it was, it may have asked for something.
                            self.fresh = false;
                            self.pairing.tail(false);
                            break;
                        }
                    }
                }
                Requests::Opening => match opening(rest) {
                    Framed::Is((opening, len)) => {
                        self.open(&opening, &place(chunk, at, len), out);
                        at += len;
                    }
                    Framed::More => return Ok(Used(at)),
                    Framed::Not => self.joined(out),
                },
                Requests::Message => {
                    let header = match Header::read(rest, Sender::Client) {
                        Framed::Is(header) => header,
                        Framed::More => return Ok(Used(at)),
                        Framed::Not => return Err(Malformed("no message of a client")),
                    };
                    let len = usize::try_from(header.len()).unwrap_or(usize::MAX);
                    let needed = match header.kind {
                        b'P' | b'Q' => len.min(MAX_REST),
                        b'B' | b'C' | b'D' | b'E' => len.min(NAMES),
                        _ => HEADER,
                    };
                    let Some(body) = rest.get(HEADER..needed) else { return Ok(Used(at)) };
                    let taken = len.min(rest.len());
                    let place = place(chunk, at, taken);
                    let within = self.request(header.kind, body, needed == len, &place, out)?;
                    at += taken;
                    if taken < len {
                        self.requests = Requests::Body((len - taken) as u64, within);
                    }
                }
            }
        }
        Ok(Used(chunk.bytes.len()))
    }

    /// Where a lost direction can be read again: at the start of a call, be it kept or new, that is made of whole messages.
    fn find(&mut self, chunk: &Chunk<'_>, at: usize) -> Framed<usize> {
        if self.fresh && at == 0 {
            // A connection that was not announced may be seen from its beginning all the same.
            match opening(chunk.bytes) {
                Framed::Is((Opening::Startup(_), _)) => {
                    (self.requests, self.responses) = (Requests::Opening, Responses::Message);
                    return Framed::Is(0);
                }
                Framed::More => return Framed::More,
                Framed::Is(_) | Framed::Not => {}
            }
        }
        let mut growing = false;
        for start in [0, chunk.kept.len].into_iter().filter(|start| *start >= at) {
            let Some(bytes) = chunk.bytes.get(start..).filter(|bytes| !bytes.is_empty()) else { break };
            match walk(bytes, Sender::Client) {
                Framed::Is(_) => {
                    self.requests = Requests::Message;
                    return Framed::Is(start);
                }
                Framed::More => growing |= start == at && bytes.len() < MAX_REST,
                Framed::Not => {}
            }
        }
        if growing { Framed::More } else { Framed::Not }
    }

    fn open(&mut self, opening: &Opening<'_>, place: &Place, out: &mut Output) {
        self.fresh = false;
        match opening {
            // The server ends the connection without an answer.
            Opening::Cancel => self.requests = Requests::Lost,
            Opening::GssEncryption | Opening::Tls => self.responses = Responses::Negotiation,
            Opening::Startup(startup) => {
                self.requests = Requests::Message;
                if matches!(self.responses, Responses::Lost) {
                    self.responses = Responses::Message;
                }
                self.pairing.opened(startup.database, place, out);
            }
        }
    }

    /// One message, or its beginning; gives what the rest of it belongs to.
    fn request(
        &mut self,
        kind: u8,
        body: &[u8],
        whole: bool,
        place: &Place,
        out: &mut Output,
    ) -> Result<Within, Malformed> {
        self.fresh = false;
        if matches!(kind, b'B' | b'C' | b'D' | b'E' | b'F' | b'P' | b'Q' | b'S')
            && self.pairing.asks(out)
            && matches!(self.responses, Responses::Lost)
        {
            self.responses = Responses::Message;
        }
        let mut fields = Fields(body);
        // A name that is not seen to its end is not known; in a whole message it is an error.
        let known =
            |name: Option<_>| if name.is_none() && whole { Err(Malformed("a name without an end")) } else { Ok(name) };
        match kind {
            b'B' => {
                let portal = known(fields.string())?;
                let statement = known(portal.and_then(|_| fields.string()))?;
                let bound = match (portal, statement) {
                    (Some(portal), Some(statement)) => self.pairing.statements.bind(portal, statement),
                    _ => Bound { statement: None, bind: u64::MAX },
                };
                self.pairing.bind(bound, place, out);
            }
            b'C' => {
                let (what, name) = (fields.u8(), known(fields.string())?);
                match (what, name) {
                    (Some(b'S'), Some(name)) => self.pairing.statements.close(name),
                    (Some(b'P'), Some(name)) => self.pairing.statements.close_portal(name),
                    (_, None) => {}
                    _ => return Err(Malformed("a Close of neither a statement nor a portal")),
                }
                self.pairing.close_name(place, out);
            }
            b'D' => {
                let step = match fields.u8() {
                    Some(b'P') => Step::DescribePortal,
                    Some(b'S') => Step::DescribeStatement,
                    _ => return Err(Malformed("a Describe of neither a statement nor a portal")),
                };
                self.pairing.describe(step, place, out);
            }
            b'E' => {
                let portal = known(fields.string())?;
                let bound = portal.and_then(|portal| self.pairing.statements.bound(portal));
                self.pairing.execute(bound, place, out);
            }
            b'F' => self.pairing.function(place, out),
            b'H' => self.pairing.flush(),
            b'P' => {
                let Some(name) = fields.string() else { return Err(Malformed("a name without an end")) };
                let (sql, whole) = match fields.string() {
                    Some(sql) => (sql, true),
                    None => (fields.0, false),
                };
                self.pairing.parse(name, Statement::new(sql, whole), place, out);
            }
            b'Q' => {
                let sql = fields.string();
                let (sql, whole) = (sql.unwrap_or(body), sql.is_some());
                let deallocates = deallocates(sql).filter(|_| whole);
                self.pairing.query(Statement::new(sql, whole), deallocates.as_deref(), place, out);
            }
            b'S' => self.pairing.sync(place, out),
            b'c' | b'f' => {
                self.pairing.request_bytes(place.last, true);
                self.pairing.copy_ends(place, out);
                return Ok(Within::Copy);
            }
            b'd' => {
                self.pairing.request_bytes(place.last, true);
                return Ok(Within::Copy);
            }
            // Password: nothing of it is looked at. Terminate.
            _ => return Ok(Within::Nothing),
        }
        Ok(Within::Request)
    }
}
