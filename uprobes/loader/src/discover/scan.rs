//! What runs already: /proc in, processes and the libraries they map out.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
};

use super::record::{Inode, Mapping};

/// Bytes read of one /proc/PID/maps. A process has at most 65530 mappings by default, at about 100 bytes each.
const MAX_MAPS: u64 = 8 << 20;

/// Every process now.
pub(crate) fn processes() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Calls `found` for every executable mapping of a file by `pid`.
pub(crate) fn mappings(pid: u32, mut found: impl FnMut(Mapping<'_>)) {
    let Ok(file) = File::open(format!("/proc/{pid}/maps")) else { return };
    let mut maps = BufReader::with_capacity(64 << 10, file.take(MAX_MAPS));
    let mut line = Vec::with_capacity(256);
    // A process that ends meanwhile ends its file: nothing is left to be found.
    while matches!(maps.read_until(b'\n', &mut line), Ok(read) if read > 0) {
        if let Some(mapping) = parse(&line) {
            found(mapping);
        }
        line.clear();
    }
}

/// `start-end perms offset major:minor inode   path`, numbers in hexadecimal but the inode.
fn parse(line: &[u8]) -> Option<Mapping<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let slash = line.iter().position(|b| *b == b'/')?;
    let (fields, path) = line.split_at_checked(slash)?;
    let mut fields = std::str::from_utf8(fields).ok()?.split_ascii_whitespace();
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (start, end) = fields.next()?.split_once('-')?;
    let (start, end) = (hex(start)?, hex(end)?);
    if fields.next()?.as_bytes().get(2) != Some(&b'x') {
        return None;
    }
    let (major, minor) = fields.nth(1)?.split_once(':')?;
    let device = |text| u32::try_from(hex(text)?).ok();
    let inode = Inode { major: device(major)?, minor: device(minor)?, number: fields.next()?.parse().ok()? };
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    Some(Mapping { start, len: end.checked_sub(start)?, inode, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executable_mappings_of_files_are_read() {
        let line = b"7f8c48000000-7f8c4805d000 r-xp 0001f000 fe:01 326786                     /usr/lib/lib ssl.so.3\n";
        let inode = Inode { major: 0xfe, minor: 1, number: 326_786 };
        let expected = Mapping { start: 0x7f8c_4800_0000, len: 0x5d000, inode, path: b"/usr/lib/lib ssl.so.3" };
        assert_eq!(parse(line), Some(expected));
        let deleted = b"1000-2000 r-xp 00000000 08:01 7 /a/b (deleted)\n";
        assert_eq!(parse(deleted).unwrap().path, b"/a/b");
    }

    #[test]
    fn other_lines_give_nothing() {
        for line in [
            "1000-2000 r--p 00000000 08:01 7 /a/b",
            "1000-2000 r-xp 00000000 00:00 0",
            "1000-2000 r-xp 00000000 00:00 0 [vdso]",
            "2000-1000 r-xp 00000000 08:01 7 /a/b",
            "r-xp /a",
            "/",
            "",
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn this_process_is_found_with_its_libraries() {
        let pid = std::process::id();
        assert!(processes().contains(&pid));
        let mut paths = Vec::new();
        mappings(pid, |mapping| paths.push(String::from_utf8_lossy(mapping.path).into_owned()));
        assert!(paths.iter().any(|path| path.contains("libc.so")), "{paths:?}");
    }
}
