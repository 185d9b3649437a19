//! The examples of RFC 7541, and what happens when something was not seen.

use super::{Broken, Decoder, Field};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn fields(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, Broken> {
    let mut seen = Vec::new();
    decoder.block(block, |field, value| {
        let value = value.map_or_else(|| "?".to_owned(), |value| String::from_utf8_lossy(value).into_owned());
        seen.push(format!("{field:?}={value}"));
    })?;
    Ok(seen)
}

/// Blocks, the fields of interest in them, and the table's size behind them.
fn check(decoder: &mut Decoder, blocks: &[(&str, &[&str], usize)]) {
    for (hex, expected, size) in blocks {
        assert_eq!(fields(decoder, &bytes(hex)).unwrap(), *expected, "{hex}");
        assert_eq!(decoder.table.size(), *size, "{hex}");
    }
}

#[test]
fn appendix_c_2_literals() {
    check(
        &mut Decoder::new(),
        &[
            ("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", &[], 55),
            ("040c 2f73 616d 706c 652f 7061 7468", &["Path=/sample/path"], 55),
            ("1008 7061 7373 776f 7264 0673 6563 7265 74", &[], 55),
            ("82", &["Method=GET"], 55),
        ],
    );
}

const REQUESTS: [&[&str]; 3] = [
    &["Method=GET", "Scheme=http", "Path=/", "Authority=www.example.com"],
    &["Method=GET", "Scheme=http", "Path=/", "Authority=www.example.com"],
    &["Method=GET", "Scheme=https", "Path=/index.html", "Authority=www.example.com"],
];

#[test]
fn appendix_c_3_requests_without_huffman() {
    check(
        &mut Decoder::new(),
        &[
            ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", REQUESTS[0], 57),
            ("8286 84be 5808 6e6f 2d63 6163 6865", REQUESTS[1], 110),
            ("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", REQUESTS[2], 164),
        ],
    );
}

#[test]
fn appendix_c_4_requests_with_huffman() {
    check(
        &mut Decoder::new(),
        &[
            ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", REQUESTS[0], 57),
            ("8286 84be 5886 a8eb 1064 9cbf", REQUESTS[1], 110),
            ("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", REQUESTS[2], 164),
        ],
    );
}

#[test]
fn appendix_c_5_responses_without_huffman() {
    let mut decoder = Decoder::new();
    decoder.table.resize(256);
    check(
        &mut decoder,
        &[
            (
                "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120
                 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                &["Status=302"],
                222,
            ),
            ("4803 3330 37c1 c0bf", &["Status=307"], 222),
            (
                "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738
                 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33
                 3630 303b 2076 6572 7369 6f6e 3d31",
                &["Status=200"],
                215,
            ),
        ],
    );
}

#[test]
fn appendix_c_6_responses_with_huffman() {
    let mut decoder = Decoder::new();
    decoder.table.resize(256);
    check(
        &mut decoder,
        &[
            (
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718
                 63c7 8f0b 97c8 e9ae 82ae 43d3",
                &["Status=302"],
                222,
            ),
            ("4883 640e ffc1 c0bf", &["Status=307"], 222),
            (
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7
                 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
                &["Status=200"],
                215,
            ),
        ],
    );
}

#[test]
fn every_byte_survives_huffman() {
    let mut decoder = Decoder::new();
    let text: Vec<u8> = (0..=255).collect();
    for len in 0..text.len() {
        let value = super::encoding::huffman(&text[text.len() - len..]);
        let mut block = vec![0x04];
        super::encoding::integer(&mut block, 0x80, 7, value.len());
        block.extend(value);
        let mut seen = 0;
        decoder
            .block(&block, |field, value| {
                assert_eq!((field, value), (Field::Path, Some(&text[text.len() - len..])));
                seen += 1;
            })
            .unwrap();
        assert_eq!(seen, 1);
    }
}

#[test]
fn what_breaks_a_rule_is_no_block_and_nothing_is_known_behind_it() {
    for broken in [
        // Index 0; a string longer than the block; an integer too long; a literal without a value.
        &b"\x80"[..],
        b"\x04\x05/a",
        b"\xff\xff\xff\xff\xff\x7f",
        b"\x44",
        // Padding of 8 bits; padding of zeros; EOS.
        b"\x04\x82\x07\xff",
        b"\x04\x81\x00",
        b"\x04\x84\xff\xff\xff\xfc",
    ] {
        let mut decoder = Decoder::new();
        assert_eq!(fields(&mut decoder, b"\x44\x02/a").unwrap(), ["Path=/a"]);
        assert_eq!(fields(&mut decoder, b"\xbe").unwrap(), ["Path=/a"]);
        assert_eq!(fields(&mut decoder, broken), Err(Broken), "{broken:?}");
        assert_eq!(fields(&mut decoder, b"\xbe").unwrap(), ["Unknown=?"]);
    }
}

#[test]
fn entries_from_before_a_loss_are_unknown_and_later_ones_exact() {
    let mut decoder = Decoder::new();
    fields(&mut decoder, b"\x44\x02/a\x44\x02/b").unwrap();
    decoder.forget();
    assert_eq!(fields(&mut decoder, b"\xbe\xbf").unwrap(), ["Unknown=?", "Unknown=?"]);
    // A literal whose name is such an entry's is inserted, and nameless.
    assert_eq!(fields(&mut decoder, b"\x7f\x00\x02/c\x44\x02/d").unwrap(), ["Unknown=?", "Path=/d"]);
    assert_eq!(fields(&mut decoder, b"\xbe\xbf\xc0").unwrap(), ["Path=/d", "Unknown=?", "Unknown=?"]);
}

#[test]
fn an_entry_that_may_have_emptied_the_table_makes_all_older_ones_unknown() {
    let long = |len: usize| {
        let mut block = vec![0x44];
        super::encoding::integer(&mut block, 0, 7, len);
        block.extend(vec![b'x'; len]);
        block
    };
    let mut decoder = Decoder::new();
    fields(&mut decoder, b"\x44\x02/a").unwrap();
    fields(&mut decoder, &long(3000)).unwrap();
    assert_eq!(fields(&mut decoder, b"\xbf").unwrap(), ["Path=/a"]);
    fields(&mut decoder, &long(4096 - 32 - 5 + 1)).unwrap();
    assert_eq!(fields(&mut decoder, b"\xbe\xbf").unwrap(), ["Unknown=?", "Unknown=?"]);
    // Joined in the middle, the encoder's size is not known: it may be less than usual.
    decoder.forget();
    fields(&mut decoder, b"\x44\x02/a").unwrap();
    fields(&mut decoder, &long(3000)).unwrap();
    assert_eq!(fields(&mut decoder, b"\xbe\xbf").unwrap(), ["Unknown=?", "Unknown=?"]);
    // Until it says so: 65536.
    assert_eq!(fields(&mut decoder, b"\x3f\xe1\xff\x03\x44\x02/a").unwrap(), ["Path=/a"]);
    fields(&mut decoder, &long(5000)).unwrap();
    assert_eq!(fields(&mut decoder, b"\xbf").unwrap(), ["Path=/a"]);
}

#[test]
fn memory_is_bounded_whatever_the_encoder_chooses() {
    let mut decoder = Decoder::new();
    fields(&mut decoder, b"\x3f\xe1\xff\xff\x7f").unwrap();
    for round in 0..20_000_u32 {
        let width = (round % 300) as usize;
        let value = format!("/{round:0>width$}");
        let mut block = vec![0x44];
        super::encoding::integer(&mut block, 0, 7, value.len());
        block.extend(value.bytes());
        fields(&mut decoder, &block).unwrap();
        assert_eq!(fields(&mut decoder, b"\xbe").unwrap(), [format!("Path={value}")]);
        assert!(decoder.heap() <= 48 * 1024, "{}", decoder.heap());
    }
    decoder.forget();
    assert_eq!(decoder.pack().heap(), 0);
}

#[test]
fn a_packed_table_is_the_same_table() {
    let mut decoder = Decoder::new();
    // Smaller than at first; then values that are kept and not kept, of no byte and of many, of names known and not known.
    fields(&mut decoder, b"\x3f\xc1\x1b").unwrap();
    for len in [0, 5, 127, 128, 300, 1500, 70] {
        for name in [4, 32, 58] {
            let mut block = Vec::new();
            super::encoding::integer(&mut block, 0x40, 6, name);
            super::encoding::integer(&mut block, 0, 7, len);
            block.extend(vec![b'a' + (len % 26) as u8; len]);
            fields(&mut decoder, &block).unwrap();
        }
    }
    let packed = decoder.pack();
    assert!(packed.heap() < decoder.heap());
    let mut again = Decoder::unpack(&packed);
    assert_eq!((again.table.size(), again.pack().heap()), (decoder.table.size(), packed.heap()));
    // All there are and one more; then what an insertion pushes out.
    for _ in 0..2 {
        let indices = (62..80).map(|index: u8| 0x80 | index).collect::<Vec<u8>>();
        let seen = fields(&mut decoder, &indices);
        assert_eq!(fields(&mut again, &indices), seen);
        assert!(seen.unwrap().iter().any(|field| field.contains("Unknown")));
        for table in [&mut decoder, &mut again] {
            fields(table, b"\x44\x02/x").unwrap();
        }
    }
}
