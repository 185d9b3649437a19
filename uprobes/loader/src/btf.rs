//! Where the running kernel keeps its fields: a reader of its BTF type information.
//!
//! In: the bytes of `/sys/kernel/btf/vmlinux`. Out: [`Offsets`]. Only structures, their members and what they are
//! embedded in are understood; the rest is stepped over.
//! Format: <https://docs.kernel.org/bpf/btf.html>

use sidelight_events::maps::Offsets;

/// Why the offsets are not known.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BtfError {
    /// Not BTF, or cut off.
    #[error("kernel type information ends or is damaged at byte {at:#x}")]
    Damaged {
        /// Where reading failed.
        at: usize,
    },
    /// A structure is not there.
    #[error("kernel type information has no struct {0}")]
    NoStruct(&'static str),
    /// A member is not there.
    #[error("struct {of} of this kernel has no member {member}")]
    NoMember {
        /// The structure.
        of: &'static str,
        /// The member looked for.
        member: &'static str,
    },
}

const MAGIC: u16 = 0xeb9f;
/// Kinds with members or with a type they stand for.
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const TYPE_TAG: u32 = 18;
/// Anonymous structures inside each other deeper than this are damage.
const DEPTH: u32 = 16;

/// Offsets of all fields the programs read.
///
/// # Errors
/// [`BtfError`] when `btf` is damaged or this kernel lacks a field.
pub(crate) fn offsets(btf: &[u8]) -> Result<Offsets, BtfError> {
    let types = Types::read(btf)?;
    let at = |of, member| types.offset(of, member).map(|bits| bits / 8);
    let kern_sock = types.offset("sock", "sk_kern_sock")?;
    let v4_remote = at("sock_common", "skc_daddr")?;
    // A kernel without IPv6 has no socket whose IPv6 addresses would be read.
    let v6 = |member| match at("sock_common", member) {
        Err(BtfError::NoMember { .. }) => Ok(v4_remote),
        other => other,
    };
    Ok(Offsets {
        task_files: at("task_struct", "files")?,
        task_flags: at("task_struct", "flags")?,
        task_tgid: at("task_struct", "tgid")?,
        task_signal: at("task_struct", "signal")?,
        signal_live: at("signal_struct", "live")?,
        files_count: at("files_struct", "count")?,
        files_fdt: at("files_struct", "fdt")?,
        fdt_fd: at("fdtable", "fd")?,
        fdt_max_fds: at("fdtable", "max_fds")?,
        file_inode: at("file", "f_inode")?,
        file_private_data: at("file", "private_data")?,
        inode_mode: at("inode", "i_mode")?,
        inode_ino: at("inode", "i_ino")?,
        socket_sk: at("socket", "sk")?,
        socket_file: at("socket", "file")?,
        sk_family: at("sock_common", "skc_family")?,
        sk_state: at("sock_common", "skc_state")?,
        sk_num: at("sock_common", "skc_num")?,
        sk_dport: at("sock_common", "skc_dport")?,
        sk_daddr: v4_remote,
        sk_rcv_saddr: at("sock_common", "skc_rcv_saddr")?,
        sk_v6_daddr: v6("skc_v6_daddr")?,
        sk_v6_rcv_saddr: v6("skc_v6_rcv_saddr")?,
        sk_flags: at("sock_common", "skc_flags")?,
        sk_type: at("sock", "sk_type")?,
        sk_protocol: at("sock", "sk_protocol")?,
        sk_socket: at("sock", "sk_socket")?,
        sk_err: at("sock", "sk_err")?,
        sk_max_ack_backlog: at("sock", "sk_max_ack_backlog")?,
        sk_kern_sock: kern_sock / 8,
        sk_kern_sock_mask: 1 << (kern_sock % 8),
        tcp_write_seq: at("tcp_sock", "write_seq")?,
        tcp_copied_seq: at("tcp_sock", "copied_seq")?,
        tcp_rcv_nxt: at("tcp_sock", "rcv_nxt")?,
        tcp_snd_una: at("tcp_sock", "snd_una")?,
        tcp_bytes_received: at("tcp_sock", "bytes_received")?,
        tcp_bytes_acked: at("tcp_sock", "bytes_acked")?,
        icsk_ulp_ops: at("inet_connection_sock", "icsk_ulp_ops")?,
        unix_addr: at("unix_sock", "addr")?,
        unix_peer: at("unix_sock", "peer")?,
        unix_address_len: at("unix_address", "len")?,
        unix_address_name: at("unix_address", "name")?,
        has_current_task_btf: types.has_name("BPF_FUNC_get_current_task_btf").into(),
    })
}

/// The type section: where each type begins.
struct Types<'a> {
    btf: &'a [u8],
    strings: usize,
    starts: Vec<usize>,
}

