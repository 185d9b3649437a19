//! Selection: from selectors to the entries of the kernel's maps, at start and for each new program.
//!
//! In: [`Selection`], `/proc`, and the processes the kernel side asks about (ring `UNDECIDED`). Out: bits in the maps
//! `PROCS` and `PORTS`. The rules themselves are applied in the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use sidelight_events::maps::{mode, select};

/// One way to name what is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// This process.
    Pid(u32),
    /// This process and its descendants, now and later.
    Tree(u32),
    /// Processes whose executable matches: its whole path if the pattern has a slash, else its last component. `*` is any
    /// run of characters, `?` any one.
    Exe(String),
    /// Connections with this local or remote TCP port.
    Port(u16),
}

/// What is watched: what any of `only` names (everything if it is empty) and none of `except` does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Watched.
    pub only: Vec<Selector>,
    /// Not watched, even so.
    pub except: Vec<Selector>,
}

/// Bits of one list of selectors.
struct Bits {
    pid: u32,
    tree: u32,
    exe: u32,
}

const ONLY: Bits = Bits { pid: select::ONLY, tree: select::ONLY_TREE, exe: select::ONLY_EXE };
const EXCEPT: Bits = Bits { pid: select::EXCEPT, tree: select::EXCEPT_TREE, exe: select::EXCEPT_EXE };

impl Selection {
    fn lists(&self) -> [(&[Selector], Bits); 2] {
        [(&self.only, ONLY), (&self.except, EXCEPT)]
    }

    fn any(&self, is: fn(&Selector) -> bool) -> bool {
        self.only.iter().chain(&self.except).any(is)
    }

    /// A pattern on executables is among the selectors: processes are decided one by one.
    #[must_use]
    pub fn decides_by_executable(&self) -> bool {
        self.any(|selector| matches!(selector, Selector::Exe(_)))
    }

    /// Bits of `Control::mode`.
    pub(crate) fn mode(&self) -> u32 {
        let mut bits = 0;
        if self.only.is_empty() {
            bits |= mode::DEFAULT_ALL;
        }
        if self.any(|selector| matches!(selector, Selector::Port(_))) {
            bits |= mode::PORTS;
        }
        if self.decides_by_executable() {
            bits |= mode::DECIDE_ON_EXEC;
        }
        bits
    }

    /// Entries of the map `PORTS`.
    pub(crate) fn ports(&self) -> BTreeMap<u16, u32> {
        let mut ports = BTreeMap::new();
        for (selectors, bits) in self.lists() {
            for selector in selectors {
                if let Selector::Port(port) = selector {
                    *ports.entry(*port).or_default() |= bits.pid;
                }
            }
        }
        ports
    }

    /// Entries of the map `PROCS` that follow from `pid:` and `tree:` alone, for the processes there are now.
    pub(crate) fn processes(&self, parents: &BTreeMap<u32, u32>) -> BTreeMap<u32, u32> {
        let mut found = BTreeMap::new();
        for (selectors, bits) in self.lists() {
            for selector in selectors {
                match *selector {
                    Selector::Pid(pid) => *found.entry(pid).or_default() |= bits.pid,
                    Selector::Tree(root) => {
                        for pid in descendants(root, parents) {
                            *found.entry(pid).or_default() |= bits.tree;
                        }
                    }
                    Selector::Exe(_) | Selector::Port(_) => {}
                }
            }
        }
        found
    }

    /// Bits that follow from the path of a process's executable.
    pub(crate) fn executable(&self, path: &str) -> u32 {
        let mut found = 0;
        for (selectors, bits) in self.lists() {
            for selector in selectors {
                if let Selector::Exe(pattern) = selector
                    && matches_path(pattern, path)
                {
                    found |= bits.exe;
                }
            }
        }
        found
    }
}

/// Parent of every process, from `/proc`.
pub(crate) fn parents() -> BTreeMap<u32, u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; the parent is the second field behind it.
        let parent = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some((pid, parent))
    })
    .collect()
}

/// `root` and everything below it.
fn descendants(root: u32, parents: &BTreeMap<u32, u32>) -> BTreeSet<u32> {
    let mut found = BTreeSet::from([root]);
    loop {
        let before = found.len();
        found.extend(
            parents.iter().filter(|(_, parent)| found.contains(parent)).map(|(pid, _)| *pid).collect::<Vec<_>>(),
        );
        if found.len() == before {
            return found;
        }
    }
}

/// Path of a process's executable as the process sees it; without the mark of a file deleted since.
pub(crate) fn executable(pid: u32) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let path = path.to_string_lossy();
    Some(path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned())
}

fn matches_path(pattern: &str, path: &str) -> bool {
    let text = if pattern.contains('/') { path } else { path.rsplit('/').next().unwrap_or(path) };
    matches_glob(pattern.as_bytes(), text.as_bytes())
}

/// Linear in the product of the lengths: on a mismatch only the last `*` takes one more.
fn matches_glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while let Some(&byte) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                last_star = Some((p, t));
                p += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == byte => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((star, taken)) = last_star else { return false };
                last_star = Some((star, taken + 1));
                (p, t) = (star + 1, taken + 1);
            }
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, text, expected) in [
            ("nginx", "/usr/sbin/nginx", true),
            ("nginx", "/usr/sbin/nginx-debug", false),
            ("python3*", "/usr/bin/python3.11", true),
            ("/usr/bin/*", "/usr/bin/env", true),
            ("/usr/bin/*", "/usr/sbin/env", false),
            ("*/bin/?sh", "/usr/bin/zsh", true),
            ("*/bin/?sh", "/usr/bin/sh", false),
            ("a*b*c", "axxbxxbc", true),
            ("a*b*c", "axxbxxb", false),
            ("*", "", true),
        ] {
            assert_eq!(matches_path(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn trees_hold_all_descendants_and_lists_add_up() {
        let parents = BTreeMap::from([(10, 1), (11, 10), (12, 11), (20, 1)]);
        let selection = Selection {
            only: vec![Selector::Tree(10), Selector::Pid(20)],
            except: vec![Selector::Tree(11), Selector::Port(80)],
        };
        let expected = BTreeMap::from([
            (10, select::ONLY_TREE),
            (11, select::ONLY_TREE | select::EXCEPT_TREE),
            (12, select::ONLY_TREE | select::EXCEPT_TREE),
            (20, select::ONLY),
        ]);
        assert_eq!(selection.processes(&parents), expected);
        assert_eq!(selection.ports(), BTreeMap::from([(80, select::EXCEPT)]));
        assert_eq!(selection.mode(), mode::PORTS);
    }

    #[test]
    fn own_parent_is_found() {
        assert_eq!(parents().get(&std::process::id()), Some(&std::os::unix::process::parent_id()));
    }
}
