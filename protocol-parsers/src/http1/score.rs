//! Is it HTTP/1? In: the first bytes of both directions. Out: a [`Score`].

use super::head::{self, Parsed};
use crate::contract::{Direction, Role};
use crate::detect::{Sample, Score};

/// What one direction's bytes are.
#[derive(PartialEq)]
enum Kind {
    Empty,
    Request,
    Response,
    /// The beginning of either.
    Growing,
    Other,
}

/// A whole request head at the start of a direction is certain. A response alone is not, for it may be part of a body: it waits
/// for a request, which in a connection joined in the middle may stand behind the rest of an older one's body.
pub(super) fn score(sample: &Sample<'_>) -> Score {
    let (ingress, egress) = (kind(sample.ingress), kind(sample.egress));
    let answers =
        |response: &Kind, other: &[u8]| *response == Kind::Response && !sample.from_start && head::holds_request(other);
    if ingress == Kind::Request || (answers(&egress, sample.ingress)) {
        return Score::Certain(Some(Role::of_requests(Direction::Ingress)));
    }
    if egress == Kind::Request || answers(&ingress, sample.egress) {
        return Score::Certain(Some(Role::of_requests(Direction::Egress)));
    }
    let possible = |kind: &Kind| matches!(kind, Kind::Growing | Kind::Response);
    match (&ingress, &egress) {
        (Kind::Empty, Kind::Empty) => Score::Possible,
        (ingress, egress) if possible(ingress) || possible(egress) => Score::Possible,
        // The rest of some body; the other direction has yet to speak.
        (Kind::Empty, _) | (_, Kind::Empty) if !sample.from_start => Score::Possible,
        _ => Score::No,
    }
}

fn kind(bytes: &[u8]) -> Kind {
    if bytes.is_empty() {
        return Kind::Empty;
    }
    match (head::request(bytes, 0), head::response(bytes, 0)) {
        (Parsed::Whole(..) | Parsed::Cut(_), _) => Kind::Request,
        (_, Parsed::Whole(..) | Parsed::Cut(_)) => Kind::Response,
        (Parsed::More, _) | (_, Parsed::More) => Kind::Growing,
        (Parsed::Not(_), Parsed::Not(_)) => Kind::Other,
    }
}