impl<'a> Types<'a> {
    fn read(btf: &'a [u8]) -> Result<Self, BtfError> {
        let header = word(btf, 4)?;
        if word(btf, 0)? as u16 != MAGIC {
            return Err(BtfError::Damaged { at: 0 });
        }
        let place = |field: usize| Ok::<usize, BtfError>(header as usize + word(btf, field)? as usize);
        let (begin, strings) = (place(8)?, place(16)?);
        let end = begin + word(btf, 12)? as usize;
        // Type 0 is void and not stored.
        let mut types = Self { btf, strings, starts: vec![usize::MAX] };
        let mut at = begin;
        while at < end {
            types.starts.push(at);
            let (kind, members) = types.kind(at)?;
            at += 12
                + match kind {
                    1 | 14 | 17 => 4,
                    3 => 12,
                    STRUCT | UNION | 15 | 19 => 12 * members,
                    6 | 13 => 8 * members,
                    _ => 0,
                };
        }
        Ok(types)
    }

    /// Kind and number of members of the type that begins at `at`.
    fn kind(&self, at: usize) -> Result<(u32, usize), BtfError> {
        let info = word(self.btf, at + 4)?;
        Ok(((info >> 24) & 31, (info & 0xffff) as usize))
    }

    fn is_named(&self, name_offset: u32, name: &str) -> bool {
        let at = self.strings + name_offset as usize;
        let bytes = self.btf.get(at..).unwrap_or_default();
        bytes.starts_with(name.as_bytes()) && bytes.get(name.len()) == Some(&0)
    }

    /// The name is anywhere: the kernel lists its helpers in an enumeration.
    fn has_name(&self, name: &str) -> bool {
        let strings = self.btf.get(self.strings..).unwrap_or_default();
        strings.split(|byte| *byte == 0).any(|string| string == name.as_bytes())
    }

    /// Bit offset of `member` in `struct of`.
    fn offset(&self, of: &'static str, member: &'static str) -> Result<u32, BtfError> {
        for &start in self.starts.iter().skip(1) {
            let (kind, members) = self.kind(start)?;
            if kind == STRUCT && members > 0 && self.is_named(word(self.btf, start)?, of) {
                return self.member(start, member, DEPTH)?.ok_or(BtfError::NoMember { of, member });
            }
        }
        Err(BtfError::NoStruct(of))
    }

    /// Bit offset of `name` in the structure at `start`, looking into its anonymous members.
    fn member(&self, start: usize, name: &str, depth: u32) -> Result<Option<u32>, BtfError> {
        if depth == 0 {
            return Err(BtfError::Damaged { at: start });
        }
        let (_, members) = self.kind(start)?;
        let has_bit_fields = word(self.btf, start + 4)? >> 31 != 0;
        for at in (0..members).map(|i| start + 12 + 12 * i) {
            let (name_offset, type_id) = (word(self.btf, at)?, word(self.btf, at + 4)?);
            let mut offset = word(self.btf, at + 8)?;
            if has_bit_fields {
                offset &= 0x00ff_ffff;
            }
            if self.is_named(name_offset, name) {
                return Ok(Some(offset));
            }
            if self.is_named(name_offset, "")
                && let Some(inner) = self.structure(type_id)?
                && let Some(found) = self.member(inner, name, depth - 1)?
            {
                return Ok(Some(offset + found));
            }
        }
        Ok(None)
    }

    /// Where the structure or union begins that `type_id` stands for; `None` if it is something else.
    fn structure(&self, mut type_id: u32) -> Result<Option<usize>, BtfError> {
        for _ in 0..DEPTH {
            let Some(&start) = self.starts.get(type_id as usize) else { break };
            match self.kind(start)?.0 {
                STRUCT | UNION => return Ok(Some(start)),
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => type_id = word(self.btf, start + 8)?,
                _ => break,
            }
        }
        Ok(None)
    }
}

fn word(btf: &[u8], at: usize) -> Result<u32, BtfError> {
    let bytes = btf.get(at..).and_then(<[u8]>::first_chunk::<4>).ok_or(BtfError::Damaged { at })?;
    Ok(u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running_kernel() -> Vec<u8> {
        std::fs::read("/sys/kernel/btf/vmlinux").expect("this kernel's BTF")
    }

    #[test]
    fn the_running_kernel_has_every_field() {
        let offsets = offsets(&running_kernel()).unwrap();
        assert_eq!(offsets.sk_daddr, 0);
        assert_eq!(offsets.sk_rcv_saddr, 4);
        assert_eq!(offsets.sk_family, 16);
        assert_eq!(offsets.has_current_task_btf, 1);
        assert!(offsets.sk_kern_sock_mask.is_power_of_two() && offsets.sk_kern_sock_mask < 256);
    }

    #[test]
    fn missing_names_are_named() {
        let btf = running_kernel();
        let types = Types::read(&btf).unwrap();
        assert_eq!(types.offset("no_such", "x"), Err(BtfError::NoStruct("no_such")));
        assert_eq!(types.offset("sock", "x"), Err(BtfError::NoMember { of: "sock", member: "x" }));
    }

    #[test]
    fn damage_is_an_error_and_no_panic() {
        assert_eq!(offsets(b"no type information at all").unwrap_err(), BtfError::Damaged { at: 0 });
        let btf = running_kernel();
        for cut in [0, 1, 7, 23, 24, 100, 5_000, btf.len() / 2] {
            assert!(offsets(&btf[..cut]).is_err(), "{cut} bytes");
        }
    }
}
