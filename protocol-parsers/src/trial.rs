//! How far a queue of requests stands for its connection, in protocols that answer in the order of the requests.
//!
//! In: requests, bytes of the answers' direction, losses, silence. Out: whether what is paired is certain, on trial or
//! not known, and when a trial is over.
//!
//! A queue pairs while every byte is accounted for. After a loss the number of requests under way is unknown. A new request
//! that comes when nothing known is outstanding, right after bytes of the other direction, is then taken for a *quiet point*;
//! that can be an error only if the client pipelines and something invisible is still outstanding, which shows later as one
//! answer too many. So what is paired behind a supposed quiet point is *on trial*: the queue holds finished exchanges until
//! the connection has drained and gone on some times, was idle for a second, or ended in order with every answer seen up
//! to its end; an answer too many takes the answers from all of them, and so does any other end, behind which an answer too
//! many could be hidden.
//!
//! What remains supposed: a client that pipelines does not stay silent for a second with nothing but invisible requests
//! outstanding, and a server does not end a connection in order that it owes answers to invisible requests.

/// How often a connection must drain before a trial ends: more than once, for one invisible request more than is known takes
/// two drains to show. If requests were seen to overlap on it, there may be more.
const DRAINS: u8 = 2;
const DRAINS_PIPELINED: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// Nothing was lost, or it no longer matters.
    Sure,
    /// It is supposed to stand for it. `asked`: a request came since (else the first one on trial is older than the loss).
    Trial { drains: u8, asked: bool },
    /// It does not.
    Unsure,
}

/// What a request tells of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Verdict {
    /// Nothing, or not yet.
    Stands,
    /// It ends well.
    Passed,
    /// What is paired may belong to others, this request not.
    Failed,
}

/// The trust in one connection's queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial {
    trust: Trust,
    /// Requests were seen to overlap.
    pipelined: bool,
    /// The answers' direction moved since the last request, or nothing was seen yet.
    turned: bool,
    /// Something happened since [`Trial::idle`] was asked.
    active: bool,
}

impl Default for Trial {
    /// Of a connection that is known from its first byte on.
    fn default() -> Self {
        Self { trust: Trust::Sure, pipelined: false, turned: true, active: false }
    }
}

impl Trial {
    /// What is paired is certain.
    pub(crate) fn is_sure(&self) -> bool {
        self.trust == Trust::Sure
    }

    /// What is paired is paired on a supposition.
    pub(crate) fn is_on(&self) -> bool {
        matches!(self.trust, Trust::Trial { .. })
    }

    /// The same, and a request came since.
    pub(crate) fn has_asked(&self) -> bool {
        matches!(self.trust, Trust::Trial { asked: true, .. })
    }

    /// Nothing can be paired.
    pub(crate) fn is_unsure(&self) -> bool {
        self.trust == Trust::Unsure
    }

    /// Requests were seen to overlap.
    pub(crate) fn is_pipelined(&self) -> bool {
        self.pipelined
    }

    /// A request came; `waiting`: older ones have no answer. On [`Verdict::Failed`] the next trial is to be begun.
    pub(crate) fn asks(&mut self, waiting: bool) -> Verdict {
        let turned = std::mem::take(&mut self.turned);
        let quiet = turned && !waiting;
        self.pipelined |= waiting;
        self.active = true;
        let needed = if self.pipelined { DRAINS_PIPELINED } else { DRAINS };
        match self.trust {
            Trust::Trial { asked: true, drains } if quiet && drains + 1 >= needed => return Verdict::Passed,
            Trust::Trial { asked: true, drains } if quiet => {
                self.trust = Trust::Trial { drains: drains + 1, asked: true };
            }
            // Something was said, and yet older requests have no answer: it was lost, or was not theirs.
            Trust::Trial { .. } if turned && waiting => return Verdict::Failed,
            Trust::Trial { .. } if turned => self.begin(true),
            Trust::Unsure if quiet => self.begin(true),
            Trust::Sure | Trust::Trial { .. } | Trust::Unsure => {}
        }
        Verdict::Stands
    }

    /// Bytes of the requests' direction came.
    pub(crate) fn moved(&mut self) {
        self.active = true;
    }

    /// Bytes of the answers' direction came.
    pub(crate) fn turned(&mut self) {
        (self.turned, self.active) = (true, true);
    }

    /// Whether nothing happened since it was asked last.
    pub(crate) fn idle(&mut self) -> bool {
        !std::mem::take(&mut self.active)
    }

    /// A trial begins; `asked`: with a request.
    pub(crate) fn begin(&mut self, asked: bool) {
        self.trust = Trust::Trial { drains: 0, asked };
    }

    /// It ended well.
    pub(crate) fn passed(&mut self) {
        self.trust = Trust::Sure;
    }

    /// Requests may be hidden from here on.
    pub(crate) fn lost(&mut self) {
        self.trust = Trust::Unsure;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request that comes when the one before it was answered.
    fn drain(trial: &mut Trial) -> Verdict {
        trial.turned();
        trial.asks(false)
    }

    #[test]
    fn a_trial_passes_when_the_connection_has_drained_twice() {
        let mut trial = Trial::default();
        trial.lost();
        assert_eq!((drain(&mut trial), trial.is_on()), (Verdict::Stands, true), "a quiet point");
        assert_eq!((drain(&mut trial), drain(&mut trial)), (Verdict::Stands, Verdict::Passed));
    }

    #[test]
    fn it_takes_four_where_requests_overlap() {
        let mut trial = Trial::default();
        assert_eq!((trial.asks(false), trial.asks(true)), (Verdict::Stands, Verdict::Stands));
        trial.lost();
        let verdicts: Vec<Verdict> = (0..5).map(|_| drain(&mut trial)).collect();
        assert_eq!(verdicts, [[Verdict::Stands; 4].as_slice(), &[Verdict::Passed]].concat());
    }

    #[test]
    fn a_request_without_a_turn_is_no_quiet_point() {
        let mut trial = Trial::default();
        assert_eq!(trial.asks(false), Verdict::Stands);
        trial.lost();
        assert_eq!((trial.asks(false), trial.is_unsure()), (Verdict::Stands, true));
    }

    #[test]
    fn an_answer_that_was_nobodys_ends_a_trial_badly() {
        let mut trial = Trial::default();
        trial.lost();
        assert_eq!(drain(&mut trial), Verdict::Stands);
        trial.turned();
        assert_eq!(trial.asks(true), Verdict::Failed);
    }

    #[test]
    fn what_was_asked_before_a_loss_of_answers_proves_nothing() {
        let mut trial = Trial::default();
        trial.begin(false);
        assert!(!trial.has_asked());
        assert_eq!((drain(&mut trial), trial.has_asked()), (Verdict::Stands, true));
    }
}
