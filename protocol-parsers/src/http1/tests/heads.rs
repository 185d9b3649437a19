//! What is taken for a head, and what is found in it, is what `httparse` takes and finds.

use proptest::prelude::*;

use crate::contract::MAX_REST;
use crate::fuzzing;
use crate::http1::oracle::compare;

const STARTS: [&[u8]; 26] = [
    b"GET / HTTP/1.1\r\n",
    b"POST /a?b=c HTTP/1.0\n",
    b"HEAD /%20 HTTP/1.1\r\n",
    b"CONNECT host:443 HTTP/1.1\r\n",
    b"M-SEARCH * HTTP/1.1\r\n",
    b"\r\n\nPUT /\xc3\xa9 HTTP/1.1\r\n",
    b"GET /\xff HTTP/1.1\r\n",
    b"GET /a\tb HTTP/1.1\r\n",
    b"GET /a\x7fb HTTP/1.1\r\n",
    b"GET  / HTTP/1.1\r\n",
    b"GET / HTTP/1.1 \r\n",
    b"GET / HTTP/2.0\r\n",
    b"GET / HTTP/1.1\r",
    b" GET / HTTP/1.1\r\n",
    b"G(T / HTTP/1.1\r\n",
    b"\rGET / HTTP/1.1\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 204\r\n",
    b"HTTP/1.0 304\n",
    b"HTTP/1.1 101 Switching\tProtocols\r\n",
    b"HTTP/1.1 200 \xc3\xa0 la carte\n",
    b"HTTP/1.1 099 Low\r\n",
    b"HTTP/1.1 2000\r\n",
    b"HTTP/1.1  200 OK\r\n",
    b"HTTP/1.1 200 O\0K\r\n",
    b"\nHTTP/1.1 200 OK\rX",
];

const LINES: [&[u8]; 44] = [
    b"Host: example.org\r\n",
    b"hOST:\texample.org:8080 \t\n",
    b"Host: caf\xc3\xa9\r\n",
    b"Host: \xc3\r\n",
    b"Host: a\x7fb\r\n",
    b"Host : spaced\r\n",
    b"Host:\r\n",
    b"Host: a\0b\r\n",
    b"Host: a\rb\r\n",
    b"Host: a\x01b\r\n",
    b"User-Agent: one\ttwo  three\r\n",
    b"User-Agent: curl/8.14.1\r\n",
    b"Content-Length: 17\r\n",
    b"Content-Length: 17, 17\r\n",
    b"Content-Length: 18\r\n",
    b"content-length:5\n",
    b"Content-Length: x\r\n",
    b"Content-Length:\r\n 17\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: gzip,\r\n\tchunked\r\n",
    b"Transfer-Encoding: chunked, gzip\r\n",
    b"Transfer-Encoding: chunked \x02\r\n",
    b"Upgrade: websocket\r\n",
    b"Upgrade: h2c, x\r\n",
    b"Upgrade: \r\n \r\n websocket\r\n",
    b"Forwarded: for=192.0.2.1;proto=http\r\n",
    b"X-Forwarded-For: 192.0.2.2, 192.0.2.3\r\n",
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
    b"tracestate: a=1\r\n",
    b"tracestate: b=\xff\r\n",
    b"(odd): name\r\n",
    b"no colon at all\r\n",
    b": no name\r\n",
    b" folded: or not\r\n",
    b"\t\r\n",
    b"caf\xc3\xa9: in a name\r\n",
    b"na\x7fme: DEL\r\n",
    b"bad line with \0\r\n",
    b"bad line with \r in it: x\r\n",
    b"no colon\r",
    b"X-Long-Enough-For-Several-Words: with a value that is longer still, and then some\r\n",
    b"Accept: */*\r\n",
    b"\n",
    b"\r\n",
];

const ODD: &[u8] = b"\0\x01\t\n\r !:,/019AGHTZaz\x7f\x80\xc3\xff";

fn head() -> impl Strategy<Value = Vec<u8>> {
    let pieces = (0..STARTS.len(), prop::collection::vec(0..LINES.len(), 0..9), any::<bool>());
    let head = pieces.prop_map(|(start, lines, ends)| {
        let lines = lines.into_iter().flat_map(|line| LINES[line]);
        let mut head: Vec<u8> = STARTS[start].iter().chain(lines).copied().collect();
        head.extend(if ends { &b"\r\nbody"[..] } else { b"" });
        head
    });
    let changes = prop::collection::vec((any::<prop::sample::Index>(), 0..3, 0..ODD.len()), 0..3);
    (head, changes).prop_map(|(mut head, changes)| {
        for (at, what, byte) in changes {
            let at = at.index(head.len());
            match what {
                0 => head[at] = ODD[byte],
                1 => head.insert(at, ODD[byte]),
                _ if head.len() > 1 => drop(head.remove(at)),
                _ => {}
            }
        }
        head
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_head_and_its_every_beginning_are_judged_alike(head in head()) {
        (0..=head.len()).for_each(|end| compare(&head[..end]));
    }

    #[test]
    fn what_is_too_long_to_wait_for_is_judged_alike(head in head(), at in any::<prop::sample::Index>(), more in 0..4_usize) {
        // Anywhere, also within a line: the limit falls where the rest of the head stands.
        let at = at.index(head.len());
        let fill = (MAX_REST - head.len()).saturating_sub(more);
        for fill in [vec![b'x'; fill], b"X: y\r\n".repeat(fill / 6)] {
            compare(&[&head[..at], &fill, &head[at..]].concat());
        }
    }
}

#[test]
fn any_two_bytes_in_any_place_are_judged_alike() {
    let heads: [&[u8]; 2] =
        [b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nA: b\r\n c\r\n\r\n"];
    for head in heads {
        for at in 0..head.len() - 1 {
            let mut head = head.to_vec();
            for (one, two) in (0..=255).flat_map(|one| ODD.iter().map(move |two| (one, *two))) {
                (head[at], head[at + 1]) = (one, two);
                compare(&head);
            }
        }
    }
}

#[test]
fn as_many_headers_as_are_read_and_one_more_are_judged_alike() {
    for count in [47, 48, 49, 255, 256, 257, 300] {
        for start in [&b"GET / HTTP/1.1\r\n"[..], b"HTTP/1.1 200 OK\r\n"] {
            compare(&[start, &b"Accept: a\r\n".repeat(count), b"\r\n"].concat());
        }
    }
}

#[test]
fn recorded_heads_are_judged_alike() {
    fuzzing::corpus("heads", fuzzing::heads);
}
